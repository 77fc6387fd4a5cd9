"""Bring the databases of the tracking server to MLflow's schema, or set the admin's password.

Usage: ``schema.py RUNS_URI USERS_URI``, or ``schema.py --admin USERS_URI``; ``server`` calls it.
"""

from __future__ import annotations

import os
import sys


def upgrade_schemas(runs: str, users: str) -> None:
    """Create or upgrade the tables of runs and of users."""
    from mlflow.server.auth.db.utils import migrate_if_needed
    from mlflow.store.db.utils import (
        _safe_initialize_tables,
        _upgrade_db,
        create_sqlalchemy_engine_with_retry,
    )
    from sqlalchemy import inspect

    engine = create_sqlalchemy_engine_with_retry(runs)
    if inspect(engine).has_table("alembic_version"):
        _upgrade_db(engine)
    else:
        _safe_initialize_tables(engine)
    engine.dispose()
    engine = create_sqlalchemy_engine_with_retry(users)
    migrate_if_needed(engine, "head")
    engine.dispose()


def set_admin_password(uri: str, name: str, password: str) -> None:
    """Set the password of an admin that exists and has another one; MLflow makes a missing one."""
    import psycopg2
    from werkzeug.security import check_password_hash, generate_password_hash

    with (
        psycopg2.connect(uri.replace("+psycopg2", "")) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("select password_hash, is_admin from users where username = %s", (name,))
        row = cursor.fetchone()
        if row is None or (row[1] and check_password_hash(row[0], password)):
            return
        cursor.execute(
            "update users set password_hash = %s, is_admin = true where username = %s",
            (generate_password_hash(password), name),
        )


def main() -> None:
    """Run the command."""
    first, second = sys.argv[1:]
    if first == "--admin":
        name = os.environ["CARE_TRACKING_ADMIN"]
        set_admin_password(second, name, os.environ["CARE_TRACKING_ADMIN_PASSWORD"])
    else:
        upgrade_schemas(first, second)


if __name__ == "__main__":
    main()
