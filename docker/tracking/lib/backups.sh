# Backup, restore and upgrade of the tracking server; sourced by ../server.
# shellcheck shell=bash
backup_command() { die "not yet"; }
restore() { die "not yet"; }
upgrade() { die "not yet"; }
newest_backup() { find "$BACKUPS" -maxdepth 1 -name 'care-tracking-*.tar.gz' -printf '%f\n' | sort | tail -n 1 | grep . || echo none; }
