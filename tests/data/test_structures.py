"""Reading proteins: from real coordinates, and from everything that is wrong with files."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import gemmi
import numpy as np
import pytest
import torch

from care.config import DataConfig, TrialConfig
from care.data import check_dataset, load_dataset
from care.data.proteins import load_proteins
from care.data.structures import read_structures
from care.errors import ConfigError, Problem
from tests.objectives.points import points

Refused = Callable[..., Problem]


def atom(
    serial: int, name: str, residue: int, place: list[float], *, alt: str = " ", kind: str = "ALA"
) -> str:
    """A line of the PDB format, column by column (wwPDB format 3.3)."""
    x, y, z = place
    return (
        f"ATOM  {serial:5d}  {name:<3s}{alt}{kind} A{residue:4d}    "
        f"{x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00           {name[0]}\n"
    )


def pdb(places: np.ndarray) -> str:
    """A protein with a nitrogen and a C-alpha in each residue."""
    lines = []
    for number, place in enumerate(places.tolist(), start=1):
        lines.append(atom(2 * number - 1, "N", number, [value + 1 for value in place]))
        lines.append(atom(2 * number, "CA", number, place))
    return "".join(lines) + "END\n"


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


def test_first_model_first_alternative_and_no_water(tmp_path: Path) -> None:
    own = places(4)
    lines = ["MODEL        1\n"]
    for number, place in enumerate(own.tolist(), start=1):
        lines.append(atom(number, "CA", number, place, alt="A"))
        lines.append(atom(number, "CA", number, [0.0, 0.0, 0.0], alt="B"))
    lines.append(atom(9, "CA", 9, [5.0, 5.0, 5.0], kind="HOH"))
    lines += ["ENDMDL\n", "MODEL        2\n", atom(1, "CA", 1, [9.0, 9.0, 9.0]), "ENDMDL\n"]
    (tmp_path / "one.pdb").write_text("".join(lines))
    np.testing.assert_allclose(read_structures(tmp_path)["one"], own, atol=1e-4)


def test_npz(tmp_path: Path) -> None:
    np.savez(tmp_path / "proteins.npz", b=places(5), a=places(6, seed=1))
    found = read_structures(tmp_path / "proteins.npz")
    assert list(found) == ["a", "b"]
    np.testing.assert_array_equal(found["b"], places(5).astype(np.float32))


def test_every_bad_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "good.pdb").write_text(pdb(places(5)))
    (tmp_path / "nothing.pdb").write_text("HEADER\nEND\n")
    (tmp_path / "nitrogen.pdb").write_text(atom(1, "N", 1, [0.0, 0.0, 0.0]) + "END\n")
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
