"""Snapshots of revisions: which files of git they have, and what survives accidents around them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from care.config import TrialConfig
from care.system.git import SNAPSHOT
from care.system.permissions import is_shared
from sweeps.revisions.process import SnapshotProcess, describe_config
from sweeps.revisions.revision import Revision
from sweeps.revisions.snapshot import (
    SnapshotError,
    ask,
    copy_code,
    is_unchanged,
    make_snapshot,
    read_version,
    snapshot_folder,
)
from tests.helpers.declaring import declare
from tests.helpers.paths import ROOT
from tests.helpers.processes import wait_for
from tests.helpers.revisions import LOSS, commit, copy_repository, edit, git, run

PLUGINS = ROOT / "tests" / "helpers" / "plugins"
MAKE = """
import sys
from pathlib import Path
from sweeps.revisions.resolve import resolve_revisions
from sweeps.revisions.snapshot import make_snapshot
(revision,) = resolve_revisions([sys.argv[1]], "sweep.yaml").values()
make_snapshot(revision, Path(sys.argv[2]))
print(revision.code_version)
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_repository(tmp_path_factory.mktemp("repository"))


@contextmanager
def branch(repository: Path) -> Iterator[None]:
    """Commit to a branch that is not checked out afterwards."""
    git(repository, "checkout", "--quiet", "--detach", "main")
    try:
        yield
    finally:
        git(repository, "checkout", "--quiet", "--force", "main")
        git(repository, "clean", "--quiet", "-dfx")


