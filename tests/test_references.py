"""No sentence cites what a reader does not have: every name, file, section and link is followed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tests.helpers.paths import ROOT
from tests.helpers.references import anchors, class_members, exists, files, prose, resolves

ROLE = re.compile(r":(?:mod|class|func|meth|data|attr|exc):`([^`]+)`")
FILE = re.compile(r"(?<![\w/.~<>*{-])((?:[\w*-]+/)*[\w*-]+\.(?:py|md|yaml|toml))(?![\w/])(?!\.\w)")
FOLDER = re.compile(
    r"(?<![\w/.~<>*-])((?:care|sweeps|analysis|benchmarks|docker|docs|experiments|tests)(?:/[\w-]+)*/)(?![\w<*.-])"
)
MEMBER = re.compile(r"`([A-Z][A-Za-z]*[a-z][A-Za-z]*)\.(?!py|md)(\w+)")
LINK = re.compile(r"\]\((?!https?://|mailto:)([^)\s]+)\)")
SHOWN = re.compile(r"^```\w+\n# (\S+)$", re.MULTILINE)  # a file of which a document has the text
# Folders whose prose is written for readers; the other files of tests/ name files that they make.
READ = ("care", "sweeps", "analysis", "benchmarks", "docs", "experiments", "docker")
# Files that the reader makes: a cluster file, a sweep, those of `care init`.
EXAMPLES = {
    "sweeps/clusters/mine.yaml",
    "sweeps/temperature.yaml",
    "cluster.yaml",
    "experiment.yaml",
}
ABSENT = ("CARE.md", "DESIGN.md", "ROADMAP.md")


def read() -> Iterator[tuple[str, Path, str]]:
    """Every file that people read: its name, path and prose."""
    for path in files():
        name = path.relative_to(ROOT).as_posix()
        if path.suffix in (".py", ".md", ".yaml") or name == "Makefile":
            yield name, path, prose(path)


def test_every_name_of_the_code_exists() -> None:
    missing = [
        f"{name}: {target}"
        for name, path, text in read()
        if not name.startswith("tests/test_references")
        for target in ROLE.findall(text)
        if not resolves(target, path)
    ]
    assert not missing


def test_every_member_that_a_document_names_exists() -> None:
    missing = [
        f"{name}: {owner}.{member}"
        for name, path, text in read()
        if path.suffix == ".md"
        for owner, member in MEMBER.findall(text)
        if member not in class_members().get(owner, ())
    ]
    assert not missing


def test_every_file_exists() -> None:
    missing = [
        f"{name}: {target}"
        for name, _, text in read()
        if name.startswith((*READ, "README", "CONTRIBUTING"))
        for target in [*FILE.findall(text), *(f.rstrip("/") for f in FOLDER.findall(text))]
        if target not in {*EXAMPLES, *SHOWN.findall(text)}
        and not exists(target, Path(name).parent.as_posix())
    ]
    assert not missing


def test_every_section_and_invariant_exists() -> None:
    docs = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md")}
    sections = set(re.findall(r"^## (§\d)", docs["paper.md"], re.M))
    invariants = set(re.findall(r"^\| (\d) \|", docs["architecture.md"], re.M))
    cited = 0
    for name, _, text in read():
        flat = " ".join(text.split())
        for chain in re.findall(r"paper\.md ((?:(?:, | and | to )?§\d)+)", flat):
            assert set(re.findall(r"§\d", chain)) <= sections, name
            cited += 1
        for number in re.findall(r"architecture\.md, invariant (\d)", flat):
            assert number in invariants, name
            cited += 1
    assert cited > 30


def test_every_link_of_the_documents_leads_somewhere() -> None:
    missing = []
    for name, path, text in read():
        if path.suffix != ".md":
            continue
        for link in LINK.findall(text):
            file, _, anchor = link.partition("#")
            target = (path.parent / file).resolve() if file else path
            if not target.exists():
                missing.append(f"{name}: {link}")
            elif anchor and anchor not in anchors(target.read_text(encoding="utf-8")):
                missing.append(f"{name}: {link}, no such heading")
    assert not missing


def test_nothing_outside_the_repository_is_cited() -> None:
    cited = [
        f"{name}: {word}"
        for name, path, _ in read()
        if name != "tests/test_references.py"
        for word in ABSENT
        if word in path.read_text(encoding="utf-8")
    ]
    assert not cited
