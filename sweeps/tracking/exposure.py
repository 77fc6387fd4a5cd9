"""Whom ``care ui`` lets in: MLflow's server has no password, so by default this machine alone."""

from __future__ import annotations

import ipaddress
import socket

from care.errors import ConfigError, Problem

_SOURCE = "care ui"
_OPENED = (
    "WARNING: --allow-anyone: everyone in reach of {host}, port {port}, can read all runs, their "
    "files and logs, and edit and delete them, without a password. Ctrl-C closes it."
)


def check_host(host: str, port: int, *, allow_anyone: bool) -> str:
    """Refuse an address that other machines reach, unless the user allows anyone.

    Args:
        host: Address or name to serve on.
        port: Port to serve on.
        allow_anyone: Whether the user asked for it.

    Returns:
        A warning; empty if only this machine reaches the page.

    Raises:
        ConfigError: The host is unknown, or is reached by others.
    """
    addresses = _resolve(host, port)
    if all(_is_loopback(address) for address in addresses):
        return ""
    if allow_anyone:
        return _OPENED.format(host=host, port=port)
    allowed = (
        "allowed: 127.0.0.1, ::1, localhost, as MLflow's server has no password: others could "
        f"read, edit and delete all runs. From another machine: ssh -L {port}:127.0.0.1:{port} "
        "to this one; for a group: a server with users (docs/tracking-server.md); to let anyone "
        "in: --allow-anyone"
    )
    raise ConfigError(_SOURCE, [Problem("--host", host, allowed)])


def check_port(host: str, port: int) -> None:
    """Refuse a port that another process listens on.

    Raises:
        ConfigError: Names the port and the option that chooses another one.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            allowed = f"allowed: a free one, e.g. --port {port + 1} ({error.strerror})"
            raise ConfigError(_SOURCE, [Problem("--port", port, allowed)]) from error


def url_of(host: str, port: int) -> str:
    """Return the address of the page."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _resolve(host: str, port: int) -> set[str]:
    if not host:
        return {"0.0.0.0"}
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        allowed = f"allowed: an address of this machine, e.g. 127.0.0.1 ({error})"
        raise ConfigError(_SOURCE, [Problem("--host", host, allowed)]) from error
    return {str(address[4][0]) for address in found}


def _is_loopback(address: str) -> bool:
    parsed = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(parsed, "ipv4_mapped", None)
    return bool((mapped or parsed).is_loopback)
