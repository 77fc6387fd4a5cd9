"""Archives of point clouds: what numpy can write, and what happens to files."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from care.data.npz import read_point_arrays
from care.data.structures import read_structures
from care.errors import CareError, ConfigError
from tests.helpers.damage import damaged

RNG = np.random.default_rng(0)
CLOUD = RNG.normal(size=(50, 3))


def archive(compressed: bool = False, **arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def refusal(folder: Path, content: bytes) -> str:
    (folder / "p.npz").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_structures(folder / "p.npz")
    return str(caught.value)


@pytest.mark.parametrize("kind", ["<f4", ">f4", "<f8", ">f8", "<f2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_any_float_in_any_order(tmp_path: Path, kind: str, order: str) -> None:
    points = np.asarray(CLOUD, dtype=kind, order=order)  # type: ignore[call-overload]
    np.savez(tmp_path / "p.npz", a=points)
    read = read_structures(tmp_path / "p.npz")["a"]
    assert read.dtype == np.float32
    assert read.flags.c_contiguous
    np.testing.assert_array_equal(read, points.astype(np.float32))


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    trap = np.array([Trap(tmp_path / "sprung")] * 2, dtype=object)
    assert "a: got 'object [2]'" in refusal(tmp_path, archive(a=trap))
    assert "no .npz archive" in refusal(tmp_path, pickle.dumps(trap))
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.array(["x", "y"]), "a: got '<U1 [2]'; allowed: floating-point coordinates [n,3]"),
        (CLOUD.astype(complex), "a: got 'complex128 [50, 3]'"),
        (CLOUD.T, "a: got 'float64 [3, 50]'"),
        (CLOUD * np.inf, "a: got 'NaN or infinity'"),
        (CLOUD * 1e300, "allowed: coordinates below 10,000 Å"),
        (np.full((9, 3), 5.0), "a: got 'all C-alpha on one line'"),
        (np.arange(9.0)[:, None] * [1, 2, 3], "a: got 'all C-alpha on one line'"),
        (CLOUD[:0], "a: got 'no C-alpha atom'"),
    ],
)
def test_arrays_that_are_no_clouds(tmp_path: Path, points: np.ndarray, message: str) -> None:
    assert message in refusal(tmp_path, archive(a=points, b=CLOUD))


def test_other_files(tmp_path: Path) -> None:
    assert "(an empty file)" in refusal(tmp_path, b"")
    assert "(a web page)" in refusal(tmp_path, b"\n<!DOCTYPE html><html>404</html>")
    buffer = io.BytesIO()
    np.save(buffer, CLOUD)
    assert "(a single .npy array)" in refusal(tmp_path, buffer.getvalue())
    assert "a cut one" in refusal(tmp_path, archive(a=CLOUD)[:400])


def members(**content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in content.items():
            file.writestr(name, data)
    return buffer.getvalue()


def npy(points: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, points)
    return buffer.getvalue()


def test_members_that_are_no_arrays(tmp_path: Path) -> None:
    hidden = {"__MACOSX/._a.npy": b"\x00\x05\x16\x07", ".DS_Store": b"\x00"}
    (tmp_path / "p.npz").write_bytes(members(**{"a.npy": npy(CLOUD)}, **hidden))
    assert list(read_structures(tmp_path / "p.npz")) == ["a"]
    message = refusal(tmp_path, members(**{"a.npy": npy(CLOUD), "notes.txt": b"hello"}))
    assert "notes.txt: got 'no .npy array'" in message


def test_two_arrays_of_one_name(tmp_path: Path) -> None:
    buffer = io.BytesIO(archive(a=CLOUD))
    with zipfile.ZipFile(buffer, "a") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr("a.npy", npy(CLOUD + 1))
    assert "two arrays of the name 'a'" in refusal(tmp_path, buffer.getvalue())


@pytest.mark.parametrize("rows", [49, 51, 10**15])
def test_a_header_that_disagrees_with_the_content(tmp_path: Path, rows: int) -> None:
    """Nothing is allocated for a header that asks for petabytes."""
    header = io.BytesIO()
    fields = {"descr": "<f8", "fortran_order": False, "shape": (rows, 3)}
    np.lib.format.write_array_header_1_0(header, fields)
    message = refusal(tmp_path, members(**{"a.npy": header.getvalue() + CLOUD.tobytes()}))
    assert f"damaged array (1200 bytes for [{rows}, 3] of float64)" in message


def test_an_archive_that_unpacks_to_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("care.data.npz.LARGEST", 10_000)
    content = archive(True, a=np.zeros((10_000, 3)))
    assert len(content) < 10_000
    assert "holds 240,128 bytes once unpacked; at most 10,000 are read" in refusal(
        tmp_path, content
    )


@given(damage=damaged(archive(False, a=CLOUD, b=CLOUD[:9])))
@settings(max_examples=300, deadline=None)
def test_damage_is_noticed_or_does_no_harm(
    damage: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The checksums cover the arrays; what they do not cover changes none of them."""
    check(damage, tmp_path_factory.getbasetemp() / "plain.npz")


@given(damage=damaged(archive(True, a=CLOUD, b=CLOUD[:9])))
@settings(max_examples=300, deadline=None)
def test_damage_of_compressed_arrays(
    damage: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    check(damage, tmp_path_factory.getbasetemp() / "compressed.npz")


def check(damage: bytes, path: Path) -> None:
    path.write_bytes(damage)
    try:
        found = read_point_arrays(path)
    except CareError:
        return
    for points in found.arrays.values():
        assert any(np.array_equal(points, whole) for whole in (CLOUD, CLOUD[:9]))
