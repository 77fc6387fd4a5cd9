"""Users of the tracking server, through MLflow's own interface; ``server user`` calls it.

Needs only Python's library. The administrator's name and password come by the environment, a new
password by standard input: arguments are visible in the list of processes.
"""

from __future__ import annotations

import argparse
import base64
import getpass
import http.client
import json
import os
import secrets
import socket
import sys
import urllib.parse
from typing import Any

LEAST_PASSWORD = 12
# A reader may read everything, and change nothing that is another's: MLflow's default here.
_WRITABLE = ("experiment", "registered_model")
ROLES = ("reader", "writer", "admin")


class UserError(Exception):
    """A refusal, as it is printed."""


class _Local(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(os.environ["CARE_TRACKING_SOCKET"])


def ask(method: str, path: str, fields: dict[str, Any] | None = None, version: str = "2.0") -> Any:
    """Send one request to MLflow as its administrator."""
    name, password = os.environ["CARE_TRACKING_ADMIN"], os.environ["CARE_TRACKING_ADMIN_PASSWORD"]
    token = base64.b64encode(f"{name}:{password}".encode()).decode()
    headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}
    connection = _Local("localhost")
    url, body = f"/api/{version}/mlflow/{path}", json.dumps(fields or {})
    if method == "GET":
        url, body = f"{url}?{urllib.parse.urlencode(fields or {})}", ""
    connection.request(method, url, body, headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    if answer.status == 401:
        raise UserError("MLflow refuses the admin's password; 'down mlflow', 'up' set it anew")
    if answer.status >= 400:
        raise UserError(_message(text))
    return json.loads(text or "{}")


def _message(text: str) -> str:
    try:
        return str(json.loads(text).get("message", text)).splitlines()[0]
    except (ValueError, IndexError):
        return text[:200]


def check_name(name: str) -> str:
    """Refuse a name that cannot log in: basic authentication ends it at a colon."""
    if not 0 < len(name) <= 100 or name != name.strip() or not _is_plain(name) or ":" in name:
        allowed = "1 to 100 printable ASCII characters without ':', not blank at an end"
        raise UserError(f"user {name!r}: allowed are {allowed}")
    return name


def _is_plain(text: str) -> bool:
    """Check for printable ASCII: MLflow refuses others, but only where artifacts are written."""
    return text.isascii() and text.isprintable()


def check_password(password: str, name: str) -> str:
    """Refuse a short or well-known password, and one that is the user's name."""
    if len(password) < LEAST_PASSWORD:
        raise UserError(f"the password has less than {LEAST_PASSWORD} characters")
    if not _is_plain(password):
        raise UserError("the password has characters that are not printable ASCII")
    letters = "".join(each for each in password.lower() if each.isalpha())
    weak = [*os.environ.get("CARE_TRACKING_WEAK", "").split(","), name.lower()]
    words = ["".join(each for each in word if each.isalpha()) for word in weak]
    if any(not letters.replace(word, "") for word in words if word) or not letters:
        raise UserError("the password is a well-known one, the user's name, or digits alone")
    if len(set(password)) < 5:
        raise UserError("the password repeats less than five characters")
    return password


def read_password(name: str, generate: bool) -> str:
    """Read a new password from the terminal or standard input, or generate and print one."""
    if generate:
        password = secrets.token_urlsafe(18)
        print(password)
        return password
    if sys.stdin.isatty():
        password = getpass.getpass(f"password of {name}: ")
        if password != getpass.getpass("again: "):
            raise UserError("the two differ")
    else:
        password = sys.stdin.buffer.readline().decode().rstrip("\r\n")
    return check_password(password, name)


def list_users() -> list[dict[str, Any]]:
    """List the users, each with its role."""
    users = ask("GET", "users/list")["users"]
    return sorted(
        ({"name": user["username"], "role": role_of(user)} for user in users),
        key=lambda user: str(user["name"]),
    )


def role_of(user: dict[str, Any]) -> str:
    """Name the role of a user."""
    if user.get("is_admin"):
        return "admin"
    path = "users/permissions/get"
    fields = {"username": user["username"], "resource_type": "experiment", "resource_id": "*"}
    may = ask("GET", path, fields, "3.0")
    return "writer" if may["permission"] == "MANAGE" else "reader"


def give_role(name: str, role: str) -> None:
    """Give a user a role, and take the others."""
    ask("PATCH", "users/update-admin", {"username": name, "is_admin": role == "admin"})
    for kind in _WRITABLE:
        fields = {"username": name, "resource_type": kind, "resource_id": "*"}
        granted = _is_granted(fields)
        if role == "writer" and not granted:
            fields["permission"] = "MANAGE"
            ask("POST", "users/permissions/grant", fields, "3.0")
        elif role != "writer" and granted:
            ask("POST", "users/permissions/revoke", fields, "3.0")


def _is_granted(fields: dict[str, str]) -> bool:
    may = ask("GET", "users/permissions/get", fields, "3.0")
    return bool(may["permission"] == "MANAGE")


def run(arguments: argparse.Namespace) -> None:
    """Run one command."""
    if arguments.command == "list":
        for user in list_users():
            print(f"{user['role']:7s} {user['name']}")
        return
    name = check_name(arguments.name)
    if arguments.command == "add":
        if any(user["username"] == name for user in ask("GET", "users/list")["users"]):
            raise UserError(f"user {name!r} exists; 'user password' and 'user role' change it")
        password = read_password(name, arguments.generate)
        ask("POST", "users/create", {"username": name, "password": password})
        give_role(name, arguments.role)
        return
    _require(name)
    if arguments.command == "password":
        password = read_password(name, arguments.generate)
        ask("PATCH", "users/update-password", {"username": name, "password": password})
    elif arguments.command == "role":
        give_role(name, arguments.role)
    elif arguments.command == "remove":
        ask("DELETE", "users/delete", {"username": name})


def _require(name: str) -> None:
    names = [str(user["username"]) for user in ask("GET", "users/list")["users"]]
    if name not in names:
        raise UserError(f"no user {name!r}; users are: {', '.join(sorted(names))}")


def main() -> int:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="server user")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list")
    for command in ("add", "password", "remove", "role"):
        each = commands.add_parser(command)
        each.add_argument("name")
        if command in ("add", "password"):
            each.add_argument("--generate", action="store_true")
        if command == "add":
            each.add_argument("--role", choices=ROLES, default="writer")
        if command == "role":
            each.add_argument("role", choices=ROLES)
    try:
        run(parser.parse_args())
    except (UserError, OSError) as error:
        print(f"tracking: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
