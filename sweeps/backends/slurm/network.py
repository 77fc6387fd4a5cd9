"""Find the address of this node, and check whether another address answers."""

from __future__ import annotations

import fcntl
import socket
import struct

from care.errors import CareError

_SIOCGIFADDR = 0x8915


def address_of(interface: str | None) -> str:
    """Return this node's IPv4 address on an interface, or that of its host name.

    Raises:
        CareError: The interface does not exist or has no address; lists the existing ones.
    """
    if interface:
        found = _of_interface(interface)
        if found is None:
            names = ", ".join(name for _, name in socket.if_nameindex())
            raise CareError(f"interface: got {interface!r}; allowed on this node: {names}")
        return found
    named = _of_name(socket.gethostname())
    if named and not named.startswith("127."):
        return named
    others = (_of_interface(name) for _, name in socket.if_nameindex())
    return next((found for found in others if found and not found.startswith("127.")), "127.0.0.1")


def address_towards(head: str) -> str:
    """Return this machine's IPv4 address on its way to ``host:port``."""
    host, _, port = head.rpartition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, int(port)))  # sends nothing: the kernel chooses the way
        return str(probe.getsockname()[0])


def _of_name(name: str) -> str | None:
    try:
        return socket.gethostbyname(name)
    except OSError:
        return None


def _of_interface(name: str) -> str | None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        request = struct.pack("256s", name.encode()[:15])
        try:
            answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, request)
        except OSError:
            return None
    return socket.inet_ntoa(answer[20:24])


def answers(address: str, seconds: float = 3.0) -> bool:
    """Check whether a server listens at ``host:port``."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=seconds).close()
    except OSError:
        return False
    return True
