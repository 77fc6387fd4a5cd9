# Postgres' folder and the two databases of the tracking server; sourced by ../server.
# shellcheck shell=bash
#
# Runs are in the database mlflow, users in auth. Both are made under other names (…_new) and renamed
# in one transaction, so that neither is ever half made, half restored or half converted. The comment
# of mlflow names the MLflow whose schema it has.

sql() { "$POSTGRES/psql" --no-psqlrc --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 --dbname "${2:-postgres}" <<<"$1"; }

# initdb may be killed half-way; its folder counts once it has its name.
make_database_folder() {
    [[ ! -e $STATE/postgres/data ]] || return 0
    rm -rf "$STATE/postgres/new"
    as_owner "$POSTGRES/initdb" --pgdata "$STATE/postgres/new" --username care --auth peer --encoding UTF8 \
        --locale C.UTF-8 --data-checksums >"$STATE/log/initdb.log" 2>&1 ||
        die "initdb failed: $(grep -i error "$STATE/log/initdb.log" | tail -n 1)"
    mv "$STATE/postgres/new" "$STATE/postgres/data"
}

# No password: the kernel names the user at the other end of the socket.
write_database_access() {
    echo 'local all care peer map=care' >"$STATE/config/pg_hba.conf"
    printf 'care %s care\n' "$OWNER" root >"$STATE/config/pg_ident.conf"
    give_to_owner "$STATE/config/pg_hba.conf" "$STATE/config/pg_ident.conf"
}

has_database() { [[ $(sql "select 1 from pg_database where datname = '$1'") == 1 ]]; }

database_version() { sql "select shobj_description(oid, 'pg_database') from pg_database where datname = '${1:-mlflow}'"; }

database_version_note() {
    ready_database || return 0
    local version
    version=$(database_version)
    if [[ $version == "$(installed_mlflow)" ]]; then echo ", as the database"; else echo ", the database is of ${version:-no version}"; fi
}

# Called before MLflow starts: make the databases if there are none, and refuse those of another version.
prepare_databases() {
    finish_swap
    local installed version
    installed=$(installed_mlflow)
    if ! has_database mlflow; then
        new_databases
        convert_new "$installed"
        swap_new
    fi
    version=$(database_version)
    [[ $version == "$installed" ]] ||
        die "the database is of MLflow ${version:-of no version} and $PYTHON has $installed; run '$HERE/server upgrade', which backs it up first, or install that version"
    keep_artifacts_here mlflow
    set_admin_password
}

# Whoever may make experiments could otherwise name a folder of this machine as the place of artifacts,
# and have the server write there. Users see the name of the rule in MLflow's error.
keep_artifacts_here() {
    local rule=artifact_location_must_be_left_out here bad
    here="coalesce(artifact_location, '') in ('', 'mlflow-artifacts:/' || experiment_id)"
    bad=$(sql "select string_agg(name, ', ') from experiments where not $here" "$1")
    [[ -z $bad ]] || die "experiments with artifacts outside of this server, which it neither reads nor writes: $bad"
    sql "begin; alter table experiments drop constraint if exists $rule;
        alter table experiments add constraint $rule check ($here); commit;" "$1" 2>/dev/null
}

drop_databases() {
    local name
    for name in "$@"; do sql "drop database if exists $name with (force)"; done
}

# new_databases [TEMPLATE]: empty ones, or copies of the present ones.
new_databases() {
    drop_databases mlflow_new auth_new
    rm -rf "$STATE/restore"
    sql "create database mlflow_new template ${1:-template0}"
    sql "create database auth_new template ${2:-template0}"
}

# Bring the new databases to the schema of the installed MLflow.
convert_new() {
    PYTHONWARNINGS=ignore MLFLOW_DISABLE_TELEMETRY=true "${MLFLOW_USER[@]}" "$PYTHON" "$HERE/schema.py" \
        postgresql+psycopg2://care@/mlflow_new postgresql+psycopg2://care@/auth_new >"$STATE/log/schema.log" 2>&1 ||
        die "MLflow $1 cannot convert the database; nothing was changed: $(tail -n 1 "$STATE/log/schema.log") (all of it: $STATE/log/schema.log)"
    sql "comment on database mlflow_new is '$1'"
}

# Exchange databases, and artifacts if a restore brought some. The marker makes an interrupted exchange
# go on at the next start: until it exists nothing is changed, from then on everything will be.
swap_new() {
    touch "$STATE/swap"
    sync "$STATE/swap"
    finish_swap
}

finish_swap() {
    [[ -e $STATE/swap ]] || return 0
    if [[ -d $STATE/restore/artifacts ]]; then
        rm -rf "$STATE/artifacts.old"
        [[ ! -d $STATE/artifacts ]] || mv "$STATE/artifacts" "$STATE/artifacts.old"
        mv "$STATE/restore/artifacts" "$STATE/artifacts"
    fi
    if has_database mlflow_new; then
        drop_databases mlflow_old auth_old
        local exchange='begin;'
        ! has_database mlflow || exchange+='alter database mlflow rename to mlflow_old; alter database auth rename to auth_old;'
        exchange+='alter database mlflow_new rename to mlflow; alter database auth_new rename to auth; commit;'
        sql "$exchange"
    fi
    rm -rf "$STATE/swap" "$STATE/restore"
    drop_databases mlflow_old auth_old
    rm -rf "$STATE/artifacts.old"
}

# The settings decide the admin's password: after a restore, or when somebody changed it there.
set_admin_password() {
    CARE_TRACKING_ADMIN=$ADMIN CARE_TRACKING_ADMIN_PASSWORD=$ADMIN_PASSWORD \
        "${MLFLOW_USER[@]}" "$PYTHON" "$HERE/schema.py" --admin postgresql+psycopg2://care@/auth ||
        die "the admin's password cannot be set"
}
