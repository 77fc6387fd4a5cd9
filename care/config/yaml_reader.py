"""Read a safe subset of YAML: limited in size and depth, without repeated keys or ambiguous values.

Refused are numbers with a leading zero, ``yes`` and ``off``, dates, tags and unprintable
characters. ``1e-3`` is a number and ``1:30`` text. An alias is a copy.
"""

from __future__ import annotations

import codecs
import itertools
import math
import re
import stat
import unicodedata
from pathlib import Path
from typing import Any, NoReturn

import yaml

from care.config.bundled import advise, find_path, near
from care.errors import ConfigError, Problem, nearest

LARGEST_TEXT = 256 * 1024
"""Most bytes of a file, and most characters of a text."""
DEEPEST = 32
"""Most nested levels of mappings and lists."""
MOST_VALUES = 20_000
"""Most keys and values of a text, with those of an alias counted at each use."""
LONGEST_NUMBER = 40
"""Most characters of a number."""
_LARGEST_INTEGER = 2**63 - 1
_SHOWN_FILES = 10
_MOST_FILES = 200

_TAG = "tag:yaml.org,2002:"
_WORDS = {
    "null": r"~|null|Null|NULL|",
    "bool": r"true|True|TRUE|false|False|FALSE",
    "merge": r"<<",
    "switch": r"yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF",
    "int": r"[-+]?(?:0|[1-9][\d_]*|0x[\da-fA-F_]+|0b[01_]+)",
    "zeros": r"[-+]?0[\d_]+",
    "date": r"\d{4}-\d\d?-\d\d?(?:[Tt ].*)?",
    "float": (
        r"[-+]?(?:\d[\d_]*\.[\d_]*|\.\d[\d_]*)(?:[eE][-+]?\d+)?"
        r"|[-+]?\d[\d_]*[eE][-+]?\d+|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
    ),
}
_KINDS = {name: re.compile(f"(?:{pattern})", re.ASCII) for name, pattern in _WORDS.items()}


