# The services of the tracking server: database, mlflow, proxy; sourced by ../server.
# shellcheck shell=bash

# Seconds that Postgres may take to recover after a crash.
readonly RECOVERY=3600

require_service() {
    [[ " ${SERVICES[*]} " == *" $1 "* && -n $1 ]] || die "no service '$1'; services are: ${SERVICES[*]}"
}

# --- processes ------------------------------------------------------------------------------------

# Processes of a service: those that have its lock file open, or inherited its name. A pid file would
# name another process after a reboot, and none of the children that outlive a killed parent.
processes_of() {
    {
        find -L /proc/[0-9]*/fd -maxdepth 1 -samefile "$STATE/run/$1.lock" -printf '%h\n' 2>/dev/null || true
        grep --files-with-matches --null-data --line-regexp --fixed-strings --no-messages \
            "CARE_TRACKING_SERVICE=$STATE/$1" /proc/[0-9]*/environ || true
    } | sed -E 's|^/proc/([0-9]+)/.*|\1|' | sort --unique --numeric-sort
}

# First process of a service: the one whose parent is not of the service.
leader_of() {
    local pid pids
    pids=$(processes_of "$1" | paste -sd ' ')
    for pid in $pids; do
        [[ " $pids " == *" $(ps -o ppid= -p "$pid" | tr -d ' ') "* ]] || { echo "$pid"; return; }
    done
}

has_ended() { [[ -z $(processes_of "$1") ]]; }

# Postgres ends its sessions by SIGINT, and must never be killed while a part of it lives on.
stop_service() {
    local signal=TERM seconds=15 leader
    leader=$(leader_of "$1")
    [[ -n $leader ]] || return 0
    if [[ $1 == database ]]; then signal=INT seconds=120; fi
    kill "-$signal" "$leader" 2>/dev/null || true
    wait_until "$seconds" has_ended "$1" && return
    if [[ $1 == database ]]; then signal=QUIT; else signal=KILL; fi
    processes_of "$1" | xargs --no-run-if-empty kill "-$signal" 2>/dev/null || true
    wait_until 30 has_ended "$1" || die "processes of $1 do not end: $(processes_of "$1" | paste -sd ' ')"
}

# --- what a service is ready for ------------------------------------------------------------------

