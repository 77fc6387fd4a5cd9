"""Configuration that is wrong: what the user reads about it."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from care.config import Readout, TrialConfig
from care.config.loading import load_trial, parse_override, set_field, validate
from care.config.yaml_reader import parse_yaml, read_yaml
from care.errors import ConfigError, Problem
from care.registry import READOUTS
from care.trials.identity import trial_id

Refused = Callable[..., Problem]
WEIGHT = "objective.equivariance.weight"


# override, field, value as it is shown, part of what is allowed, nearest name
BAD_FIELDS = [
    # unknown key
    ("trainning.epochs=3", "trainning", {"epochs": 3}, "there are augmentation, data", "training"),
    ("training.epoch=3", "training.epoch", 3, "training has batch_norm_groups, batch_size, epochs", "epochs"),
    ("augmentation.crop.scal=1", "augmentation.crop.scal", 1, "crop has ratio, scale", "scale"),
    ("model.qqqqqq=1", "model.qqqqqq", 1, "model has encoder, head", None),
    # wrong type
    ("training.epochs=many", "training.epochs", "many", "allowed: a valid integer", None),
    ("training.epochs=2.5", "training.epochs", 2.5, "allowed: a valid integer", None),
    ("training.epochs=true", "training.epochs", True, "allowed: a valid integer", None),
    ("training.epochs='3'", "training.epochs", "3", "allowed: a valid integer", None),
    (f"{WEIGHT}=large", WEIGHT, "large", "allowed: a valid number", None),
    (f"{WEIGHT}=[0.1]", WEIGHT, [0.1], "allowed: a valid number", None),
    ("model.head=big", "model.head", "big", "hidden, output", None),
    ("training=", "training", None, "batch_size, epochs", None),
    ("data.name=3", "data.name", 3, "allowed: a valid string", None),
    # out of range
    (f"{WEIGHT}=-0.1", WEIGHT, -0.1, "allowed: greater than or equal to 0", None),
    (f"{WEIGHT}=-.inf", WEIGHT, -math.inf, "allowed: a finite number", None),
    ("objective.temperature=0", "objective.temperature", 0, "allowed: greater than 0", None),
    ("training.epochs=0", "training.epochs", 0, "allowed: greater than 0", None),
    ("seed=-1", "seed", -1, "allowed: greater than or equal to 0", None),
    ("augmentation.grayscale=1.5", "augmentation.grayscale", 1.5, "less than or equal to 1", None),
    ("augmentation.crop.scale=[0.9, 0.1]", "augmentation.crop.scale", [0.9, 0.1], "low <= high",
     None),
    ("augmentation.gaussian_blur.kernel_size=4", "augmentation.gaussian_blur.kernel_size", 4,
     "an odd number", None),
    # unknown name
    ("data.name=digit", "data.name", "digit", "allowed: 3diebench, 3diebench_ood, aircraft, caltech101, cars, cifar10, cifar100, digits", "digits"),
    ("model.encoder=resnet8", "model.encoder", "resnet8", "allowed: deep_sets, resnet18, resnet50, resnet50_imagenet, small",
     "resnet18"),
    ("model.encoder=vit", "model.encoder", "vit", "allowed: deep_sets, resnet18, resnet50, resnet50_imagenet, small", None),
    ("objective.name=simcrl", "objective.name", "simcrl", "allowed: alignment, augself, barlow_twins, byol, essl, moco_v2, none, sen, sie, simclr, stl, uniformity, vicreg", "simclr"),
    ("objective.name=3", "objective.name", 3, "allowed: alignment, augself, barlow_twins, byol, essl, moco_v2, none, sen, sie, simclr, stl, uniformity, vicreg", None),
    ("objective.queue=256", "objective.queue", 256, "no such field; objective has equimod", None),
    ("objective=none", "objective", "none", "allowed: a mapping whose name is one of alignment, augself, barlow_twins, byol, essl, moco_v2, none, sen, sie, simclr, stl, uniformity, vicreg", None),
    ("objective.views=3", "objective.views", 3, "allowed: 2 or 4", None),
    ("objective.equimod.wieght=1", "objective.equimod.wieght", 1,
     "no such field; objective.equimod has hidden, output, temperature, weight", "weight"),
    ("objective={name: none, equivariance: {weight: 0}}", "objective.equivariance.weight", 0,
     "allowed: greater than 0 with the base 'none', which has no other loss", None),
    ("objective={name: moco_v2, queue: 100}", "objective.queue", 100,
     "allowed: a multiple of the batch of 256", None),
    ("objective={name: moco_v2, shuffle_groups: 256}", "objective.shuffle_groups", 256,
     "allowed: a divisor of the batch of 256 that leaves groups of two or more images", None),
    ("objective={name: moco_v2, shuffle_groups: 7}", "objective.shuffle_groups", 7,
     "allowed: a divisor of the batch of 256 that leaves groups of two or more images", None),
    ("objective={views: 4, equivariance: {weight: 1, shared_views: true}}", "objective.views", 4,
     "allowed: 2 with shared_views, as chunks have two views", None),
    ("optimizer.name=adma", "optimizer.name", "adma", "allowed: adam, sgd", "adam"),
    ("objective.equivariance.augmentation=per_chank", "objective.equivariance.augmentation",
     "per_chank", "allowed: per_chunk, per_batch", "per_chunk"),
    # across fields
    ("objective.equivariance.splits=7", "objective.equivariance.splits", 7,
     "divides the batch of 256 into chunks of two or more images (1, 2, 4, 8, 16, 32, 64, 128)",
     None),
    ("objective.equivariance.splits=256", "objective.equivariance.splits", 256,
     "chunks of two or more", None),
    ("training.batch_size=1438", "training.batch_size", 1438,
     "at most 1437, the number of training samples", None),
    ("evaluation.knn_neighbors=1438", "evaluation.knn_neighbors", 1438,
     "at most 1437, the number of training samples", None),
    ("augmentation.gaussian_blur.kernel_size=33", "augmentation.gaussian_blur.kernel_size", 33,
     "at most 31 pixels for images of 16 × 16", None),
    ("optimizer.warmup_epochs=401", "optimizer.warmup_epochs", 401,
     "at most 400, the epochs of the training", None),
    ("optimizer.momentum=0.9", "optimizer.momentum", 0.9, "0 with adam", None),
]  # fmt: skip


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    path = tmp_path / "experiment.yaml"
    path.write_text("objective: {equivariance: {weight: 0.1, splits: 16}}\n")
    return path


@pytest.mark.parametrize(
    ("override", "field", "value", "allowed", "nearest"),
    BAD_FIELDS,
    ids=lambda case: str(case)[:40],
)
def test_a_bad_field_is_named(
    experiment: Path,
    refused: Refused,
    override: str,
    field: str,
    value: Any,
    allowed: str,
    nearest: str | None,
) -> None:
    problem = refused(load_trial, experiment, [override])
    assert (problem.field, problem.value) == (field, value)
    assert allowed in problem.allowed
    named = problem.nearest or (nearest if f"did you mean {nearest!r}?" in str(problem) else None)
    assert named == nearest
    assert "did you mean None" not in str(problem)
    assert str(problem).count("allowed") <= 1


def test_not_a_number_is_refused(experiment: Path, refused: Refused) -> None:
    problem = refused(load_trial, experiment, [f"{WEIGHT}=.nan"])
    assert problem.field == WEIGHT
    assert math.isnan(problem.value)  # type: ignore[arg-type]
    assert problem.allowed == "allowed: a finite number"


def test_all_problems_are_reported_at_once(experiment: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_trial(experiment, ["training.epochs=0", "model.encoder=vit", "sed=1"])
    assert {problem.field for problem in caught.value.problems} == {
        "training.epochs",
        "model.encoder",
        "sed",
    }
    assert str(experiment) in str(caught.value)


def test_a_batch_of_the_whole_data_set_is_allowed(experiment: Path) -> None:
    config = load_trial(experiment, ["training.batch_size=1437", "objective.equivariance.splits=3"])
    assert config.training.batch_size == 1437


def test_splits_do_not_matter_without_the_loss(experiment: Path) -> None:
    assert load_trial(experiment, [f"{WEIGHT}=0", "objective.equivariance.splits=7"])


BAD_FILES = [
    ("missing", None, "allowed: an existing file (experiment.yaml)"),
    ("empty", b"", "allowed: a mapping"),
    ("only a comment", b"# nothing\n", "allowed: a mapping"),
    ("a list", b"- seed\n", "allowed: a mapping"),
    ("a word", b"seed", "allowed: a mapping"),
    ("not YAML", b"seed: [1, 2\ntraining: {", "allowed: valid YAML"),
    ("tabs", b"training:\n\tepochs: 1\n", "allowed: valid YAML"),
    ("two documents", b"seed: 1\n---\nseed: 2\n", "allowed: valid YAML"),
    ("a program", b"seed: !!python/object/apply:os.getcwd []\n", "allowed: valid YAML"),
    ("bytes", b"\x00\x01\x02", "allowed: valid YAML"),
    ("not UTF-8", b"seed: \xff\xfe", "allowed: a readable YAML file"),
    ("no such day", b"seed: 2024-13-45\n", "allowed: valid YAML"),
    ("a list as a key", b"? [1, 2]\n: 3\n", "allowed: valid YAML"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "allowed"), BAD_FILES, ids=lambda case: str(case)[:16])
def test_a_bad_file_is_named(
    experiment: Path, refused: Refused, name: str, content: bytes | None, allowed: str
) -> None:
    path = experiment.with_name("bad.yaml")
    if content is not None:
        path.write_bytes(content)
    problem = refused(read_yaml, path)
    assert problem.allowed.startswith(allowed)
    with pytest.raises(ConfigError, match=r"bad\.yaml:\n"):
        load_trial(path)


def test_a_misspelt_file_gets_the_nearest(experiment: Path, refused: Refused) -> None:
    problem = refused(load_trial, experiment.with_name("experimant.yaml"))
    assert problem.nearest == "experiment.yaml"
    problem = refused(load_trial, experiment.parent / "no" / "folder.yaml")
    assert "none here" in problem.allowed


def test_a_folder_is_not_a_file(tmp_path: Path, refused: Refused) -> None:
    assert "Is a directory" in refused(load_trial, tmp_path).allowed


def test_a_line_is_named(experiment: Path, refused: Refused) -> None:
    experiment.write_text("seed: 1\ntraining: {epochs: 1]\n")
    assert refused(load_trial, experiment).field == "line 2"


@pytest.mark.parametrize(
    ("text", "line"), [("seed: 1\nseed: 2\n", 2), ("data:\n  name: digits\n  name: digits\n", 3)]
)
def test_a_key_given_twice_is_refused(
    experiment: Path, refused: Refused, text: str, line: int
) -> None:
    experiment.write_text(text)
    problem = refused(load_trial, experiment)
    assert problem.field in ("seed", "name")
    assert problem.value == f"twice (line {line})"


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 1e-3), ("1E5", 1e5), ("-2e+1", -20.0), (".5e1", 5.0), ("0.1", 0.1), ("1_0e1", 100.0)],
)
def test_scientific_notation_is_a_number(text: str, value: float) -> None:
    assert parse_yaml(text, "test") == value


@pytest.mark.parametrize("text", ["e3", "1e", "0x1e-3z", "-e1"])
def test_what_looks_like_it_is_a_word(text: str) -> None:
    assert parse_yaml(text, "test") == text


# value, part of what is allowed: values that YAML 1.1 reads as something else, or that are of no use
TRAPS = [
    ("010", "10 without leading zeros"), ("-0_7", "7 without leading zeros"), ("00", "0 without"),
    ("yes", "true, or 'yes' in quotes"), ("Off", "false, or 'Off' in quotes"),
    ("2024-01-31", "a date in quotes"), ("9" * 25, "up to 9223372036854775807"),
    ("-" + "9" * 19, "up to 9223372036854775807"), ("9" * 5000, "at most 40 characters"),
    ("0x" + "f" * 5000, "at most 40 characters"), ("0x_", "a number"), ("1e999", "1.7e308"),
    ("-1e999", "1.7e308"), ("1e-400", "1e-323"), (r'"\e[2J"', "character U+001B"),
    (r'"\0"', "character U+0000"), (r'"\ud800"', "character U+D800"), ("{<<: 3}", "takes mappings"),
    ("{1: 2}", "words as keys"), ("{~: 2}", "words as keys"), ("!!int 3", "without tags"),
    ("&a [*a]", "no alias inside of itself"), ("&a {b: *a}", "no alias inside of itself"),
    ("[" * 5000, "at most 32 levels"), ("{a: " * 5000, "at most 32 levels"),
    ("[" + "1, " * 30_000 + "]", "at most 20000"), ("x" * 300_000, "at most 262144 characters"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "allowed"), TRAPS, ids=lambda text: text[:20])
def test_a_trap_of_yaml_is_refused(refused: Refused, text: str, allowed: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_yaml(f"seed: 1\nfield: {text}", "test")
    (problem,) = caught.value.problems
    assert allowed in problem.allowed
    assert "field" in problem.field or problem.field == "line 2" or problem.field == "text"
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1:30", "1:30"), ("-1:30.5", "-1:30.5"), ("0o10", "0o10"), ("0", 0), ("-0", 0), ("0.10", 0.1),
        ("0x1F", 31), ("0b11", 3), ("1_000", 1000), ("true", True), ("FALSE", False), ("~", None),
        ("", None), ("'yes'", "yes"), ("'010'", "010"), ("9223372036854775807", 2**63 - 1),
        ("0e0", 0.0), ("-.INF", -math.inf), ("<<", "<<"), ("=", "="), ("5e-324", 5e-324),
    ],
)  # fmt: skip
def test_what_a_value_is(text: str, value: Any) -> None:
    read = parse_yaml(f"a: {text}", "test")["a"]
    assert (read, type(read)) == (value, type(value))


def test_aliases_multiply_up_to_a_limit(refused: Refused) -> None:
    lines = ["a0: &a0 [x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    assert "alias's counted each time" in refused(parse_yaml, "\n".join(lines), "test").allowed
    merges = ["a0: &a0 {x: 1}"]
    merges += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 9)]
    assert "alias's counted each time" in refused(parse_yaml, "\n".join(merges), "test").allowed


def test_merges_nest_and_what_is_own_wins() -> None:
    text = """
        a: &a {p: 1, q: 2}
        b: &b {<<: *a, q: 3, r: 4}
        c: {<<: *b, p: 9}
        d: {<<: [{s: 1}, {s: 2, t: 3}], u: 4}
    """
    tree = parse_yaml(text, "test")
    assert tree["c"] == {"p": 9, "q": 3, "r": 4}
    assert tree["d"] == {"s": 1, "t": 3, "u": 4}


def test_an_alias_is_a_copy(experiment: Path) -> None:
    """An override of one field must not change the other place."""
    tree = parse_yaml("data: &d {name: cifar10}\nother: [*d]", "test")
    set_field(tree, "data.side", 64)
    assert tree["other"] == [{"name": "cifar10"}]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_marks_of_byte_order_are_read(experiment: Path, encoding: str) -> None:
    mark = "\ufeff" if encoding.endswith("-le") else ""
    experiment.write_bytes(f"{mark}seed: 3".encode(encoding))
    assert read_yaml(experiment) == {"seed": 3}


def test_files_that_are_none_are_refused_at_once(tmp_path: Path, refused: Refused) -> None:
    pipe, large, loop = tmp_path / "pipe", tmp_path / "large", tmp_path / "loop"
    os.mkfifo(pipe)
    with large.open("wb") as file:
        file.truncate(100 * 1024**2)
    loop.symlink_to(loop)
    assert "a regular file" in refused(read_yaml, pipe).allowed
    assert "a regular file" in refused(read_yaml, Path("/dev/zero")).allowed
    assert "at most 256 KiB" in refused(read_yaml, large).allowed
    assert "symbolic links" in refused(read_yaml, loop).allowed
    assert "too long" in refused(read_yaml, tmp_path / ("x" * 300)).allowed


def test_a_field_of_many_parts_is_refused(experiment: Path, refused: Refused) -> None:
    assert (
        "at most 32 parts" in refused(load_trial, experiment, [".".join("a" * 9999) + "=1"]).allowed
    )


def test_a_long_message_is_cut(experiment: Path) -> None:
    experiment.write_text("".join(f"{'k' * 90}{n}: {'v' * 900}\n" for n in range(200)))
    with pytest.raises(ConfigError) as caught:
        load_trial(experiment)
    assert "… and more" in str(caught.value)
    assert len(str(caught.value)) < 20_000


def test_an_argument_is_utf8_whatever_the_locale_says() -> None:
    """With LC_ALL=C Python gives bytes beyond ASCII as surrogates."""
    given = "name=λ".encode().decode("ascii", "surrogateescape")
    assert parse_override(given) == ("name", "λ")


@pytest.mark.parametrize("text", ["training.epochs", "=3", " = 3", ""])
def test_an_override_without_field_or_value_is_refused(refused: Refused, text: str) -> None:
    problem = refused(parse_override, text)
    assert (problem.field, problem.value) == ("override", text)
    assert problem.allowed == "allowed: field.path=value"


def test_an_override_that_is_not_yaml_is_refused(refused: Refused) -> None:
    assert refused(parse_override, "training.epochs=[1").allowed == "allowed: valid YAML"


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        (f"{WEIGHT}=1e-2", WEIGHT, 0.01),
        ("data.name=digits", "data.name", "digits"),
        ("augmentation.crop.scale=[0.5, 1]", "augmentation.crop.scale", [0.5, 1]),
        ("data.name=a=b", "data.name", "a=b"),
    ],
)
def test_overrides_are_read_as_yaml(text: str, field: str, value: Any) -> None:
    assert parse_override(text) == (field, value)


def test_an_override_reaches_its_field(experiment: Path) -> None:
    config = load_trial(experiment, [f"{WEIGHT}=0.5", "augmentation.crop.scale=[0.5, 1]", "seed=4"])
    assert config.objective.equivariance.weight == 0.5
    assert config.objective.equivariance.splits == 16, "its neighbours stay"
    assert config.augmentation.crop.scale == (0.5, 1.0)
    assert config.seed == 4


def test_a_field_below_a_value_is_refused(refused: Refused) -> None:
    problem = refused(set_field, {"seed": 3}, "seed.more", 1)
    assert problem.field == "seed.more"
    assert "'seed' is a value" in problem.allowed


def test_a_key_that_is_not_a_word_is_named(refused: Refused) -> None:
    problem = refused(validate, TrialConfig, {7: 1}, "test")
    assert (problem.field, problem.value) == ("7", 7)
    assert "strings" in problem.allowed


def test_files_are_utf8_whatever_the_locale_says(experiment: Path) -> None:
    experiment.write_text("# λ\nseed: 3\n", encoding="utf-8")
    code = (
        "import sys; from pathlib import Path; from care.config.loading import read_yaml;"
        "print(read_yaml(Path(sys.argv[1])))"
    )
    environment = {
        **os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code, experiment],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.strip() == "{'seed': 3}", done.stderr


def test_equimod_is_for_images(refused: Refused) -> None:
    tree = {
        "data": {"name": "proteins"},
        "model": {"encoder": "deep_sets"},
        "objective": {"equimod": {"weight": 1.0}},
    }
    problem = refused(validate, TrialConfig, tree, "test")
    assert (problem.field, problem.value) == ("objective.equimod.weight", 1.0)
    assert "0, as 'proteins' are point clouds" in problem.allowed


def test_what_has_no_classes_has_no_probe(refused: Refused) -> None:
    tree = {
        "data": {"name": "proteins"},
        "model": {"encoder": "deep_sets"},
        "evaluation": {"trained_probe": {"protocols": ["paper"]}},
    }
    problem = refused(validate, TrialConfig, tree, "test")
    assert problem.field == "evaluation.trained_probe.protocols"
    assert "no classes" in problem.allowed


def test_transfer_to_several_trees_of_images_and_from_one_to_another(refused: Refused) -> None:
    def tree(*transfer: dict[str, Any]) -> dict[str, Any]:
        return {
            "data": {"name": "images", "path": "photos", "side": 16},
            "evaluation": {"transfer": list(transfer)},
        }

    trees = [{"name": "images", "path": path, "side": 16} for path in ("more/photos", "x-rays")]
    part = {"name": "images", "path": "photos", "side": 16, "class_list": "few.txt"}
    config = validate(TrialConfig, tree(*trees, part, {"name": "cifar10", "side": 16}), "test")
    assert [data.transfer_name for data in config.transfer_data] == [
        "images_more_photos",
        "images_x_rays",
        "images_photos_few_txt",
        "cifar10",
    ]
    for twice in ([trees[0], trees[0]], [{**trees[0], "path": "photos"}]):
        problem = refused(validate, TrialConfig, tree(*twice), "test")
        assert "each data set once" in problem.allowed


def test_a_suite_stands_for_its_data_sets(refused: Refused) -> None:
    def transfer(*items: Any) -> TrialConfig:
        return validate(TrialConfig, {"evaluation": {"transfer": list(items)}}, "test")

    suite = transfer("suite11")
    names = [data.name for data in suite.transfer_data]
    assert len(names) == 11
    assert {data.pixels for data in suite.transfer_data} == {16}
    assert trial_id(suite) == trial_id(transfer(*({"name": name} for name in names)))
    few = transfer({"name": "suite11", "train_images": 100}, "stl10")
    assert [data.train_images for data in few.transfer_data] == [*[100] * 11, None]
    problem = refused(transfer, "siute11")
    assert problem.field == "evaluation.transfer"
    assert "did you mean 'suite11'?" in problem.allowed
    assert "did you mean 'cifar10'?" in refused(transfer, "cifar11").allowed
    assert refused(transfer, "suite11", "dtd").allowed.startswith("allowed: each data set once")


def test_a_suite_contains_the_own_data_set_too(refused: Refused) -> None:
    def transfer(*items: Any) -> TrialConfig:
        tree = {"data": {"name": "cifar10"}, "evaluation": {"transfer": list(items)}}
        return validate(TrialConfig, tree, "test")

    assert "cifar10" in [data.name for data in transfer("suite11").transfer_data]
    assert "not the trial's own" in refused(transfer, "dtd", "cifar10").allowed


def test_transfer_is_for_images(refused: Refused) -> None:
    tree = {
        "data": {"name": "proteins"},
        "model": {"encoder": "deep_sets"},
        "evaluation": {"transfer": [{"name": "cifar10"}]},
    }
    problem = refused(validate, TrialConfig, tree, "test")
    assert (problem.field, problem.value) == ("evaluation.transfer", ["cifar10"])


def test_readouts_of_images_are_refused_for_points(refused: Refused) -> None:
    tree = {
        "data": {"name": "proteins"},
        "model": {"encoder": "deep_sets"},
        "evaluation": {"readouts": ["wahba", "kinds"]},
    }
    problem = refused(validate, TrialConfig, tree, "test")
    assert (problem.field, problem.value) == ("evaluation.readouts", "kinds")
    assert problem.allowed == "allowed: wahba, ranking, as 'proteins' are point clouds"


def test_every_readout_has_measures() -> None:
    assert set(get_args(Readout)) == set(READOUTS)


def test_a_misspelt_readout_has_the_nearest_name(refused: Refused) -> None:
    tree = {"evaluation": {"readouts": ["wahbba"]}}
    problem = refused(validate, TrialConfig, tree, "test")
    assert (problem.field, problem.value) == ("evaluation.readouts.0", "wahbba")
    assert problem.nearest == "wahba"
