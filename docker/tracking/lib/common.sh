# Settings, secrets, folders and users of the tracking server; sourced by ../server.
# shellcheck shell=bash

say() { echo "tracking: $*" >&2; }
die() {
    say "error: $*"
    exit 1
}

# wait_until SECONDS CMD…: whether CMD succeeds within that time.
wait_until() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < end)) || return 1
        sleep 0.1
    done
}

# Never accepted as passwords, in capitals either; the list that users.py gets, too.
readonly WEAK=(password passw0rd password1 password123 password1234 change-me changeme change-this secret
    mlflow admin administrator postgres care tracking letmein welcome qwerty example default test)
readonly LEAST_PASSWORD=12

random_secret() { od -An -tx1 -N24 /dev/urandom | tr -d ' \n'; }

# is_weak VALUE: whether it is empty, short, one character, or a listed word, with or without digits.
is_weak() {
    local value=${1,,} word
    ((${#value} >= LEAST_PASSWORD)) || return 0
    [[ -n ${value//"${value:0:1}"/} ]] || return 0
    value=${value//[0-9[:punct:][:space:]]/}
    for word in "${WEAK[@]}"; do
        word=${word//[0-9[:punct:]]/}
        # Repeated, too: passwordpassword is no better. Nothing is left of digits alone.
        [[ -n ${value//"$word"/} ]] || return 0
    done
    return 1
}

# --- settings -------------------------------------------------------------------------------------

default_settings() {
    ADMIN=admin ADMIN_PASSWORD='' SECRET_KEY='' NAMES=localhost,127.0.0.1 LISTEN=127.0.0.1 PORT=5443
    WORKERS=2 KEEP_BACKUPS=14 BACKUPS=$STATE/backups
}

# Lines are taken literally: no shell, no $, no quotes inside. Quotes around a value are removed.
read_settings() {
    [[ -f $SETTINGS ]] || die "no settings in $SETTINGS; run: $HERE/server init"
    [[ -r $SETTINGS ]] || die "$SETTINGS cannot be read by $(id -un)"
    default_settings
    local line name value
    while IFS= read -r line || [[ -n $line ]]; do
        line=${line%$'\r'}
        [[ $line =~ ^[[:space:]]*(#|$) ]] && continue
        name=${line%%=*} value=${line#*=}
        [[ $line == *=* ]] || die "$SETTINGS: '${line%%[= ]*}…' is not NAME=VALUE"
        if [[ $value =~ ^\"(.*)\"$ || $value =~ ^\'(.*)\'$ ]]; then value=${BASH_REMATCH[1]}; fi
        case $name in
            CARE_TRACKING_ADMIN | CARE_TRACKING_ADMIN_PASSWORD | CARE_TRACKING_SECRET_KEY | CARE_TRACKING_NAMES | \
                CARE_TRACKING_LISTEN | CARE_TRACKING_PORT | CARE_TRACKING_WORKERS | CARE_TRACKING_KEEP_BACKUPS | \
                CARE_TRACKING_BACKUPS) printf -v "${name#CARE_TRACKING_}" %s "$value" ;;
            *) die "$SETTINGS: no setting '$name'; see $HERE/env.example" ;;
        esac
    done <"$SETTINGS"
    # A container listens as its network wants it, and is reached by the port that is published.
    LISTEN=${CARE_TRACKING_LISTEN:-$LISTEN} PORT=${CARE_TRACKING_PORT:-$PORT}
    PUBLISH=${CARE_TRACKING_PUBLISH:-$PORT}
}

check_settings() {
    local name
    [[ -z $ADMIN_PASSWORD ]] && die "CARE_TRACKING_ADMIN_PASSWORD is empty in $SETTINGS"
    is_weak "$ADMIN_PASSWORD" && die "CARE_TRACKING_ADMIN_PASSWORD in $SETTINGS is a default or shorter than $LEAST_PASSWORD characters"
    is_weak "$SECRET_KEY" && die "CARE_TRACKING_SECRET_KEY in $SETTINGS is empty, a default or shorter than $LEAST_PASSWORD characters"
    [[ $ADMIN =~ ^[A-Za-z0-9._@-]{1,100}$ ]] || die "CARE_TRACKING_ADMIN='$ADMIN': allowed are letters, digits and ._@-"
    [[ $PORT =~ ^[1-9][0-9]{0,4}$ ]] && ((PORT < 65536)) || die "port '$PORT': allowed is 1 to 65535"
    [[ $WORKERS =~ ^[1-9][0-9]?$ ]] || die "CARE_TRACKING_WORKERS=$WORKERS: allowed is 1 to 99"
    [[ $KEEP_BACKUPS =~ ^[1-9][0-9]{0,3}$ ]] || die "CARE_TRACKING_KEEP_BACKUPS=$KEEP_BACKUPS: allowed is 1 to 9999"
    [[ $BACKUPS == /* ]] || die "CARE_TRACKING_BACKUPS=$BACKUPS: must begin with /"
    [[ $LISTEN =~ ^(\*|[0-9.]+|\[[0-9a-fA-F:.]+\])$ ]] || die "CARE_TRACKING_LISTEN=$LISTEN: allowed are *, 1.2.3.4 and [::1]"
    for name in ${NAMES//,/ }; do
        [[ $name =~ ^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$ ]] ||
            die "name '$name': allowed are host names and IPv4 addresses, without https:// and port"
    done
    [[ -n ${NAMES//,/} ]] || die "CARE_TRACKING_NAMES is empty"
    ((EUID == 0 || PORT > 1023)) || die "port $PORT needs root; choose one above 1023"
}

print_settings() {
    local name
    echo "# Settings and secrets of the tracking server; docs/tracking-server.md explains them."
    for name in ADMIN ADMIN_PASSWORD SECRET_KEY NAMES LISTEN PORT WORKERS KEEP_BACKUPS; do
        printf 'CARE_TRACKING_%s=%s\n' "$name" "${!name}"
    done
}

# What a client of this machine needs; it has no secret.
write_environment() {
    local name=${NAMES%%,*}
    [[ ,$NAMES, != *,localhost,* ]] || name=localhost
    printf 'export %s=%q\n' MLFLOW_TRACKING_URI "https://$name:$PUBLISH" \
        MLFLOW_TRACKING_SERVER_CERT_PATH "$STATE/tls/server.crt" CARE_TRACKING_STATE "$STATE" >"$STATE/env.part"
    mv "$STATE/env.part" "$STATE/env"
}

# --- state folder, user, commands -----------------------------------------------------------------

# It goes into the configurations of nginx and Postgres, and sockets have paths of at most 107 bytes.
check_state_path() {
    local LC_ALL=C
    [[ $STATE == /* ]] || die "CARE_TRACKING_STATE=$STATE: must begin with /"
    [[ ! $STATE =~ [][\"\'\\\;{}\$%,?*[:cntrl:]] ]] || die "CARE_TRACKING_STATE: a path with quotes, brackets or one of \\ ; \$ % , ? * is not allowed"
    ((${#STATE} <= 80)) || die "CARE_TRACKING_STATE is longer than 80 bytes, too long for sockets"
}

# Postgres refuses root. A user of its own keeps the server from all other files, too.
choose_owner() {
    if ((EUID == 0)); then OWNER=${CARE_TRACKING_USER:-care-tracking}; else OWNER=$(id -un); fi
    [[ $OWNER != root ]] || die "CARE_TRACKING_USER=root: Postgres does not run as root"
    AS_OWNER=()
    if ((EUID == 0)); then AS_OWNER=(setpriv --reuid "$OWNER" --regid "$OWNER" --init-groups --); fi
    export HOME=$STATE PGHOST=$STATE/run PGUSER=care PGCONNECT_TIMEOUT=10 PSQLRC=/dev/null
    unset PGPORT PGDATABASE PGSERVICE PGOPTIONS PGPASSWORD PGPASSFILE PGHOSTADDR PGSSLMODE
}

as_owner() { "${AS_OWNER[@]}" "$@"; }

choose_python() {
    PYTHON=${CARE_TRACKING_PYTHON:-$REPOSITORY/.venv/bin/python}
    [[ -x $PYTHON ]] || die "no Python at $PYTHON; run 'make setup', or name one that has MLflow in CARE_TRACKING_PYTHON"
    "$PYTHON" -c 'import importlib.util as u, sys; sys.exit(not all(map(u.find_spec, ("mlflow", "psycopg2", "flask_wtf"))))' ||
        die "$PYTHON lacks MLflow, psycopg2 or Flask-WTF; run: pip install 'care-contrastive[server]'"
    # A virtual environment in /root, for one, is closed to the server's user, who then gets the right to
    # read what is closed to it. It never gets the rights of root.
    MLFLOW_USER=("${AS_OWNER[@]}") CLOSED_PYTHON=
    if ((EUID == 0)) && id "$OWNER" >/dev/null 2>&1 && ! owner_runs_python; then
        CLOSED_PYTHON=1
        MLFLOW_USER=("${AS_OWNER[@]:0:${#AS_OWNER[@]}-1}" --inh-caps +dac_read_search --ambient-caps +dac_read_search --)
    fi
}

warn_of_closed_python() {
    [[ -z $CLOSED_PYTHON ]] ||
        say "warning: MLflow may read every file of this machine, since $OWNER may not read $PYTHON; put the environment where it may, e.g. in /opt"
}

# By a shell, since setpriv itself may still open what its command may not.
# shellcheck disable=SC2016  # for the inner shell
owner_runs_python() { as_owner sh -c '"$0" -c "import importlib.metadata as m; m.version(\"mlflow\")"' "$PYTHON" >/dev/null 2>&1; }

installed_mlflow() { "$PYTHON" -c 'from importlib.metadata import version; print(version("mlflow"))'; }

# Debian keeps Postgres' programs of each version in a folder of its own; data of a version need its programs.
choose_postgres() {
    local version folder
    version=$(cat "$STATE/postgres/data/PG_VERSION" 2>/dev/null || true)
    for folder in $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -Vr) ''; do
        [[ -z $version || $folder == "/usr/lib/postgresql/$version/bin" ]] || continue
        [[ -x $folder/postgres ]] && POSTGRES=$folder && return
    done
    [[ -z $version ]] || die "the data are of Postgres $version, which is not installed; install postgresql-$version, or restore a backup into a new state folder"
    return 1
}

missing_commands() {
    local command missing=()
    (choose_postgres) >/dev/null 2>&1 || missing+=(postgres)
    for command in nginx curl openssl setpriv flock ps; do
        command -v "$command" >/dev/null || [[ -x /usr/sbin/$command ]] || missing+=("$command")
    done
    ((EUID)) || id "$OWNER" >/dev/null 2>&1 || missing+=("user $OWNER")
    (IFS=,; echo "${missing[*]}")
}

# Folders above it are as others make them, it is closed. The user may be made after it, by install.
make_state_folder() {
    local made=
    (umask 022 && mkdir -p "$(dirname "$STATE")") || die "$STATE cannot be made"
    [[ -d $STATE ]] || { mkdir "$STATE" && made=1; } || die "$STATE cannot be made"
    if ((EUID)) || ! id "$OWNER" >/dev/null 2>&1; then return; fi
    local before
    before=$(stat --format '%u:%g' "$STATE")
    chown "$OWNER:" "$STATE"
    as_owner test -x "$STATE/." && return
    if [[ -n $made ]]; then rmdir "$STATE"; else chown "$before" "$STATE"; fi
    die_closed
}

die_closed() { die "user $OWNER may not enter $STATE; choose a folder outside of private ones as CARE_TRACKING_STATE"; }

prepare_folders() {
    local owner=()
    if ((EUID == 0)) && id "$OWNER" >/dev/null 2>&1; then owner=(--owner "$OWNER" --group "$OWNER"); fi
    install -d -m 700 "${owner[@]}" "$STATE" "$STATE"/{run,log,tmp,tls,config,postgres,artifacts}
    # A folder of the settings is somebody's: its mode stays, and a missing one may be a disk that is not mounted.
    [[ $BACKUPS != "$STATE/backups" ]] || install -d -m 700 "$BACKUPS"
    ((EUID)) || [[ ${#owner[@]} == 0 ]] || as_owner test -x "$STATE/run" || die_closed
}
