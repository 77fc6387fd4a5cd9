"""CITATION.cff: GitHub and reference managers read it."""

from __future__ import annotations

from pathlib import Path

import yaml
from packaging.version import Version

from care import __version__
from care.pretrained.model_card import CITATION

ROOT = Path(__file__).parents[1]


def test_the_file_cites_the_paper_of_the_model_cards() -> None:
    record = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert record["cff-version"] == "1.2.0"
    assert Version(record["version"]) >= Version(Version(__version__).base_version)
    paper = record["preferred-citation"]
    words = " ".join(CITATION.split())
    assert paper["title"] in words
    assert paper["identifiers"][0]["value"] in words
    assert [one["family-names"] for one in paper["authors"]] == [
        "Gupta",
        "Robinson",
        "Lim",
        "Villar",
        "Jegelka",
    ]
    for author in paper["authors"]:
        assert f"{author['family-names']}, {author['given-names']}" in words
