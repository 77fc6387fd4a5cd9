"""Reading proteins: from real coordinates, and from everything that is wrong with files."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import gemmi
import numpy as np
import pytest
import torch

from care.config import DataConfig, TrialConfig
from care.data.archive import read_unpacked
from care.data.dataset import check_dataset, load_dataset
from care.data.fingerprints.fingerprint import fingerprints
from care.data.prepare import prepare
from care.data.proteins import load_proteins
from care.data.structures import read_structures, survey_structures
from care.errors import CareError, ConfigError, Problem
from tests.helpers.listener import Listener
from tests.helpers.pdb_text import atom, chain, residue
from tests.helpers.points import points

Refused = Callable[..., Problem]


def pdb(points_of: np.ndarray) -> str:
    """A protein with a nitrogen and a C-alpha in each residue."""
    return chain(points_of, names=("N", "CA")) + "END\n"


def places(count: int, seed: int = 0) -> np.ndarray:
    return np.round(10 * points(count, 3, seed).numpy(), 3)


def test_pdb_mmcif_and_gzip_give_the_same_points(tmp_path: Path) -> None:
    text = pdb(places(7))
    (tmp_path / "plain.pdb").write_text(text)
    with gzip.open(tmp_path / "zipped.pdb.gz", "wt") as file:
        file.write(text)
    gemmi.read_pdb_string(text).make_mmcif_document().write_file(str(tmp_path / "modern.cif"))
    (tmp_path / "README.txt").write_text("not a protein")
    found = read_structures(tmp_path)
    assert list(found) == ["modern", "plain", "zipped"]
    for read in found.values():
        assert read.dtype == np.float32
        np.testing.assert_allclose(read, places(7), atol=1e-4)


@pytest.mark.parametrize(
    ("names", "proteins"),
    [
        (["1ABC.PDB", "2ABC.ENT"], ["1ABC", "2ABC"]),
        (["model.000.00.pdb", "model.000.01.pdb"], ["model.000.00", "model.000.01"]),
        (["target.B99990001.pdb", "1abc.model.ent"], ["1abc.model", "target.B99990001"]),
    ],
)
def test_a_protein_is_named_after_its_file(
    tmp_path: Path, names: list[str], proteins: list[str]
) -> None:
    for name in names:
        (tmp_path / name).write_text(pdb(places(5)))
    assert list(read_structures(tmp_path)) == proteins


def test_gzip_is_known_by_its_content(tmp_path: Path) -> None:
    """Names lie: of downloads that the browser unpacked, and the other way round."""
    content = pdb(places(5)).encode()
    (tmp_path / "1ABC.PDB.GZ").write_bytes(gzip.compress(content))
    (tmp_path / "2abc.ent.gz").write_bytes(content)
    (tmp_path / "3abc.pdb").write_bytes(gzip.compress(content[:90]) + gzip.compress(content[90:]))
    found = read_structures(tmp_path)
    assert list(found) == ["1ABC", "2abc", "3abc"]
    for points_read in found.values():
        np.testing.assert_allclose(points_read, places(5), atol=1e-4)


def odd_folder(folder: Path) -> None:
    (folder / "1abc.pdb").write_text(pdb(places(5)))
    (folder / "._1abc.pdb").write_bytes(b"\x00\x05\x16\x07Mac OS X \x00\xb0")
    (folder / ".2abc.pdb.swp.pdb").write_text(pdb(places(6)))
    (folder / "3abc.pdb").mkdir()
    (folder / "README.txt").write_text("of the folder")


def test_other_files_are_passed_over_and_named(tmp_path: Path) -> None:
    odd_folder(tmp_path)
    found = survey_structures(tmp_path)
    assert list(found.points) == ["1abc"]
    assert found.left_out == [
        ".2abc.pdb.swp.pdb: hidden",
        "._1abc.pdb: hidden",
        "3abc.pdb: a folder; only files beside it are read",
        "README.txt: not .pdb, .ent, .cif, .mmcif, plain or with .gz",
    ]


def test_a_folder_without_structures_names_what_is_there(tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "ab").mkdir()
    (tmp_path / "ab" / "pdb1abc.ent.gz").write_bytes(gzip.compress(pdb(places(5)).encode()))
    problem = refused(read_structures, tmp_path)
    assert "ab: a folder; only files beside it are read" in problem.allowed


def test_corrupt_files_can_be_left_out(tmp_path: Path, refused: Refused) -> None:
    listener = Listener()
    (tmp_path / "proteins").mkdir()
    odd_folder(tmp_path / "proteins")
    (tmp_path / "proteins" / "4abc.cif").write_bytes(b"")
    (tmp_path / "proteins" / "5abc.pdb").write_text(pdb(places(7)))
    (tmp_path / "proteins" / "6abc.pdb").symlink_to("nowhere")
    with pytest.raises(ConfigError, match="No such file"):
        load_proteins(DataConfig(name="proteins"), tmp_path)
    config = DataConfig(name="proteins", skip_corrupt=True)
    prepare(config, tmp_path, listener)
    assert len(load_dataset(config, tmp_path).train) == 1
    text = "\n".join(listener.lines)
    assert "left out 2 that cannot be read" in text
    assert "4abc: got '4abc.cif'; allowed: a PDB or mmCIF file (an empty file)" in text
    assert "skipped 4 other files" in text
    for name in ("1abc", "5abc"):
        (tmp_path / "proteins" / f"{name}.pdb").unlink()
    with pytest.raises(ConfigError, match="6abc"):
        load_dataset(config, tmp_path)


def test_ligands_are_counted(tmp_path: Path) -> None:
    ligand = residue((20, 20, 20), residue="LIG", number=104, record="HETATM")
    for name in ("1abc", "2abc"):
        (tmp_path / f"{name}.pdb").write_text(chain(places(5)) + "TER\n" + ligand)
    listener = Listener()
    prepare(DataConfig(name="proteins", path="."), tmp_path, listener)
    assert listener.lines == ["proteins: skipped residues with an atom CA outside proteins: 2 LIG"]


def test_many_bad_files_are_counted(tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / f"p{number:02}.pdb").write_text("no protein")
    with pytest.raises(ConfigError) as caught:
        read_structures(tmp_path)
    message = str(caught.value)
    assert "30 that cannot be read" in message
    assert "p18: got 'no C-alpha atom'" in message


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "an empty file"),
        (b"\n \n", "an empty file"),
        (b"data_x\nloop_\n_atom_site.id\n1\n", "mmCIF, but not named .cif"),
        (gzip.compress(b"A" * 4000, mtime=0)[:-9], "gzip archive, cut before its end"),
        (gzip.compress(b"A" * 40, mtime=0) + b"more", "gzip archive, damaged: Not a gzipped file"),
        (
            gzip.compress(b"A" * 40, mtime=0)[:-8] + b"12345678",
            "gzip archive, damaged: CRC check failed",
        ),
    ],
)
def test_why_a_file_cannot_be_read(
    tmp_path: Path, refused: Refused, content: bytes, reason: str
) -> None:
    (tmp_path / "1abc.pdb").write_bytes(content)
    assert reason in refused(read_structures, tmp_path).allowed


def test_an_archive_of_zeros_does_not_fill_the_memory(tmp_path: Path) -> None:
    (tmp_path / "zeros.pdb.gz").write_bytes(gzip.compress(bytes(3_000_000)))
    with pytest.raises(CareError, match="holds more than 2,000,000 bytes"):
        read_unpacked(tmp_path / "zeros.pdb.gz", 2_000_000)


def test_what_is_no_regular_file_is_refused(tmp_path: Path, refused: Refused) -> None:
    os.mkfifo(tmp_path / "1abc.pdb")
    assert "not a regular file" in refused(read_structures, tmp_path).allowed
    fingerprints(DataConfig(name="proteins", path="."), tmp_path)  # waits for no writer either


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"1a\xff.pdb")).write_text(pdb(places(5)))
    assert list(read_structures(tmp_path)) == ["1a\\xff"]


def test_a_folder_beside_an_archive(tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "proteins").mkdir()
    np.savez(tmp_path / "proteins.npz", a=places(5), b=places(6))
    problem = refused(load_proteins, DataConfig(name="proteins"), tmp_path)
    assert (problem.field, problem.value) == ("data.path", None)
    config = DataConfig(name="proteins", path="proteins.npz")
    assert len(load_proteins(config, tmp_path).train) == 1


def test_npz(tmp_path: Path) -> None:
    np.savez(tmp_path / "proteins.npz", b=places(5), a=places(6, seed=1))
    found = read_structures(tmp_path / "proteins.npz")
    assert list(found) == ["a", "b"]
    np.testing.assert_array_equal(found["b"], places(5).astype(np.float32))


def test_every_bad_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "good.pdb").write_text(pdb(places(5)))
    (tmp_path / "nothing.pdb").write_text("HEADER\nEND\n")
    (tmp_path / "nitrogen.pdb").write_text(atom("N", (0, 0, 0)) + "END\n")
    (tmp_path / "short.pdb").write_text(pdb(places(3)))
    (tmp_path / "torn.cif").write_text("data_x\nloop_\n_atom_site.id\n_atom_site.Cartn_x\n1 'a\n")
    (tmp_path / "cut.pdb.gz").write_bytes(gzip.compress(pdb(places(50)).encode())[:-40])
    with pytest.raises(ConfigError) as caught:
        read_structures(tmp_path)
    problems = {problem.field: str(problem) for problem in caught.value.problems}
    assert set(problems) == {"nothing", "nitrogen", "short", "torn", "cut"}
    assert "no C-alpha atom" in problems["nothing"]
    assert "no C-alpha atom" in problems["nitrogen"]
    assert "3 C-alpha" in problems["short"]
    assert "allowed: 4 C-alpha or more" in problems["short"]
    assert "a PDB or mmCIF file" in problems["torn"]
    assert "a PDB or mmCIF file" in problems["cut"]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "allowed: one protein or more"),
        ({"a": np.zeros((5, 2))}, "allowed: floating-point coordinates [n,3]"),
        ({"a": np.zeros((5, 3), int)}, "allowed: floating-point coordinates [n,3]"),
        ({"a": np.full((5, 3), np.nan)}, "allowed: finite coordinates"),
    ],
)
def test_bad_arrays(
    arrays: dict[str, np.ndarray], message: str, tmp_path: Path, refused: Refused
) -> None:
    np.savez(tmp_path / "proteins.npz", **arrays)  # type: ignore[arg-type]
    assert message in refused(read_structures, tmp_path / "proteins.npz").allowed


def test_nothing_there(tmp_path: Path, refused: Refused) -> None:
    assert "a folder of .pdb" in refused(read_structures, tmp_path / "missing").allowed
    assert "one protein or more" in refused(read_structures, tmp_path).allowed
    (tmp_path / "bad.npz").write_text("no archive")
    assert "an .npz file with an array" in refused(read_structures, tmp_path / "bad.npz").allowed


def test_twice_the_same_name(tmp_path: Path, refused: Refused) -> None:
    for name in ("one.pdb", "one.ent"):
        (tmp_path / name).write_text(pdb(places(5)))
    assert refused(read_structures, tmp_path).allowed == "allowed: one file for each protein"


def test_the_data_set(tmp_path: Path) -> None:
    sizes = [5, 9, 6, 7, 8, 5, 6, 9, 4, 7]
    arrays = {f"p{i}": places(size, seed=i) for i, size in enumerate(sizes)}
    np.savez(tmp_path / "proteins.npz", **arrays)  # type: ignore[arg-type]
    dataset = load_proteins(DataConfig(name="proteins"), tmp_path)
    assert (len(dataset.train), len(dataset.test)) == (8, 2)
    seen = []
    for part in (dataset.train, dataset.test):
        assert part.images.shape == (len(part), 9, 4)
        for cloud in part.images:
            count = int(cloud[:, 3].sum())
            assert cloud[:count, 3].eq(1).all()
            assert cloud[count:].eq(0).all()
            assert cloud[:count, :3].mean(0).abs().max() < 1e-6
            seen.append(
                next(
                    i
                    for i, a in arrays.items()
                    if len(a) == count
                    and np.allclose(cloud[:count, :3] * 10, a - a.mean(0), atol=1e-4)
                )
            )
    assert sorted(seen) == sorted(arrays)
    again = load_proteins(DataConfig(name="proteins"), tmp_path)
    assert again.train.images.equal(dataset.train.images)


def test_one_protein_leaves_none_to_train_on(tmp_path: Path, refused: Refused) -> None:
    np.savez(tmp_path / "proteins.npz", only=places(5))
    problem = refused(load_proteins, DataConfig(name="proteins"), tmp_path)
    assert (problem.value, problem.allowed[:29]) == (1, "allowed: 2 proteins or more, ")


@pytest.mark.shared
def test_real_proteins(shared_data: Path) -> None:
    config = DataConfig(name="proteins", path="proteins_ca.npz")
    dataset = load_dataset(config, shared_data)
    assert (len(dataset.train), len(dataset.test), dataset.classes) == (148, 36, ())
    tree = {"data": config, "model": {"encoder": "deep_sets"}, "training": {"batch_size": 64}}
    tree["objective"] = {"equivariance": {"splits": 4}}
    check_dataset(TrialConfig.model_validate(tree), dataset)  # no classes, and no probe
    chains = [cloud[cloud[:, 3] == 1][:, :3] for cloud in dataset.train.images]
    steps = torch.cat([(chain[1:] - chain[:-1]).norm(dim=1) for chain in chains])
    assert steps.mean() == pytest.approx(0.38, abs=0.002)  # nanometers from one C-alpha to the next
