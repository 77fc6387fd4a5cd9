"""Remove secrets from text that people and other programs read.

A secret is known by its value or by its surroundings. Values are those of this process's variables
with a telling name (``PGPASSWORD``, ``WANDB_API_KEY``), of passwords in URLs of any variable, and
those given to :func:`remember`; they are removed in each form of :func:`_forms`. Surroundings are a
URL's user, a telling name before ``=`` or ``:``, a header, an option, and well-known formats.
"""

from __future__ import annotations

import base64
import functools
import html
import json
import os
import re
import shlex
from collections.abc import Iterator
from urllib.parse import quote, quote_plus, unquote

HIDDEN = "***"
SHORTEST = 6
"""Characters of the shortest value that is removed wherever it stands.

A shorter one would remove parts of ordinary words; it is removed where its name stands before it.
"""

_FLAGS = re.IGNORECASE | re.ASCII
_WORDS = (
    r"pass(?:word|wd|phrase|code)|pwd|secret|token|credentials?|"
    r"(?:api|access|private|secret|account|auth|shared|encryption|signing)[_-]?key|[_-]key|"
    r"signature|[_-]auth|cookie|[_-]pass"
)
_VARIABLE = re.compile(rf"(?:{_WORDS}|^(?:key|pass|auth))(?:[_-]?\d+)?$|^CARE_NOTIFY$", _FLAGS)
_FOLDERS = ("PWD", "OLDPWD")
_VALUE = r"\"(?:[^\"\\]|\\.|\"\"){0,4096}\"|'(?:[^'\\]|\\.|''){0,4096}'"
# The name is not matched from its start: that would take quadratic time in a long word.
_NAMED = re.compile(
    rf"(?P<name>(?:{_WORDS}|(?<=--)key|(?<=--)pass)(?:[_-]?\d{{1,3}})?)"
    r"(?P<between>\\?[\"']?\]?[ \t]{0,3}(?:=|:(?!//)|%3D|%3A)[ \t]{0,3})"
    rf"(?P<value>{_VALUE}|\\?[\"']?[^\s]+)",
    _FLAGS,
)
_QUERY = re.compile(
    rf"(?P<name>[?&](?:key|sig|auth|pass|code|[\w.-]{{0,40}}(?:{_WORDS}))=)(?P<value>[^\s&#\"'<>]+)",
    _FLAGS,
)
_OPTION = re.compile(
    rf"(?P<name>(?<![\w-])--?(?:[a-z]{{1,20}}-){{0,3}}(?:{_WORDS}|key|pass|auth)[ \t]{{1,3}})"
    rf"(?P<value>{_VALUE}|(?!-)[^\s]+)",
    _FLAGS,
)
_HEADER = re.compile(
    r"(?P<name>(?:authorization|x-api-key|x-auth-token|(?:set-)?cookie)"
    r"\\?[\"']?[ \t]{0,3}[:=][ \t]{0,3})"
    r"(?P<value>\\?[\"']?(?:(?:bearer|basic|token|apikey|negotiate)[ \t]{1,3}[^\s\"']+|"
    r"[^\r\n\"']+))",
    _FLAGS,
)
_BEARER = re.compile(r"(?P<name>\bbearer[ \t]{1,3})(?P<value>[\w.~+/=-]{6,})", _FLAGS)
_WEBHOOK = re.compile(
    r"(?P<name>(?:hooks\.slack\.com/(?:services|workflows)|discord(?:app)?\.com/api/webhooks|"
    r"webhook\.office\.com|api\.telegram\.org/bot)/?)(?P<value>[^\s\"'<>]+)",
    _FLAGS,
)
_FORMATS = re.compile(
    r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.{0,20000}?-----END [A-Z ]{0,40}PRIVATE KEY-----|"
    r"\b(?:gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[abprs]-[\w-]{10,}|"
    r"(?:AKIA|ASIA)[A-Z0-9]{16}|hf_\w{20,}|sk-[\w-]{20,}|"
    r"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,})",
    re.DOTALL,
)
_URL = re.compile(r"[\w+.-]{1,40}://.+$", re.ASCII | re.DOTALL)
_PORT = re.compile(r"^[^:@]+:\d{1,5}$")
_END_OF_URL = re.compile(r"\s|[\"'][,:}\])]|$", re.ASCII)
_remembered: set[str] = set()


def remember(secret: str) -> None:
    """Remove a value from all text from now on, e.g. a password that was read from a file."""
    if len(secret) >= SHORTEST:
        _remembered.add(secret)


def remember_url(url: str) -> None:
    """Remove the password of a URL, or the token that is its user, from all text from now on."""
    for secret in _passwords(url):
        remember(secret)


def redact(text: str) -> str:
    """Replace the secrets in a text by ``***``; see the module.

    Args:
        text: Any text, e.g. a message of a library, a log, a command.

    Returns:
        The text; equal to ``text`` if it holds no secret.
    """
    if pattern := _pattern(frozenset(_known_values())):
        text = pattern.sub(HIDDEN, text)
    text = _without_users(text)
    text = _FORMATS.sub(HIDDEN, text)
    for kind in (_HEADER, _QUERY, _WEBHOOK, _OPTION, _NAMED, _BEARER):
        text = kind.sub(_hide, text)
    return text


