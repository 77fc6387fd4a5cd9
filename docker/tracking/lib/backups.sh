# Backup, restore and upgrade of the tracking server; sourced by ../server.
# shellcheck shell=bash
#
# A backup is one file, care-tracking-TIME.tar.gz: a manifest, the two databases as pg_dump writes them,
# their checksums, and the artifacts. The databases come first: whatever they name is then in the artifacts.

readonly PARTS='manifest|SHA256SUMS|mlflow\.dump|auth\.dump|artifacts(/.*)?'

# One of backup, restore and upgrade at a time; `up` and `down` do not wait for a long backup.
lock_data() {
    exec 7>>"$STATE/run/data.lock"
    flock --wait "${1:-600}" 7 || die "another backup, restore or upgrade is running"
}

list_backups() { find "$BACKUPS" -maxdepth 1 -type f -regex '.*/care-tracking-[0-9TZ]+\(-[0-9]+\)?\.tar\.gz' -printf '%f\n' 2>/dev/null | sort -V; }

newest_backup() { list_backups | tail -n 1 | grep . || echo "none; docs/tracking-server.md has a timer"; }

# --- backup ---------------------------------------------------------------------------------------

backup_command() {
    local hours=
    if (($#)); then
        [[ $1 == --every && ${2:-} =~ ^[1-9][0-9]{0,3}$ ]] || die "backup needs nothing, or --every HOURS"
        hours=$2
    fi
    if [[ -z $hours ]]; then
        lock_data
        backup
        return
    fi
    while :; do
        # A process of its own: a failure ends this backup, not the next ones. A restart makes no second one.
        if [[ -z $(find "$BACKUPS" -maxdepth 1 -name 'care-tracking-*.tar.gz' -mmin "-$((hours * 60))" -print -quit) ]]; then
            "$HERE/server" backup || say "the next attempt is in an hour"
        fi
        sleep 3600
    done
}

backup() {
    ready_database || die "the database is not up"
    has_database mlflow || die "there is nothing to back up yet"
    [[ -d $BACKUPS ]] || die "CARE_TRACKING_BACKUPS=$BACKUPS: no such folder; make it, or mount its disk"
    local name part
    name=$(new_backup_name)
    rm -rf "$BACKUPS"/.care-tracking-*.part
    part=$BACKUPS/.$name.part
    mkdir "$part" || die "cannot write $BACKUPS"
    if ! (write_backup "$part"); then
        rm -rf "$part"
        die "no backup was written; those in $BACKUPS are as they were"
    fi
    mv "$part/backup.tar.gz" "$BACKUPS/$name" || die "cannot write $BACKUPS/$name"
    sync "$BACKUPS"
    rm -rf "$part"
    prune_backups
    say "wrote $BACKUPS/$name ($(du -h "$BACKUPS/$name" | cut -f 1))"
}

new_backup_name() {
    local time number=
    time=$(date -u +%Y%m%dT%H%M%SZ)
    while [[ -e $BACKUPS/care-tracking-$time${number:+-$number}.tar.gz ]]; do number=$((${number:-0} + 1)); done
    echo "care-tracking-$time${number:+-$number}.tar.gz"
}

write_backup() {
    local part=$1 database code
    for database in mlflow auth; do
        "$POSTGRES/pg_dump" --format=custom --compress=0 --dbname "$database" >"$part/$database.dump" || die "pg_dump of $database failed"
        "$POSTGRES/pg_restore" --list "$part/$database.dump" >/dev/null || die "the dump of $database cannot be read"
    done
    printf '%s\n' "format 1" "mlflow $(database_version)" "created $(date -u +%FT%TZ)" >"$part/manifest" || die "the manifest was not written"
    (cd "$part" && sha256sum mlflow.dump auth.dump >SHA256SUMS) || die "no checksums were written"
    # 1: a trial wrote or removed an artifact meanwhile, which no dumped run needs.
    code=0
    tar --create --warning=no-file-changed --warning=no-file-removed --directory "$part" manifest SHA256SUMS mlflow.dump auth.dump \
        --directory "$STATE" artifacts | { gzip -1 >"$part/backup.tar.gz" || exit 9; } || code=$?
    ((code < 2)) || die "the archive was not written"
    sync "$part/backup.tar.gz" || die "the archive was not written"
    gzip --test "$part/backup.tar.gz" || die "the archive cannot be read"
}

prune_backups() {
    list_backups | head -n "-$KEEP_BACKUPS" | while read -r name; do rm -f "$BACKUPS/$name"; done
}

# --- restore --------------------------------------------------------------------------------------

restore() {
    local file=${1:-} version
    [[ -n $file && (-z ${2:-} || $2 == --discard) && $# -le 2 ]] || die "restore needs FILE [--discard]"
    [[ -f $file && -r $file ]] || die "$file: no such file; backups are: $(list_backups | paste -sd ' ')"
    file=$(realpath "$file")
    lock_data
    unpack_backup "$file"
    version=$(sed -n 's/^mlflow //p' "$STATE/restore.part/manifest")
    refuse_newer "$version" "the backup"
    pause_mlflow
    finish_swap
    if [[ ${2:-} != --discard ]] && has_database mlflow; then
        (backup) || die "nothing was restored; with --discard, what is there is lost instead of backed up"
    fi
    load_backup "$version"
    mv "$STATE/restore.part" "$STATE/restore"
    swap_new
    resume_mlflow
    say "restored $file"
}

# --- MLflow is down while data are exchanged ------------------------------------------------------

# Nobody writes from here to resume_mlflow, which also runs if this command fails: what was up is up again,
# and Postgres is left as it was.
pause_mlflow() {
    WAS_UP=0 STARTED_DATABASE=0  # not local: the trap runs when this function is gone
    ! ready_mlflow || WAS_UP=1
    trap resume_mlflow EXIT
    stop_mlflow
    ready_database || { STARTED_DATABASE=1; start_service database; }
}

resume_mlflow() {
    trap - EXIT
    if ((WAS_UP)); then start_service mlflow; elif ((STARTED_DATABASE)); then stop_service database; fi
}

# The lock is free a moment after its process has gone. In containers, MLflow is a process of another one.
stop_mlflow() {
    stop_service mlflow
    flock --wait 10 "$STATE/run/mlflow.lock" true || die "MLflow still runs in another container; stop it first: stack compose stop mlflow"
}

# Read the whole archive before anything is changed.
unpack_backup() {
    local part=$STATE/restore.part names kinds
    gzip --test "$1" 2>/dev/null || die "$1 is damaged; nothing was changed"
    names=$(tar --list --file "$1" 2>/dev/null) && kinds=$(tar --list --verbose --file "$1") || die "$1 is no backup; nothing was changed"
    ! grep --quiet --invert-match --extended-regexp "^($PARTS)$" <<<"$names" &&
        ! grep --quiet '\(^\|/\)\.\.\(/\|$\)' <<<"$names" &&
        ! grep --quiet '^[^d-]' <<<"$kinds" || die "$1 has files that no backup has; nothing was changed"
    rm -rf "$part"
    mkdir "$part"
    tar --extract --no-same-owner --no-same-permissions --file "$1" --directory "$part" || { rm -rf "$part"; die "$1 was not unpacked; nothing was changed"; }
    (
        cd "$part"
        [[ -s manifest && -d artifacts && $(wc -l <SHA256SUMS) == 2 ]] || exit 1
        grep --quiet --line-regexp 'format 1' manifest && grep --quiet --line-regexp --extended-regexp 'mlflow [0-9][0-9A-Za-z.]*' manifest || exit 1
        sha256sum --check --strict --quiet SHA256SUMS || exit 1
        for name in mlflow auth; do "$POSTGRES/pg_restore" --list "$name.dump" >/dev/null || exit 1; done
    ) >/dev/null 2>&1 || { rm -rf "$part"; die "$1 is damaged or incomplete; nothing was changed"; }
    ((EUID)) || chown -R "$OWNER:" "$part/artifacts"
}

refuse_newer() {
    local installed
    installed=$(installed_mlflow)
    [[ $1 == "$installed" || $(printf '%s\n' "$1" "$installed" | sort -V | tail -n 1) == "$installed" ]] ||
        die "$2 is of MLflow $1, newer than $installed here; install that version first. Nothing was changed"
}

load_backup() {
    local name
    new_databases
    for name in mlflow auth; do
        "$POSTGRES/pg_restore" --exit-on-error --single-transaction --no-owner --dbname "${name}_new" "$STATE/restore.part/$name.dump" ||
            die "$name cannot be restored; nothing was changed"
    done
    if [[ $1 == "$(installed_mlflow)" ]]; then sql "comment on database mlflow_new is '$1'"; else convert_new "$(installed_mlflow)"; fi
    keep_artifacts_here mlflow_new
}

# --- upgrade --------------------------------------------------------------------------------------

upgrade() {
    local installed version
    lock_data
    installed=$(installed_mlflow)
    if ready_database && version=$(database_version) && [[ $version == "$installed" && ! -e $STATE/swap ]]; then
        say "the database is of MLflow $installed already"
        return
    fi
    pause_mlflow
    finish_swap
    has_database mlflow || die "there is no database yet; run: up"
    version=$(database_version)
    if [[ $version == "$installed" ]]; then
        say "the database is of MLflow $installed already"
    else
        refuse_newer "${version:-0}" "the database"
        backup
        new_databases mlflow auth
        convert_new "$installed"
        swap_new
        say "converted the database from MLflow ${version:-of no version} to $installed"
    fi
    resume_mlflow
}
