"""Fields that are computed from other fields: ``16 * objective.equivariance.splits``.

Python's parser makes the syntax tree, but nothing is executed: numbers, names of fields,
``+ - * / // % **``, ``min`` and ``max`` are evaluated here, within bounds.
"""

from __future__ import annotations

import ast
import math
import operator
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from care.config.base import refuse
from care.config.fields import is_field, kind_of, read_field
from care.errors import CareError, ConfigError

Number = int | float
Read = Callable[[str], Any]
_LONGEST = 500
_DEEPEST = 50
_LARGEST_INTEGER = 2**63 - 1
_LARGEST_EXPONENT = 64
_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_SIGNS: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {"min": min, "max": max}
_SYNTAX = "numbers, fields, + - * / // % **, parentheses, min and max"


class ExpressionError(CareError):
    """An expression cannot be parsed or has no value; the text completes ``allowed:``."""


@dataclass(frozen=True)
class Expression:
    """A parsed expression.

    Attributes:
        text: As it is declared.
        names: The fields that it reads, in order of appearance.
    """

    text: str
    names: tuple[str, ...]
    _tree: ast.expr

    def value(self, read: Read) -> Number:
        """Compute the value.

        Args:
            read: Returns the value of a field.

        Raises:
            ExpressionError: There is a division by zero, a number out of bounds, or no number.
        """
        return _evaluate(self._tree, read)


def parse(text: str) -> Expression:
    """Parse an expression.

    Raises:
        ExpressionError: It has other parts than numbers, fields and arithmetic.
    """
    if len(text) > _LONGEST:
        raise ExpressionError(f"at most {_LONGEST} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Python's parser, about code
            tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ExpressionError(f"an expression of {_SYNTAX}") from None
    names: dict[str, None] = {}
    _check(tree, names, 0)
    return Expression(text, tuple(names), tree)


def _check(node: ast.expr, names: dict[str, None], depth: int) -> None:
    if depth > _DEEPEST:
        raise ExpressionError(f"at most {_DEEPEST} levels")
    name = _name(node)
    if name is not None:
        names[name] = None
    elif isinstance(node, ast.Constant):
        _bounded(node.value)
    elif isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        _check(node.left, names, depth + 1)
        _check(node.right, names, depth + 1)
    elif isinstance(node, ast.UnaryOp) and type(node.op) in _SIGNS:
        _check(node.operand, names, depth + 1)
    elif isinstance(node, ast.Call) and _is_known(node):
        for argument in node.args:
            _check(argument, names, depth + 1)
    else:
        raise ExpressionError(f"{_SYNTAX}; not {ast.unparse(node)[:40]!r}")


def _is_known(node: ast.Call) -> bool:
    return (
        isinstance(node.func, ast.Name)
        and node.func.id in _FUNCTIONS
        and len(node.args) > 1
        and not node.keywords
    )


def _name(node: ast.expr) -> str | None:
    """Return the dotted name that a node is; None for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (owner := _name(node.value)):
        return f"{owner}.{node.attr}"
    return None


def _bounded(value: Any) -> Number:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ExpressionError(f"numbers and fields that hold numbers; not {value!r}")
    if isinstance(value, int) and abs(value) > _LARGEST_INTEGER:
        raise ExpressionError(f"integers up to {_LARGEST_INTEGER}")
    if not math.isfinite(value):
        raise ExpressionError("numbers up to 1.7e308")
    return value


def _evaluate(node: ast.expr, read: Read) -> Number:
    name = _name(node)
    if name is not None:
        return _bounded(read(name))
    if isinstance(node, ast.Constant):
        return _bounded(node.value)
    if isinstance(node, ast.UnaryOp):
        return _bounded(_SIGNS[type(node.op)](_evaluate(node.operand, read)))
    if isinstance(node, ast.Call):
        assert isinstance(node.func, ast.Name)
        return _bounded(
            _FUNCTIONS[node.func.id](*(_evaluate(argument, read) for argument in node.args))
        )
    assert isinstance(node, ast.BinOp)
    return _apply(type(node.op), _evaluate(node.left, read), _evaluate(node.right, read))


def _apply(kind: type[ast.operator], left: Number, right: Number) -> Number:
    if kind is ast.Pow and abs(right) > _LARGEST_EXPONENT:
        raise ExpressionError(f"exponents up to {_LARGEST_EXPONENT}")
    try:
        value = _OPERATORS[kind](left, right)
    except ZeroDivisionError:
        raise ExpressionError("no division by zero") from None
    except OverflowError:
        raise ExpressionError("numbers up to 1.7e308") from None
    if isinstance(value, complex):
        raise ExpressionError("no root of a negative number")
    return _bounded(value)


def parse_all(expressions: Mapping[str, str]) -> dict[str, Expression]:
    """Parse expressions that :func:`check_expressions` has accepted; each follows what it reads."""
    parsed = {field: parse(text) for field, text in expressions.items()}
    ordered: dict[str, Expression] = {}
    while len(ordered) < len(parsed):
        ready = [
            field
            for field, one in parsed.items()
            if field not in ordered and not (set(one.names) & (parsed.keys() - ordered.keys()))
        ]
        if not ready:
            break
        ordered |= {field: parsed[field] for field in ready}
    return ordered


def check_expressions(expressions: Mapping[str, str], taken: Iterable[str]) -> None:
    """Refuse expressions that cannot be parsed, set a field that is taken, or form a cycle.

    Args:
        expressions: Field to its expression.
        taken: Fields that axes, variants or overrides set.

    Raises:
        PydanticCustomError: Names the field and what is allowed.
    """
    taken = list(taken)
    for field, text in expressions.items():
        _check_target(field, text, taken)
        try:
            names = parse(text).names
        except ExpressionError as error:
            refuse(f"expressions.{field}", text, str(error))
        for name in names:
            _check_read(field, name)
    left = [field for field in expressions if field not in parse_all(expressions)]
    if left:
        names = tuple(expressions[field] for field in left)
        refuse(f"expressions.{left[0]}", names[0], f"no cycle, as of {', '.join(left)}")


def _check_target(field: str, text: str, taken: Iterable[str]) -> None:
    if field.partition(".")[0] in ("seed", "runtime"):
        refuse(f"expressions.{field}", text, "fields that change a number; seeds have a list")
    for other in taken:
        if other == field or other.startswith(f"{field}.") or field.startswith(f"{other}."):
            allowed = f"a field that no axis, variant or override sets, as one sets {other}"
            refuse(f"expressions.{field}", text, allowed)
    if is_field(field) and kind_of(field) not in ("integer", "number"):
        refuse(f"expressions.{field}", text, "a field that holds a number")


def _check_read(field: str, name: str) -> None:
    if name.partition(".")[0] in ("seed", "runtime"):
        refuse(f"expressions.{field}", name, "fields of a point, which seed and runtime are not")
    if is_field(name):
        return
    try:
        read_field({}, name)
    except ConfigError as error:
        problem = error.problems[0]
        hint = f"; did you mean {problem.nearest!r}?" if problem.nearest else ""
        refuse(f"expressions.{field}", name, f"numbers and fields; {problem.allowed}{hint}")


def convert(field: str, value: Number) -> Number:
    """Convert a computed value to the type of its field.

    Raises:
        ExpressionError: The field holds integers, and the value is none.
    """
    if kind_of(field) != "integer":
        return float(value)
    if value != int(value):
        raise ExpressionError(f"an integer, as the field holds integers; it is {value!r}")
    return int(value)
