"""Mutations of configuration files, as hands, editors and programs damage them."""

from __future__ import annotations

from random import Random

NASTY = (
    "", "~", "{}", "[]", "[[[[1]]]]", "{a: {b: {c: {}}}}", "true", "yes", "010", "1:30", "1e-3", "-1",
    "0", "-0.0", ".nan", "-.inf", "1e999", "1e-999", "9" * 25, "9" * 5000, "0x" + "f" * 5000, "11125",
    "1000000000000", "2024-01-31", "2024-13-45", "!!python/object/apply:os.getcwd []", "!!int x",
    "!x", "&a [*a]", "*a", "&b {<<: *b}", "{<<: 3}", '"\\0"', '"\\e[2J"', '"\\ud800"', '"\\UFFFFFFFF"',
    "\x00", "\x1b", "\ufeff", "\u2028", "\t", "'", '"', "|", ">", "%", "@", "`", "? ", ": ", "- ", "#",
    "---", "...", "[" * 3000, "{a: " * 3000, "- " * 3000, "x" * 3000, "λ" * 300, "[red]", ":smile:",
    "../../..", "/dev/zero", "/", ".", "sweep.yaml", "no/such/file.yaml", "[0, 0.0]", "[1, [1, {}]]",
    "{low: 0, high: 1}", "{low: .inf, high: 1}", "{low: 1, high: 9007199254740993, log: true}",
    "\n".join(["x: &x0 [a, a]", *(f"y{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 9)}]" for n in range(1, 9))]),
    "{low: 0, high: 1, step: 0.1}", "{low: 1, high: 3, step: 1e-300}", "{values: [1, [2]], when: {a: []}}",
    "{values: [0.1, 1], when: {objective.name: simclr}}", "{low: 1, high: 8, log: true, when: {seed: 0}}",
    "zip: [objective.equivariance.weight, variant]", "zip: [[a], [a, b], {}]", "when: {variant: [x]}",
    "search: {name: sobol, trials: 3}", "search: {name: random, trials: 20000}", "step: 0.3",
    "expressions: {training.batch_size: 16 * objective.equivariance.splits}", "expressions: {a: 9**9**9}",
    "expressions: {training.epochs: training.epochs / 0}", "expressions: {a: b, b: a}", "- " * 9 + "1",
    "points: {file: /dev/zero}", "points: {file: sweep.yaml}", "points: {file: ..}", "points: {}",
    "seed: 1", "name: grid", "search: {name: optuna, trials: 3}", "a.b.c.d: 1", "." * 500, "a" + ".a" * 500,
)  # fmt: skip
"""Values and pieces of text that have broken a reader of YAML."""


def mutate(random: Random, text: str, other: str) -> bytes:
    """Damage a file in one to four ways.

    Args:
        random: Where the choices come from.
        text: The file.
        other: Another file, for pieces that do not belong.
    """
    for _ in range(random.choice([1, 1, 1, 2, 2, 4])):
        text = random.choice(_WAYS)(random, text, other)
    data = text.encode("utf-8", "surrogatepass")
    if random.random() < 0.1:
        place = random.randrange(len(data) + 1)
        data = data[:place] + random.randbytes(random.randrange(1, 4)) + data[place + 1 :]
    return data


def _value(random: Random, text: str, _: str) -> str:
    """Replace what follows a colon."""
    lines = text.splitlines()
    place = random.choice([n for n, line in enumerate(lines) if ": " in line] or [0])
    if lines:
        lines[place] = lines[place].partition(": ")[0] + ": " + random.choice(NASTY)
    return "\n".join(lines)


def _word(random: Random, text: str, _: str) -> str:
    """Replace a word, number or bracket."""
    words = text.split(" ")
    words[random.randrange(len(words))] = random.choice(NASTY)
    return " ".join(words)


def _insert(random: Random, text: str, _: str) -> str:
    place = random.randrange(len(text) + 1)
    return text[:place] + random.choice(NASTY) + text[place:]


def _cut(random: Random, text: str, _: str) -> str:
    return text[: random.randrange(len(text) + 1)]


def _lines(random: Random, text: str, other: str) -> str:
    """Drop, double, indent or move a line, or take one of another file."""
    lines = text.splitlines() or [""]
    place, target = random.randrange(len(lines)), random.randrange(len(lines))
    line = lines[place]
    foreign = random.choice(other.splitlines() or [""])
    way = random.randrange(5)
    if way < 2:
        del lines[place]
    if way > 0:
        lines.insert(target, [line, line, " " * random.randrange(1, 9) + line, foreign][way - 1])
    return "\n".join(lines)


def _character(random: Random, text: str, _: str) -> str:
    place = random.randrange(len(text) + 1)
    return text[:place] + random.choice("0159.:-[]{},&*!#\"'\n\t λ") + text[place + 1 :]


_WAYS = (_value, _value, _word, _word, _insert, _cut, _lines, _lines, _character)