def redact_url(url: str) -> str:
    """Replace user and password of a text that is a URL as a whole, and its other secrets.

    A password may then hold blanks, which end a URL within a text, and the scheme may be missing.
    """
    scheme, mark, address = url.rpartition("://")
    at = _end_of_user(address)
    return redact(f"{scheme}{mark}{HIDDEN}{address[at:]}" if at > 0 else url)


def holds_secret(text: str) -> bool:
    """Check whether a text holds a secret that :func:`redact` would remove."""
    return redact(text) != text


def _hide(match: re.Match[str]) -> str:
    parts = match.groupdict()
    name, value = parts["name"], parts["value"]
    if name == "PWD" and not _has_prefix(match):
        return match[0]  # the working folder
    if HIDDEN in value and value.strip("\\\"'") in (HIDDEN, f"{HIDDEN},"):
        return match[0]
    mark = value[0] if value[0] in "\"'" and value[-1] == value[0] and len(value) > 1 else ""
    return f"{name}{parts.get('between') or ''}{mark}{HIDDEN}{mark}"


def _has_prefix(match: re.Match[str]) -> bool:
    before = match.string[max(0, match.start() - 4) : match.start()]
    return before[-1:] in ("_", "-") or (before[-1:].isalnum() and before[-3:] != "OLD")


def _without_users(text: str) -> str:
    """Replace user and password of every URL.

    A password may hold ``/``, ``@`` and quotes: a colon before the first slash, and an ``@`` in the
    same word, make all in between a user. ``https://host/a@b`` and ``https://host:1/a@b`` have
    none, so a password of digits before a slash has to be escaped (``%2F``).
    """
    if "://" not in text or "@" not in text:
        return text
    first, *rest = text.split("://")
    kept = [first]
    for part in rest:
        end = _END_OF_URL.search(part)
        at = _end_of_user(part[: end.start() if end else None])
        kept.append(f"{HIDDEN}{part[at:]}" if at > 0 else part)
    return "://".join(kept)


def _end_of_user(address: str) -> int:
    """Return the index of the ``@`` after user and password in a URL without its scheme, or -1."""
    authority = re.split(r"[/?#]", address, maxsplit=1)[0]
    has_path = ":" not in authority or _PORT.search(authority)
    return authority.rfind("@") if has_path else address.rfind("@")


def _known_values() -> Iterator[str]:
    """Yield the values that are secret in this process."""
    yield from _remembered
    for name, value in os.environ.items():
        if len(value) >= SHORTEST and _is_telling(name):
            yield value
        if "@" in value and _URL.match(value):
            yield from _passwords(value)


@functools.lru_cache(maxsize=1024)  # a log line of every epoch asks for the same names
def _is_telling(variable: str) -> bool:
    """Check whether the name of a variable says that its value is secret."""
    return variable not in _FOLDERS and _VARIABLE.search(variable) is not None


def _passwords(url: str) -> Iterator[str]:
    """Yield the password of a URL, or the token that is its user."""
    user, at, _ = (url.partition("://")[2] or url).rpartition("@")
    name, colon, password = user.partition(":")
    secret = password if colon else name
    if at and "/" not in name:
        yield from {each for each in (secret, unquote(secret)) if len(each) >= SHORTEST}


@functools.lru_cache(maxsize=4)
def _pattern(values: frozenset[str]) -> re.Pattern[str] | None:
    """Return a pattern of all forms of the values, the longest first."""
    forms = {form for value in values for form in _forms(value) if len(form) >= SHORTEST}
    if not forms:
        return None
    ordered = sorted(forms, key=lambda form: (-len(form), form))
    return re.compile("|".join(_escaped(form) for form in ordered))


def _escaped(form: str) -> str:
    """Return a pattern of a form; the digits of its percent escapes have any case."""
    parts = re.split(r"(%[0-9A-Fa-f]{2})", form)
    return "".join(
        f"(?i:{part})" if index % 2 else re.escape(part) for index, part in enumerate(parts)
    )


def _forms(value: str) -> Iterator[str]:
    """Yield a value as libraries quote it: Python, JSON, a URL, HTML, a shell, Base64."""
    yield value
    if "\n" in value:
        yield from (line for line in value.splitlines() if line.strip())
    for quoted in _quoted(value):
        yield quoted
        yield from _quoted(quoted)  # a message that quotes a message
    raw = os.fsencode(value)  # a variable may be no UTF-8
    yield from (quote(raw), quote(raw, safe=""), quote_plus(raw), quote(raw, safe="!$&'()*+,;=:"))
    yield html.escape(value)
    yield html.escape(value, quote=False)
    yield shlex.quote(value).removeprefix("'").removesuffix("'")
    yield base64.b64encode(raw).decode().rstrip("=")


def _quoted(value: str) -> set[str]:
    """Return the inside of a string in Python and JSON, whichever quotes are escaped."""
    python = "".join(char if char in "'\"" else repr(char)[1:-1] for char in value)
    both = python.replace("'", r"\'")
    escaped = {python, both, python.replace('"', r"\""), both.replace('"', r"\"")}
    return {*escaped, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
