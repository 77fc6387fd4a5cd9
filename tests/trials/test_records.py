"""Records of a store: read whole and right, or refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from care.system.files import DamagedFileError, append_line, write_json
from care.trials.records import (
    ProvenanceRecord,
    StatusRecord,
    TimingRecord,
    TrialRecord,
    read_epochs,
    read_record,
    read_records,
    read_values,
)

MOMENT = "2026-11-26T15:00:00.000001+00:00"
STATUS = {"state": "failed", "epoch": 2, "epochs": 3, "updated": MOMENT, "error": None}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file.json"


def test_a_record_comes_back_with_what_a_newer_version_added(path: Path) -> None:
    write_json(path, {**STATUS, "added": [1]})
    status = read_record(path, StatusRecord)
    assert status
    assert status.model_dump(exclude_unset=True) == {**STATUS, "added": [1]}


def test_nothing_there_is_none(path: Path) -> None:
    assert read_record(path, StatusRecord) is None
    assert read_values(path) is None
    assert read_epochs(path) == []
    assert read_records(path, TimingRecord) == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"epoch": "2"}, "field 'epoch': got '2'; Input should be a valid integer"),
        ({"epoch": 2.5}, "field 'epoch': got 2.5"),
        ({"epoch": -1}, "field 'epoch': got -1"),
        ({"epoch": True}, "field 'epoch': got True"),
        ({"epoch": None}, "field 'epoch': got None"),
        ({"state": "fnished"}, "field 'state': got 'fnished'"),
        ({"updated": "yesterday"}, "field 'updated': got 'yesterday'"),
        ({"updated": "2026-11-26T15:00:00"}, "field 'updated'.*has no time zone"),
        ({"error": "broke"}, "field 'error'"),
        ({"error": {"kind": 1, "message": "m"}}, r"field 'error\.kind': got 1"),
        ({"state": ["x" * 999]}, r"field 'state': got \['x{37,38}…; "),
    ],
)
def test_a_field_of_another_type_is_named(
    path: Path, changes: dict[str, Any], problem: str
) -> None:
    write_json(path, {**STATUS, **changes})
    with pytest.raises(DamagedFileError, match=rf"file\.json: {problem}"):
        read_record(path, StatusRecord)


@pytest.mark.parametrize("kind", [StatusRecord, TrialRecord, ProvenanceRecord, TimingRecord])
def test_an_object_of_other_fields_is_no_record(path: Path, kind: type[StatusRecord]) -> None:
    write_json(path, {"other": 1})
    with pytest.raises(DamagedFileError, match=r"file\.json: has no field '"):
        read_record(path, kind)


def test_numbers_stay_what_they_were(path: Path) -> None:
    values = {"epoch": 3, "gamma": 0.1 + 0.2, "tiny": 5e-324, "large": 2**53 + 1}
    write_json(path, values)
    found = read_values(path)
    assert found == values
    assert found
    assert [type(value) for value in found.values()] == [int, float, float, int]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=50))
def test_every_float_comes_back_to_the_bit(tmp_path_factory: Any, values: list[float]) -> None:
    path = tmp_path_factory.mktemp("floats") / "values.json"
    named = {str(number): value for number, value in enumerate(values)}
    write_json(path, named)
    found = read_values(path)
    assert found
    assert [float(value).hex() for value in found.values()] == [v.hex() for v in values]


@pytest.mark.parametrize("value", [None, True, "0.5", [0.5], {"mean": 0.5}])
def test_a_measure_is_a_number(path: Path, value: object) -> None:
    write_json(path, {"head/gamma": 0.5, "head/wahba": value})
    with pytest.raises(DamagedFileError, match=r"file\.json: field 'head/wahba"):
        read_values(path)


@pytest.mark.parametrize(
    ("epochs", "problem"),
    [
        ([1, 3], "line 2 has epoch 3 where epoch 2 belongs"),
        ([2, 3], "line 1 has epoch 2 where epoch 1 belongs"),
        ([1, 2, 2, 4], "line 4 has epoch 4 where epoch 3 belongs"),
        ([1, 0], "line 2 has epoch 0 where epoch 2 belongs"),
        ([2, 1], "line 1 has epoch 2 where epoch 1 belongs"),
        ([1, None], "line 2 has no epoch where epoch 2 belongs"),
    ],
)
def test_a_gap_between_epochs_is_named(path: Path, epochs: list[int | None], problem: str) -> None:
    for epoch in epochs:
        append_line(path, {"loss": 1.0} if epoch is None else {"epoch": epoch, "loss": 1.0})
    with pytest.raises(DamagedFileError, match=rf"file\.json: {problem}"):
        read_epochs(path)


def test_an_epoch_that_stands_twice_counts_once_if_its_numbers_are_equal(path: Path) -> None:
    values = {1: "1.0", 2: "NaN", 3: "0.25", 4: "0.5"}  # earlier versions wrote NaN
    lines = [f'{{"epoch": {epoch}, "loss": {values[epoch]}}}\n' for epoch in (1, 2, 3, 2, 3, 4)]
    path.write_text("".join(lines))
    assert [line["epoch"] for line in read_epochs(path)] == [1, 2, 3, 4]
    append_line(path, {"epoch": 3, "loss": 0.5})
    with pytest.raises(DamagedFileError, match=r"line 7 has other numbers for epoch 3"):
        read_epochs(path)


def test_a_bad_line_is_named_by_its_number(path: Path) -> None:
    timing = {"epoch": 1, "seconds": 1.0, "images_per_second": 9.0, "finished_at": 1e9}
    path.write_text("".join(json.dumps(line) + "\n" for line in (timing, {**timing, "epoch": "2"})))
    with pytest.raises(DamagedFileError, match=r"file\.json: line 2: field 'epoch': got '2'"):
        read_records(path, TimingRecord)