def start(
    code: Path, name: str, sweep: Path, environment: dict[str, str] | None = None
) -> subprocess.Popen[str]:
    """Make the snapshot of a revision by the code in a checkout."""
    return subprocess.Popen(
        # A store may be given by a relative path.
        [sys.executable, "-P", "-c", MAKE, name, sweep.name],
        cwd=sweep.parent,
        env={**os.environ, "PYTHONPATH": str(code), **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def make(
    code: Path, name: str, sweep: Path, environment: dict[str, str] | None = None
) -> tuple[Path | None, str]:
    """Make a snapshot; return its folder, or None, and the last line of the error."""
    process = start(code, name, sweep, environment)
    output, errors = process.communicate(timeout=120)
    folder = snapshot_folder(sweep, output.strip()) if process.returncode == 0 else None
    return folder, errors.strip()


def files(folder: Path) -> dict[str, bytes]:
    paths = (path for path in (folder / "care").rglob("*.py") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_a_snapshot_has_the_files_that_a_checkout_has(repository: Path, tmp_path: Path) -> None:
    """Also those that an archive leaves out, whatever repository a hook of git is about."""
    with branch(repository):
        attributes = "care/objectives export-ignore\n*.py text eol=crlf\n"
        (repository / ".gitattributes").write_text(attributes)
        (repository / "care" / "linked.py").symlink_to("optimizer.py")
        revision = commit(repository, "attributes")
    git(repository, "worktree", "add", "--quiet", "--detach", str(tmp_path / "tree"), revision)
    expected = files(tmp_path / "tree")
    assert b"\r\n" in expected[LOSS]
    assert "care/linked.py" in expected
    index = (repository / ".git" / "index").read_bytes()
    other = tmp_path / "other"
    git(tmp_path, "init", "--quiet", str(other))
    hook = {"GIT_DIR": f"{other}/.git", "GIT_INDEX_FILE": f"{other}/.git/index"}
    (repository / ".git" / "info" / "sparse-checkout").write_text("/docs/\n")
    git(repository, "config", "core.sparseCheckout", "true")
    folder, errors = make(repository, revision, tmp_path / "sweep", hook)
    git(repository, "config", "core.sparseCheckout", "false")
    assert folder, errors
    assert files(folder) == expected
    assert (repository / ".git" / "index").read_bytes() == index
    recorded = json.loads((folder / SNAPSHOT).read_text())
    assert (recorded["git_commit"], recorded["git_dirty"]) == (revision, False)
    git(repository, "worktree", "remove", "--force", str(tmp_path / "tree"))


def test_the_checkout_may_lie_below_the_repository(repository: Path, tmp_path: Path) -> None:
    below = tmp_path / "all" / "projects" / "ours"
    shutil.copytree(repository, below, ignore=shutil.ignore_patterns(".git"))
    git(tmp_path / "all", "init", "--quiet", "--initial-branch=main")
    commit(tmp_path / "all", "everything")
    folder, errors = make(below, "main", tmp_path / "sweep")
    assert folder, errors
    assert files(folder) == files(below)


def test_a_revision_that_is_not_whole_by_itself_is_refused(
    repository: Path, tmp_path: Path
) -> None:
    with branch(repository):
        other = ("160000", git(repository, "rev-parse", "main"), "care/other")
        git(repository, "update-index", "--add", "--cacheinfo", ",".join(other))
        git(repository, "commit", "--quiet", "--message", "submodule")
        submodule = git(repository, "rev-parse", "HEAD")
    with branch(repository):
        (repository / "care" / "outside.py").symlink_to("../setup.py")
        link = commit(repository, "link")
    with branch(repository):
        (repository / ".gitattributes").write_text("care/optimizer.py filter=large\n")
        filtered = commit(repository, "filter")
    for revision, reason in (
        (submodule, "has the submodule care/other, which git cannot copy"),
        (link, "has the link care/outside.py to files outside of it"),
    ):
        folder, errors = make(repository, revision, tmp_path)
        assert not folder
        assert reason in errors
    broken = {"GIT_CONFIG_COUNT": "2"}
    for index, (key, value) in enumerate((("smudge", "false"), ("required", "true"))):
        broken |= {f"GIT_CONFIG_KEY_{index}": f"filter.large.{key}"}
        broken |= {f"GIT_CONFIG_VALUE_{index}": value}
    folder, errors = make(repository, filtered, tmp_path, broken)
    assert not folder, "the program that has the file's content has failed"
    assert "care/optimizer.py" in errors
    assert not list(tmp_path.rglob("ast1-*"))


def test_the_working_tree_is_copied_as_it_is(repository: Path, tmp_path: Path) -> None:
    """With its uncommitted changes and new files; an editor's link to nothing is left out."""
    with branch(repository):
        (repository / "care" / "new.py").write_text("NEW = 1\n")
        (repository / "care" / ".#optimizer.py").symlink_to("ada@host.1234")
        edited = f"{(repository / LOSS).read_text()}\nEDITED = 1\n"
        (repository / LOSS).write_text(edited)
        folder, errors = make(repository, "working", tmp_path)
        assert folder, errors
        assert (folder / LOSS).read_text() == edited
        assert (folder / "care" / "new.py").exists()
    recorded = json.loads((folder / SNAPSHOT).read_text())
    head = git(repository, "rev-parse", "HEAD")
    assert (recorded["git_commit"], recorded["git_dirty"]) == (head, True)


def test_processes_that_make_one_snapshot_together_leave_one(
    repository: Path, tmp_path: Path
) -> None:
    """Also beside what a killed one has left."""
    killed = start(repository, "main", tmp_path)
    code = tmp_path / "code"
    wait_for(lambda: bool(list(code.glob(".part-*"))) or killed.poll() is not None)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    together = [start(repository, "main", tmp_path) for _ in range(2)]
    versions = set()
    for process in together:
        output, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        versions.add(output.strip())
    (version,) = versions
    folder = snapshot_folder(tmp_path, version)
    assert is_unchanged(folder)
    assert files(folder) == files(repository)
    parts = [path for path in code.iterdir() if path != folder]
    assert len(parts) <= 1, "at most that of the killed one, which a collection removes"


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A snapshot of this code."""
    folder = tmp_path_factory.mktemp("snapshot")
    copy_code("", folder)
    return folder


def test_a_damaged_snapshot_is_made_again(snapshot: Path, tmp_path: Path) -> None:
    """A file that a full disk or a user changed would refuse or change every trial."""
    revision = Revision(code_version=read_version(snapshot))
    make_snapshot(revision, tmp_path)
    folder = snapshot_folder(tmp_path, revision.code_version)
    whole = files(folder)
    (folder / LOSS).write_bytes(b"")
    (folder / "care" / "optimizer.py").unlink()
    assert not is_unchanged(folder)
    make_snapshot(revision, tmp_path)
    assert files(folder) == whole
    assert [path.name for path in (tmp_path / "code").iterdir()] == [folder.name]


def test_a_group_can_remove_what_one_of_it_has_made_and_used(tmp_path: Path) -> None:
    """Whatever the umask: a process that imports a snapshot leaves no file in it."""
    tmp_path.chmod(0o2770)
    folder, errors = make(ROOT, "working", tmp_path)
    assert folder, errors
    before = {folder, *folder.rglob("*")}
    ask(folder, [])
    assert {folder, *folder.rglob("*")} == before
    assert all(is_shared(path) for path in before if path.is_dir())
    compiled = [path for path in before if path.suffix == ".pyc"]
    assert len(compiled) == len(files(folder)), "no process compiles again"


def test_a_closed_folder_for_temporary_files_is_named(repository: Path, tmp_path: Path) -> None:
    with branch(repository):
        edit(repository, LOSS, "return fn.cross_entropy", "return 1 * fn.cross_entropy")
        revision = commit(repository, "never read before")
    closed = tmp_path / "closed"
    closed.mkdir()
    names = {"TMPDIR": str(closed), "PYTHONPATH": f"{tmp_path}:{repository}"}
    # Root may write everywhere, so the folder goes as soon as it is chosen.
    (tmp_path / "sitecustomize.py").write_text(
        "import os, tempfile\ntempfile.gettempdir()\nos.rmdir(os.environ['TMPDIR'])\n"
    )
    folder, errors = make(repository, revision, tmp_path / "sweep", names)
    assert not folder
    assert f"CareError: {revision[:12]} cannot be copied to {closed}: " in errors


def test_a_tree_that_changed_since_the_sweep_was_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match=r"has changed to ast1-.* since .* ast1-before; repeat"):
        make_snapshot(Revision(code_version="ast1-before"), tmp_path)
    assert not list((tmp_path / "code").iterdir())


def test_code_of_another_version_than_its_trial_is_refused(
    snapshot: Path, tiny_config: TrialConfig, tmp_path: Path
) -> None:
    identity = {"version": "ast1-other", "trial_id": "a", "group_id": "b"}
    task = {"kind": "train", "folder": str(tmp_path / "trial"), **identity}
    with SnapshotProcess(snapshot, {**task, **describe_config(tiny_config)}) as process:
        answer = process.answer()
    assert answer.outcome == "refused"
    assert "the snapshot's code version is ast1-" in answer.error
    assert not (tmp_path / "trial").exists()


def test_a_check_across_fields_names_the_field(snapshot: Path, tiny_config: TrialConfig) -> None:
    described = describe_config(tiny_config)
    described["config"]["training"]["batch_norm_groups"] = 7
    (problem,) = ask(snapshot, [described]).problems
    assert problem
    assert (problem["field"], problem["value"]) == ("training.batch_norm_groups", "7")
    assert "allowed: a divisor of the batch" in problem["why"]


def test_many_configurations_are_checked(snapshot: Path, tiny_config: TrialConfig) -> None:
    """The request is larger than a pipe, and so is the answer."""
    described = [
        describe_config(tiny_config.model_copy(update={"seed": seed})) for seed in range(3_000)
    ]
    described[-1]["config"]["model"]["encoder"] = "resnet51"
    problems = ask(snapshot, described).problems
    assert problems[:-1] == (None,) * 2_999
    assert problems[-1]
    assert problems[-1]["field"] == "model.encoder"


def test_a_process_has_the_libraries_of_pythonpath_and_not_the_drivers_code(
    repository: Path, tmp_path: Path
) -> None:
    """A cluster's modules may have their libraries there."""
    library = tmp_path / "library"
    with branch(repository):
        shows = "import copy\nimport sys\n\nraise ImportError(sys.path)\n"
        edit(repository, "care/trials/code_version.py", "import copy\n", shows)
        revision = commit(repository, "shows where it imports from")
    folders = {"PYTHONPATH": os.pathsep.join([str(repository), str(library)])}
    folder, errors = make(repository, revision, tmp_path, folders)
    assert not folder
    assert f"{library}'" in errors
    assert f"{repository}'" not in errors


def test_plugins_are_refused(repository: Path, tmp_path: Path) -> None:
    """No revision has them: in a plan and a run, before anything is made."""
    model = {"model.encoder": "slow-small"}
    declare(tmp_path, axes=None, code=["HEAD", "working"], overrides=model)
    lost = run(repository, tmp_path, "sweep", "plan", "sweep.yaml", status=2)
    assert "model.encoder: got 'slow-small'; allowed:" in lost
    (tmp_path / "extra").mkdir()
    shutil.copy(PLUGINS / "slow_encoder.py", tmp_path / "extra")
    there = {"PYTHONPATH": f"{repository}:{tmp_path / 'extra'}", "CARE_PLUGINS": "slow_encoder"}
    for command in ("plan", "run"):
        refused = run(repository, tmp_path, "sweep", command, "sweep.yaml", status=2, more=there)
        for index, name in enumerate(("HEAD", "working")):
            assert f"code.{index}: got '{name}'; allowed: a revision that can train this" in refused
        assert "plugins: encoder slow-small comes from outside of care" in refused
    assert not (tmp_path / "runs").exists()
    declare(tmp_path, axes=None, code=["HEAD"], seeds=1)
    unused = run(repository, tmp_path, "sweep", "plan", "sweep.yaml", more=there)
    assert "1 new" in unused, "a plugin that no trial uses changes nothing"
    there["CARE_PLUGINS"] = "another_plugin"
    missing = run(repository, tmp_path, "sweep", "plan", "sweep.yaml", status=2, more=there)
    assert "CARE_PLUGINS: module: got 'another_plugin'; allowed: modules that can be" in missing