class _Composer(yaml.SafeLoader):
    """PyYAML's composer with limits on depth and number of nodes, and without tags."""

    depth = 0
    nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose a node.

        Raises:
            yaml.YAMLError: The node is too deep, has a tag, or exceeds the number of nodes.
        """
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "tag", None) is not None:
            _refuse_text(event.start_mark, f"the tag {event.tag}", "valid YAML without tags")
        self.nodes += 1
        if self.nodes > MOST_VALUES:
            allowed = f"valid YAML of at most {MOST_VALUES} keys and values"
            _refuse_text(event.start_mark, "more", allowed)
        self.depth += 1
        if self.depth > DEEPEST:
            allowed = f"valid YAML of at most {DEEPEST} levels"
            _refuse_text(event.start_mark, "deeper nesting", allowed)
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def resolve(self, kind: type[yaml.Node], value: str, implicit: Any) -> str:
        """Return the tag of a node; that of a plain scalar follows from its text."""
        if kind is not yaml.ScalarNode:
            return _TAG + "map"  # unused: the node's class distinguishes mapping and sequence
        plain = implicit[0]
        kinds = (name for name, pattern in _KINDS.items() if plain and pattern.fullmatch(value))
        return _TAG + next(kinds, "str")


def _refuse_text(mark: Any, problem: str, allowed: str) -> NoReturn:
    raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark, note=allowed)


class _Converter:
    """Converts the nodes of one document to values.

    Args:
        source: Name of the text, for messages.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self._values = 0

    def value(self, node: yaml.Node, path: tuple[str, ...] = ()) -> Any:
        """Convert a node to mappings, lists, text, numbers, booleans or None."""
        self._values += 1
        if self._values > MOST_VALUES:
            allowed = f"at most {MOST_VALUES} keys and values, an alias's counted each time"
            self._refuse(node, path, "more", allowed)
        if len(path) > DEEPEST:
            allowed = f"at most {DEEPEST} levels, and no alias inside of itself"
            self._refuse(node, path, "deeper nesting", allowed)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(child, (*path, str(i))) for i, child in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        assert isinstance(node, yaml.ScalarNode)
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: tuple[str, ...]) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        seen: set[str] = set()
        for key_node, value_node in node.value:
            key = self._key(key_node, path)
            if key in seen:
                problem = Problem(
                    key, f"twice (line {_line(key_node)})", "allowed: each key and axis once"
                )
                raise ConfigError(self.source, [problem])
            seen.add(key)
            if key_node.tag == f"{_TAG}merge":
                merged = self._merged(value_node, path)
            else:
                own[key] = self.value(value_node, (*path, key))
        return {**merged, **own}

    def _merged(self, node: yaml.Node, path: tuple[str, ...]) -> dict[str, Any]:
        """Merge the mappings of ``<<``; the first has precedence."""
        merged: dict[str, Any] = {}
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for source in nodes:
            if not isinstance(source, yaml.MappingNode):
                self._refuse(
                    node, (*path, "<<"), "no mapping", "valid YAML, where << takes mappings"
                )
            merged = {**self.value(source, (*path, "<<")), **merged}
        return merged

    def _key(self, node: yaml.Node, path: tuple[str, ...]) -> str:
        if not isinstance(node, yaml.ScalarNode):
            self._refuse(
                node, path, "a key that is a list or a mapping", "valid YAML with words as keys"
            )
        if node.tag.removeprefix(_TAG) in ("null", "int", "float", "zeros"):
            self._refuse(
                node, path, f"the key {node.value}", "valid YAML with words as keys; quote a number"
            )
        return self._text(node, path)

    def _text(self, node: yaml.ScalarNode, path: tuple[str, ...]) -> str:
        text: str = node.value
        unseen = next((char for char in text if _is_unseen(char)), None)
        if unseen is not None:
            self._refuse(node, path, text, f"text without the character U+{ord(unseen):04X}")
        return text

    def _scalar(self, node: yaml.ScalarNode, path: tuple[str, ...]) -> Any:
        kind, text = node.tag.removeprefix(_TAG), node.value
        if kind == "null":
            return None
        if kind == "bool":
            return text.lower() == "true"
        if kind == "switch":
            word = "true" if text.lower() in ("yes", "on") else "false"
            self._refuse(node, path, text, f"{word}, or '{text}' in quotes for the word")
        if kind == "date":
            self._refuse(node, path, text, "valid YAML with a date in quotes, which makes it text")
        if kind not in ("int", "float", "zeros"):
            return self._text(node, path)
        if len(text) > LONGEST_NUMBER:
            self._refuse(node, path, text, f"a number of at most {LONGEST_NUMBER} characters")
        if kind == "zeros":
            digits = text.replace("_", "").lstrip("+-0") or "0"
            self._refuse(node, path, text, f"{digits} without leading zeros, or text in quotes")
        return self._integer(node, path) if kind == "int" else self._float(node, path)

    def _integer(self, node: yaml.ScalarNode, path: tuple[str, ...]) -> int:
        digits = node.value.replace("_", "")
        base = {"0x": 16, "0b": 2}.get(digits.lstrip("+-")[:2], 10)
        try:
            number = int(digits, base)
        except ValueError:  # 0x_
            self._refuse(node, path, node.value, "a number")
        if abs(number) > _LARGEST_INTEGER:
            self._refuse(node, path, node.value, f"whole numbers up to {_LARGEST_INTEGER}")
        return number

    def _float(self, node: yaml.ScalarNode, path: tuple[str, ...]) -> float:
        text = node.value.replace("_", "").lower()
        number = float(text.replace(".inf", "inf").replace(".nan", "nan"))
        vanishes = number == 0 and re.search(r"[1-9]", text.partition("e")[0])
        if vanishes or (math.isinf(number) and "inf" not in text):
            self._refuse(node, path, node.value, "numbers between 1e-323 and 1.7e308")
        return number

    def _refuse(self, node: yaml.Node, path: tuple[str, ...], value: str, allowed: str) -> NoReturn:
        field, line = ".".join(path), f"line {_line(node)}"
        if field:
            raise ConfigError(self.source, [Problem(field, value, f"allowed: {allowed} ({line})")])
        raise ConfigError(self.source, [Problem(line, value, f"allowed: {allowed}")])


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _is_unseen(character: str) -> bool:
    """Detect control characters and lone surrogates, which terminals and files cannot show."""
    return unicodedata.category(character) in ("Cc", "Cs") and character not in "\t\n"


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file, or in one that comes with care (``bundled:NAME``).

    Raises:
        ConfigError: The file is missing, not regular, too large, empty or not a mapping. Also see
            :func:`parse_yaml`.
    """
    return parse_mapping(read_text(path), str(path))


def parse_mapping(text: str, source: str) -> dict[str, Any]:
    """Parse a YAML text that has to be a mapping; see :func:`parse_yaml`."""
    tree = parse_yaml(text, source)
    if not isinstance(tree, dict):
        given = "an empty file" if tree is None else type(tree).__name__
        raise ConfigError(source, [Problem("file", given, "allowed: a mapping of fields")])
    return tree


def read_text(path: Path) -> str:
    """Return the text of a YAML file; see :func:`read_yaml`."""
    return _decode(path, _read(path))


def _read(path: Path) -> bytes:
    try:
        real = find_path(path)
        if not stat.S_ISREG(real.stat().st_mode) and not real.is_dir():
            raise _unreadable(path, "a regular file")
        with real.open("rb") as file:
            content = file.read(LARGEST_TEXT + 1)
    except FileNotFoundError as error:
        raise ConfigError(str(path), [_missing(path)]) from error
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise _unreadable(path, f"a readable YAML file ({error})") from error
    if len(content) > LARGEST_TEXT:
        raise _unreadable(path, f"a file of at most {LARGEST_TEXT // 1024} KiB")
    return content


def _decode(path: Path, content: bytes) -> str:
    """Decode UTF-8, or UTF-16 with a byte order mark."""
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise _unreadable(path, f"a readable YAML file in UTF-8 ({error})") from error


def _unreadable(path: Path, allowed: str) -> ConfigError:
    return ConfigError(str(path), [Problem("file", str(path), f"allowed: {allowed}")])


def _missing(path: Path) -> Problem:
    siblings = [entry.name for entry in path.parent.glob("*.yaml")] if path.parent.is_dir() else []
    listed = sorted(siblings)[:_SHOWN_FILES] + ["…"] * (len(siblings) > _SHOWN_FILES)
    advice = advise(path)
    allowed = f"allowed: an existing file ({', '.join(listed) or 'none here'}){advice}"
    close = nearest(path.name, siblings) or _near_file(path) or near(path.name)
    return Problem(
        "file", str(path), allowed, close if close != advice.rpartition(" ")[2] else None
    )


def _near_file(path: Path) -> str | None:
    """Find a file in or below the working folder with a name like that of a relative path."""
    if path.is_absolute():
        return None
    found = itertools.chain(Path().glob("*.yaml"), Path().glob("[!.]*/*.yaml"))
    by_name = {file.name: str(file) for file in itertools.islice(found, _MOST_FILES)}
    name = nearest(path.name, by_name)
    return by_name[name] if name else None


def parse_yaml(text: str, source: str) -> Any:
    """Parse a YAML text; aliases become copies.

    Args:
        text: At most :data:`LARGEST_TEXT` characters.
        source: Name of the text, for messages.

    Raises:
        ConfigError: The text is not valid YAML, or outside this module's subset; names field and
            line.
    """
    if len(text) > LARGEST_TEXT:
        allowed = f"allowed: at most {LARGEST_TEXT} characters"
        raise ConfigError(source, [Problem("text", text, allowed)])
    try:
        loader = _Composer(text)
        loader.name = source
        node = loader.get_single_node()
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # e.g. from "\UFFFFFFFF"
        raise ConfigError(source, [_syntax(error, text)]) from error
    return None if node is None else _Converter(source).value(node)


def _syntax(error: Exception, text: str) -> Problem:
    mark, position = getattr(error, "problem_mark", None), getattr(error, "position", None)
    line = mark.line if mark else text.count("\n", 0, position) if position is not None else None
    where = "text" if line is None else f"line {line + 1}"
    problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
    note = getattr(error, "note", None) or "valid YAML"
    return Problem(where, problem, f"allowed: {note}")
