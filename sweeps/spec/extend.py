"""Extend a sweep's YAML text: more values of an axis, more seeds, more suggested points.

Only the text of the extended values changes; comments and the rest of the file stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import yaml

from care.config.yaml_reader import parse_yaml
from care.errors import ConfigError, Problem, nearest

_NUMBERS = ("seeds", "seeds.least", "seeds.most", "search.trials")
_AXES = "axes."
_SOURCE = "care sweep extend"


def extend_text(text: str, changes: Mapping[str, str], source: str) -> str:
    """Return a sweep's YAML text with some of its values extended.

    Args:
        text: A valid sweep.
        changes: ``axes.FIELD`` to the values to add, with commas between; ``seeds``,
            ``seeds.most``, ``seeds.least`` or ``search.trials`` to its new value.
        source: The sweep's file, for messages.

    Raises:
        ConfigError: The file does not have the field, or the value is no list or number.
    """
    if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text)):
        _refuse("file", source, "a file without aliases (*name), which stand for several places")
    for field, value in changes.items():
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if field.startswith(_AXES):
            text = _add_to_axis(text, root, field, value, source)
        elif field in _NUMBERS:
            text = _replace(text, root, field, value, source)
        else:
            known = [*_NUMBERS, *(f"{_AXES}{axis}" for axis in _children(_find(root, "axes")))]
            allowed = f"allowed: {', '.join(_NUMBERS)} or axes.FIELD"
            problem = Problem(field, value, allowed, nearest(field, known))
            raise ConfigError(_SOURCE, [problem])
    return text


def _add_to_axis(text: str, root: yaml.Node | None, field: str, value: str, source: str) -> str:
    axes = _children(_find(root, "axes"))
    name = field.removeprefix(_AXES)
    if name not in axes:
        allowed = f"allowed: an axis of {source}: {', '.join(axes) or 'it has none'}"
        raise ConfigError(_SOURCE, [Problem(field, value, allowed, nearest(name, axes))])
    node = axes[name]
    values = _find(node, "values") or node
    if not isinstance(values, yaml.SequenceNode) or not values.value:
        _refuse(field, value, f"an axis with a list of values; change this one in {source}")
    added = parse_yaml(f"[{value}]", f"{_SOURCE}, {field}")
    if not isinstance(added, list) or not added:
        _refuse(field, value, "one value or more, with commas between")
    return _append(text, values, added)


def _append(text: str, node: yaml.SequenceNode, added: Sequence[Any]) -> str:
    """Append values to a list, in its own style."""
    if node.flow_style:
        end = node.value[-1].end_mark.index
        return text[:end] + "".join(f", {_format(value)}" for value in added) + text[end:]
    last = node.value[-1]
    line = text.find("\n", last.start_mark.index)
    end = len(text) if line < 0 else line
    dash = " " * node.start_mark.column + "- "
    return text[:end] + "".join(f"\n{dash}{_format(value)}" for value in added) + text[end:]


def _replace(text: str, root: yaml.Node | None, field: str, value: str, source: str) -> str:
    parse_yaml(value, f"{_SOURCE}, {field}")
    node: yaml.Node | None = root
    for part in field.split("."):
        node = _find(node, part)
    if node is not None:
        start, end = node.start_mark.index, node.end_mark.index
        if isinstance(node, yaml.CollectionNode) and not node.flow_style:
            _refuse(field, value, f"a number or a list in brackets in {source}; change it there")
        return f"{text[:start]}{value.strip()}{text[end:]}"
    if "." in field:
        _refuse(field, value, f"a field that {source} has")
    return f"{text.rstrip()}\n{field}: {value.strip()}\n"


def _children(node: yaml.Node | None) -> dict[str, yaml.Node]:
    """Return the values of a mapping by name; none of anything else."""
    if not isinstance(node, yaml.MappingNode):
        return {}
    return {key.value: value for key, value in node.value if isinstance(key, yaml.ScalarNode)}


def _find(node: yaml.Node | None, name: str) -> yaml.Node | None:
    return _children(node).get(name)


def _format(value: Any) -> str:
    """Format a value in one line of YAML."""
    return yaml.safe_dump([value], default_flow_style=True, width=10**9).strip()[1:-1]


def _refuse(field: str, value: str, allowed: str) -> NoReturn:
    raise ConfigError(_SOURCE, [Problem(field, value, f"allowed: {allowed}")])