ready_database() { "$POSTGRES/pg_isready" --quiet; }
ready_mlflow() { [[ $(curl -s -m 5 --noproxy '*' --unix-socket "$STATE/run/mlflow.sock" http://localhost/health) == OK ]]; }

# The certificate is not asked for the address of the machine itself.
ready_proxy() { [[ $(curl -sk -m 5 --noproxy '*' "https://$(own_address):$PORT/health") == OK ]] && ! has_ended proxy; }

own_address() {
    case $LISTEN in '*' | 0.0.0.0) echo 127.0.0.1 ;; '[::]') echo '[::1]' ;; *) echo "$LISTEN" ;; esac
}

is_up() {
    local service
    for service in "${SERVICES[@]}"; do "ready_$service" || return 1; done
}

# --- up and down ----------------------------------------------------------------------------------

up() {
    local service wanted=("${SERVICES[@]}")
    STARTED=()  # not local: the trap runs when this function is gone
    if (($#)); then require_service "$1"; wanted=("$1"); fi
    trap 'give_up "${STARTED[@]}"' EXIT
    for service in "${wanted[@]}"; do
        "ready_$service" && continue
        wait_for_living "$service" && continue
        stop_service "$service"
        [[ $service != proxy ]] || require_free_port
        STARTED=("$service" "${STARTED[@]}")
        start_service "$service"
    done
    trap - EXIT
    write_environment
    warn_of_closed_python
    ((${#STARTED[@]})) || say "is up already"
    say "is up at https://${NAMES%%,*}:$PORT; logs are in $STATE/log"
    [[ $(certificate_advice) == "of an authority" ]] || say "certificate: $(certificate_advice)"
}

# A service that lives and does not answer is starting, recovering or slow; it is not ended for that. A
# killed one leaves children that never answer.
wait_for_living() {
    ! has_ended "$1" || return 1
    local seconds=60
    [[ $1 != database ]] || seconds=$RECOVERY
    say "$1 runs and does not answer; waiting for it up to $seconds s"
    wait_until "$seconds" ready_or_ended "$1"
    "ready_$1"
}

ready_or_ended() { "ready_$1" || has_ended "$1"; }

# What this call started is ended again; the rest stays as it was.
give_up() {
    local service
    for service in "$@"; do stop_service "$service"; done
}

start_service() {
    local service=$1 seconds=60 log=$STATE/log/$1.log process
    case $service in database) seconds=$RECOVERY ;; mlflow) seconds=180 ;; esac
    : >>"$log"
    local before
    before=$(wc -l <"$log")
    setsid "$HERE/server" serve "$service" </dev/null >>"$log" 2>&1 7<&- 9<&- &
    process=$!
    wait_until "$seconds" started_or_ended "$service" "$process" && "ready_$service" && return
    die "$service did not start: $(tail -n "+$((before + 1))" "$log" | grep -iE 'error|fatal|emerg|exception' | tail -n 3 || true) (all of it: $log)"
}

started_or_ended() { "ready_$1" || ! kill -0 "$2" 2>/dev/null; }

require_free_port() {
    (exec 3<>"/dev/tcp/$(own_address | tr -d '[]')/$PORT") 2>/dev/null || return 0
    die "port $PORT is taken by another program; change CARE_TRACKING_PORT in $SETTINGS"
}

down() {
    local service wanted=(proxy mlflow database)
    if (($#)); then require_service "$1"; wanted=("$1"); fi
    for service in "${wanted[@]}"; do stop_service "$service"; done
    say "${1:-the server} is down; data are kept in $STATE"
}

# --- serve: one service in the foreground ----------------------------------------------------------

# The descriptor of the lock stays open in the service and, but for MLflow's workers, in its children.
serve() {
    local service=$1
    exec 8>>"$STATE/run/$service.lock"
    flock --nonblock 8 || die "$service runs already"
    export CARE_TRACKING_SERVICE=$STATE/$service
    cd "$STATE/tmp"
    "serve_$service"
}

serve_database() {
    make_database_folder
    write_database_access
    # With the lock of the service held, none of its processes lives: what these name is another one.
    rm -f "$STATE/postgres/data/postmaster.pid" "$STATE"/run/.s.PGSQL.5432{,.lock}
    exec "${AS_OWNER[@]}" "$POSTGRES/postgres" -D "$STATE/postgres/data" -c listen_addresses= \
        -c "unix_socket_directories=\"$STATE/run\"" -c unix_socket_permissions=0700 -c max_connections=200 \
        -c "hba_file=$STATE/config/pg_hba.conf" -c "ident_file=$STATE/config/pg_ident.conf"
}

# The secrets go by the environment, which only the user of the process can read.
serve_mlflow() {
    wait_until 90 ready_database || die "the database does not answer"
    prepare_databases
    warn_of_closed_python
    rm -f "$STATE/run/mlflow.sock"
    write_login_settings
    local name hosts= origins=
    for name in ${NAMES//,/ }; do hosts+=,$name,$name:$PUBLISH origins+=,https://$name:$PUBLISH; done
    export MLFLOW_AUTH_CONFIG_PATH=$STATE/config/auth.ini MLFLOW_AUTH_ADMIN_USERNAME=$ADMIN \
        MLFLOW_AUTH_ADMIN_PASSWORD=$ADMIN_PASSWORD MLFLOW_FLASK_SERVER_SECRET_KEY=$SECRET_KEY \
        MLFLOW_DISABLE_TELEMETRY=true DO_NOT_TRACK=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false \
        PYTHONWARNINGS=ignore GIT_PYTHON_REFRESH=quiet
    unset MLFLOW_TRACKING_URI MLFLOW_TRACKING_USERNAME MLFLOW_TRACKING_PASSWORD PYTHONPATH
    exec "${MLFLOW_USER[@]}" "$PYTHON" -m mlflow server --app-name basic-auth --workers "$WORKERS" \
        --backend-store-uri postgresql+psycopg2://care@/mlflow --artifacts-destination "file://${STATE// /%20}/artifacts" \
        --serve-artifacts --host localhost --uvicorn-opts "--uds '$STATE/run/mlflow.sock' --log-level warning" \
        --allowed-hosts "localhost${hosts}" --cors-allowed-origins "${origins#,}"
}

# A password is a slow hash of tens of milliseconds; a sweep sends thousands of requests with one.
write_login_settings() {
    printf '%s\n' '[mlflow]' 'default_permission = READ' 'database_uri = postgresql+psycopg2://care@/auth' \
        'auth_cache_ttl_seconds = 30' >"$STATE/config/auth.ini"
    give_to_owner "$STATE/config/auth.ini"
}

give_to_owner() { ((EUID)) || chown "$OWNER:" "$@"; }

serve_proxy() {
    require_certificate
    local listen='' address nginx
    nginx=$(command -v nginx || echo /usr/sbin/nginx)
    case $LISTEN in '*') address="$PORT" ;; *) address="$LISTEN:$PORT" ;; esac
    listen="listen $address ssl http2;"
    [[ $LISTEN != '*' || ! -e /proc/net/if_inet6 ]] || listen+=" listen [::]:$PORT ssl http2;"
    sed -e "s|@STATE@|$STATE|g" -e "s|@LISTEN@|$listen|" "$HERE/nginx.conf.in" >"$STATE/config/nginx.conf"
    mkdir -p "$STATE/tmp"/{body,proxy,fastcgi,uwsgi,scgi}
    give_to_owner "$STATE/config/nginx.conf" "$STATE/tmp"/*/
    # A port below 1024 needs one capability, not root.
    if ((EUID == 0 && PORT < 1024)); then
        exec setpriv --reuid "$OWNER" --regid "$OWNER" --init-groups --inh-caps +net_bind_service \
            --ambient-caps +net_bind_service -- "$nginx" -e stderr -p "$STATE/run" -c "$STATE/config/nginx.conf"
    fi
    exec "${AS_OWNER[@]}" "$nginx" -e stderr -p "$STATE/run" -c "$STATE/config/nginx.conf"
}

reload_proxy() {
    local leader
    leader=$(leader_of proxy)
    [[ -z $leader ]] || { kill -HUP "$leader" && say "the proxy uses it from now on"; }
}
