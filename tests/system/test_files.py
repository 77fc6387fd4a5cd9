"""Files on a disk that fills up, in the hands of readers that come at any moment."""

from __future__ import annotations

import errno
import os
import socket
import tempfile
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from care.errors import CareError
from care.system.files import (
    DamagedFileError,
    DiskError,
    append_line,
    pack_lines,
    read_json,
    read_lines,
    write_atomic,
    write_json,
)

NoSpace = Callable[[int], AbstractContextManager[None]]

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
records = st.dictionaries(st.text(max_size=10), values, max_size=4)


def test_an_observer_never_sees_a_part(tmp_path: Path) -> None:
    path = tmp_path / "value"
    contents = [bytes([65 + i]) * (1_000_000 + 100_000 * i) for i in range(2)]
    write_atomic(path, contents[0])
    done = threading.Event()

    def write() -> None:
        for turn in range(60):
            write_atomic(path, contents[turn % 2])
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while not done.is_set():
        seen.add(path.read_bytes())
    writer.join()
    assert seen <= set(contents)
    assert len(seen) == 2, "the observer was too slow to prove anything"
    assert [entry.name for entry in tmp_path.iterdir()] == ["value"]


@pytest.mark.parametrize("size", [0, 1, 100])
def test_no_space_leaves_a_file_as_it_was(tmp_path: Path, no_space: NoSpace, size: int) -> None:
    path = tmp_path / "status.json"
    write_json(path, {"epoch": 1})
    before = path.read_bytes()
    with no_space(size), pytest.raises(DiskError, match=r"status\.json: cannot write \(") as caught:
        write_json(path, {"epoch": 2, "filler": "x" * 200})
    assert caught.value.errno == errno.EFBIG
    assert "Free some space" in str(caught.value)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["status.json"]


@pytest.mark.parametrize("left", [0, 1, 20, 60, 80])
def test_no_space_for_a_line_leaves_the_log_as_it_was(
    tmp_path: Path, no_space: NoSpace, left: int
) -> None:
    path = tmp_path / "metrics.jsonl"
    append_line(path, {"epoch": 1})
    append_line(path, {"epoch": 2})
    before = path.read_bytes()
    record = {"epoch": 3, "filler": "x" * 70}
    with no_space(len(before) + left), pytest.raises(DiskError, match=r"metrics\.jsonl: cannot"):
        append_line(path, record)
    assert path.read_bytes() == before
    append_line(path, record)
    assert read_lines(path) == [{"epoch": 1}, {"epoch": 2}, record]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match=r"gone/value\.json: cannot write \(No such file"):
        write_json(tmp_path / "gone" / "value.json", 1)
    with pytest.raises(DiskError, match=r"gone/log\.jsonl: cannot write \(No such file"):
        append_line(tmp_path / "gone" / "log.jsonl", {})


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DiskError, match=r"file/value\.json: cannot write \(Not a directory"):
        write_json(tmp_path / "file" / "value.json", 1)


def test_what_is_not_there_reads_as_nothing(tmp_path: Path) -> None:
    assert read_json(tmp_path / "value.json") is None
    assert read_lines(tmp_path / "log.jsonl") == []


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b"\0" * 9, "holds only zeros"),
        (b"{", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b'{"a": "\xff"}', "is not JSON"),
        (b"{}\0\0", "is not JSON"),
        (b"[" * 10_000, "is not JSON"),
        (b'{"a": 1}{"a": 1}', "is not JSON"),
        (b"null", "holds null where a JSON object belongs"),
        (b"[1]", "holds a list where"),
        (b"1.5", "holds a number where"),
        (b"true", "holds a truth value where"),
        (b'"a"', "holds a string where"),
    ],
)
def test_a_file_that_is_no_json_object_is_named(
    tmp_path: Path, content: bytes, problem: str
) -> None:
    path = tmp_path / "store.json"
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match=rf"store\.json: {problem}"):
        read_json(path)


def test_what_is_no_file_is_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe")  # which a plain read would wait for without end
    with (tmp_path / "huge").open("wb") as huge:
        huge.truncate(2**40)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
    problems = {
        "folder": "is a folder, not a file",
        "link": "is a dangling link",
        "loop": r"cannot be read \(Too many levels of symbolic links\)",
        "pipe": "is a named pipe, not a file",
        "huge": r"is too large \(1,099,511,627,776 bytes\)",
        "socket": "cannot be read",
        "huge/file": r"cannot be read \(Not a directory\)",
    }
    for name, problem in problems.items():
        for read in (read_json, read_lines):
            with pytest.raises(DamagedFileError, match=rf"{name}: {problem}"):
                read(tmp_path / name)


@given(records)
def test_json_comes_back_as_it_went(value: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "value.json"
        write_json(path, value)
        assert read_json(path) == value


@given(st.lists(records, min_size=1, max_size=5), records, st.data())
def test_a_log_torn_anywhere_keeps_its_whole_lines(
    before: list[dict[str, Any]], after: dict[str, Any], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.jsonl"
        for record in before:
            append_line(path, record)
        assert read_lines(path) == before
        content = path.read_bytes()
        cut = data.draw(st.integers(0, len(content)))
        path.write_bytes(content[:cut])
        whole = before[: content[:cut].count(b"\n")]
        assert read_lines(path) == whole
        append_line(path, after)
        assert read_lines(path) == [*whole, after]
        write_atomic(path, pack_lines(path, before))
        assert path.read_bytes() == content


def test_a_torn_line_longer_than_a_block_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    append_line(path, {"text": "a" * 10_000})
    with path.open("a") as log:
        log.write('{"text": "' + "b" * 20_000)
    append_line(path, {"text": "c"})
    assert [record["text"][0] for record in read_lines(path)] == ["a", "c"]


def test_a_bad_line_inside_a_log_is_named(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"epoch": 1}\n{"epo\n{"epoch": 3}\n')
    with pytest.raises(DamagedFileError, match=r"log\.jsonl: line 2 is not JSON"):
        read_lines(path)
    path.write_text('{"epoch": 1}\n[2]\n{"epoch": 3}\n')
    with pytest.raises(DamagedFileError, match=r"log\.jsonl: line 2 holds a list where"):
        read_lines(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_json_has_no_word_for_is_named_and_nothing_is_written(
    tmp_path: Path, value: float
) -> None:
    log = tmp_path / "metrics.jsonl"
    append_line(log, {"epoch": 1})
    before = log.read_bytes()
    record = {"epoch": 2, "measures": {"gamma": value, "path": [0.0, value]}}
    named = r"not a finite number: measures\.gamma = -?(nan|inf), measures\.path\[1\] = "
    with pytest.raises(CareError, match=rf"metrics\.jsonl is not written: {named}"):
        append_line(log, record)
    with pytest.raises(CareError, match=named):
        pack_lines(log, [record])
    assert log.read_bytes() == before
    with pytest.raises(CareError, match=named):
        write_json(tmp_path / "evaluation.json", record)
    assert not (tmp_path / "evaluation.json").exists()


def test_names_that_are_no_utf8_are_written_in_words(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"name": os.fsdecode(b"caf\xe9.png"), "plain": "café"})
    assert read_json(tmp_path / "a.json") == {"name": r"caf\udce9.png", "plain": "café"}
