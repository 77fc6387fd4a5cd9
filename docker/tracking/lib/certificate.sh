# The certificate of the tracking server; sourced by ../server.
# shellcheck shell=bash
#
# Key and certificate are one file, so that a replacement is whole or not at all. Its public part is
# tls/server.crt, which clients trust if it is self-signed.

readonly SELF_SIGNED_DAYS=825

make_certificate() {
    local name names=
    for name in ${NAMES//,/ }; do
        if [[ $name =~ ^[0-9.]+$ ]]; then names+=,IP:$name; else names+=,DNS:$name; fi
    done
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days "$SELF_SIGNED_DAYS" \
        -subj "/CN=${NAMES%%,*}/O=care tracking server" -addext "subjectAltName=${names#,}" \
        -addext 'extendedKeyUsage=serverAuth' -addext 'keyUsage=critical,digitalSignature,keyCertSign' \
        -keyout "$STATE/tls/new.key" -out "$STATE/tls/new.crt" 2>"$STATE/log/openssl.log" ||
        die "openssl made no certificate: $(tail -n 1 "$STATE/log/openssl.log")"
    use_certificate "$STATE/tls/new.crt" "$STATE/tls/new.key"
    rm -f "$STATE"/tls/new.{crt,key}
}

# use_certificate CERT KEY
use_certificate() {
    local owner=()
    if ((EUID == 0)) && id "$OWNER" >/dev/null 2>&1; then owner=(--owner "$OWNER" --group "$OWNER"); fi
    cat "$2" "$1" >"$STATE/tls/part.pem"
    sync "$STATE/tls/part.pem"
    install -m 600 "${owner[@]}" "$STATE/tls/part.pem" "$STATE/tls/server.new"
    mv "$STATE/tls/server.new" "$STATE/tls/server.pem"
    rm -f "$STATE/tls/part.pem"
    sed '/PRIVATE KEY/,/PRIVATE KEY/d' "$STATE/tls/server.pem" >"$STATE/tls/crt.new"
    mv "$STATE/tls/crt.new" "$STATE/tls/server.crt"
}

public_key() { openssl "$@" 2>/dev/null | openssl sha256; }

check_certificate() {
    local cert=$1 key=$2 name
    openssl x509 -in "$cert" -noout 2>/dev/null || die "$cert: no certificate in PEM format"
    openssl pkey -in "$key" -passin pass: -noout 2>/dev/null || die "$key: no private key in PEM format without a password"
    [[ $(public_key x509 -in "$cert" -pubkey -noout) == "$(public_key pkey -in "$key" -passin pass: -pubout)" ]] ||
        die "$key is not the key of $cert"
    openssl x509 -in "$cert" -checkend 0 -noout >/dev/null || die "$cert has expired ($(openssl x509 -in "$cert" -enddate -noout))"
    for name in ${NAMES//,/ }; do
        [[ $name == localhost || $name == 127.0.0.1 ]] || covers "$cert" "$name" || die "$cert is not for $name (CARE_TRACKING_NAMES)"
    done
}

covers() {
    local option=-checkhost
    [[ ! $2 =~ ^[0-9.]+$ ]] || option=-checkip
    openssl x509 -in "$1" "$option" "$2" -noout | grep --quiet 'does match'
}

install_certificate() {
    if (($# == 0)); then
        make_certificate
        say "made a self-signed certificate; clients trust $STATE/tls/server.crt (docs/tracking-server.md)"
    else
        [[ $# == 2 && -r $1 && -r $2 ]] || die "certificate needs nothing, or two files: CERT KEY"
        check_certificate "$1" "$2"
        use_certificate "$1" "$2"
        say "installed $1"
    fi
    reload_proxy
}

certificate_end() {
    openssl x509 -in "$STATE/tls/server.crt" -enddate -noout 2>/dev/null | sed 's/notAfter=/ends /' || echo "is missing"
}

certificate_advice() {
    local file=$STATE/tls/server.crt
    if ! openssl x509 -in "$file" -checkend 0 -noout >/dev/null 2>&1; then echo "expired: run '$HERE/server certificate'"
    elif ! openssl x509 -in "$file" -checkend $((30 * 86400)) -noout >/dev/null; then echo "ends within 30 days: renew it"
    elif openssl verify -CAfile "$file" "$file" >/dev/null 2>&1; then echo "self-signed: clients need $file"
    else echo "of an authority"; fi
}

require_certificate() {
    [[ -s $STATE/tls/server.pem ]] || make_certificate
    openssl x509 -in "$STATE/tls/server.crt" -checkend 0 -noout >/dev/null 2>&1 ||
        die "the certificate has expired, so no client would connect; run '$HERE/server certificate', or give files to it"
}
