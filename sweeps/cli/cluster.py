"""``care sweep submit`` and ``care sweep cancel``."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Literal

from rich.console import Console

from care.errors import CareError, ConfigError, Problem, nearest
from care.plugins import plugin_modules
from care.system.claim import Claim, holder
from care.system.permissions import user_of
from care.system.redaction import redact
from care.trials.state import State
from sweeps.account import read_account, with_more_budget
from sweeps.backends.slurm import commands
from sweeps.backends.slurm.autoscaling import Volunteers
from sweeps.backends.slurm.code_snapshot import take_snapshot
from sweeps.backends.slurm.config import ClusterConfig, load_cluster
from sweeps.backends.slurm.state_files import HeadState, PoolFolder, Request, Workers
from sweeps.backends.slurm.status import StatusReader
from sweeps.backends.slurm.validate import check_cluster
from sweeps.cli.price import check_limits, describe_used_up
from sweeps.cli.status_view import submitted_view
from sweeps.cli.sweep import check_question, check_revisions_of, conclude, prepare, print_untrained
from sweeps.cli.sweep_arguments import SweepArguments
from sweeps.notify.target import find_target
from sweeps.plan import Plan, make_plan
from sweeps.price import PastTrials, longest_epoch
from sweeps.process.logging import show_log
from sweeps.process.signals import Interrupt
from sweeps.process.terminal import make_console
from sweeps.resources import split_machine
from sweeps.run import RunOptions
from sweeps.spec.sweep import load_sweep, restore_sweep
from sweeps.states import in_words
from sweeps.store import Store

HeadPlace = Literal["job", "here"]
_OWN_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm", "/run")
_CANCEL_SECONDS = 120.0
_RANGE = re.compile(r"(\d+)(?::(\d+))?")


def parse_workers(text: str) -> Workers:
    """Parse a range of workers: ``4`` or ``1:16``.

    Raises:
        ConfigError: No such range, an empty one, or one that allows no worker.
    """
    match = _RANGE.fullmatch(text)
    least, most = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not match or most < max(1, least):
        allowed = "allowed: a number, or MIN:MAX with MIN <= MAX, e.g. 1:16"
        raise ConfigError("care sweep submit", [Problem("--workers", text, allowed)])
    return Workers(least=least, most=most)


def submit_command(
    arguments: SweepArguments,
    root: Path,
    cluster_file: Path,
    workers: Workers,
    head: HeadPlace,
    options: RunOptions,
) -> int:
    """Submit a sweep to a cluster, or attach to it if it is running.

    Returns:
        0 if it is submitted or running; with the head here, the status of ``care sweep run``.

    Raises:
        CareError: The cluster, the store or the sweep does not allow it; nothing was submitted.
    """
    console, store = make_console(), Store(root)
    cluster = _load_and_check(arguments, root, cluster_file, options)
    plan = make_plan(arguments.load(), store)
    name = plan.sweep.spec.name
    folder = PoolFolder(store, name)
    check_revisions_of(plan, store, console)
    check_question(plan, arguments.command("submit"), options)
    find_target(plan.sweep.spec.notify)
    if _is_running(folder):
        _attach(folder, workers, plan, options, console)
        return 0
    typed = ["--cluster", str(cluster_file), "--workers", str(workers)]
    if not options.report:
        typed.append("--no-report")
    command = arguments.command("submit", *typed)
    if _has_no_budget(plan, store, cluster, command, console):
        return 1
    plan = prepare(arguments, plan, store, options, console)
    counts = plan.counts()
    if not plan.missing() and not plan.unsuggested and not counts[State.RUNNING]:
        console.print(f"{name}: no trial to run, so nothing was submitted ({in_words(counts)})")
        print_untrained(counts, command, console)
        return 0 if plan.complete else 1
    request = Request(
        cluster=cluster,
        workers=workers,
        tracking_uri=options.tracking_uri,
        report=options.report,
        folder=str(Path.cwd()),
        code=str(take_snapshot(folder.path / "code")),
        command=command,
        only=arguments.only,
        seeds=arguments.chosen_seeds,
        plugins=plugin_modules(),
        store=str(folder.store.root),
    )
    folder.prepare(request)
    return (
        _run_driver_here(folder, request, console) if head == "here" else _submit(folder, console)
    )


def _has_no_budget(
    plan: Plan, store: Store, cluster: ClusterConfig, command: str, console: Console
) -> bool:
    """Check for a budget that is used up; print it and how to continue.

    Raises:
        ConfigError: The budget is smaller than the cheapest trial that is left.
    """
    spec = plan.sweep.spec
    if spec.budget is None:
        return False
    split = split_machine(spec.resources, cluster.cpus, cluster.gpus, "a worker")
    warning = check_limits(plan, store, PastTrials(store, spec.resources.gpus, split.threads))
    if warning:
        console.print(warning, soft_wrap=True)
    reason = describe_used_up(plan, store)
    if reason:
        spent = read_account(store.sweep(spec.name)).spent
        command = with_more_budget(command, spec, spent)
        console.print(f"{reason}, so nothing was submitted; to continue: {command}", soft_wrap=True)
    return bool(reason)


def _load_and_check(
    arguments: SweepArguments, root: Path, cluster_file: Path, options: RunOptions
) -> ClusterConfig:
    """Load the cluster file; check that cluster, store and trials fit each other."""
    cluster = load_cluster(cluster_file)
    _check_names(root, options.tracking_uri)
    _check_slurm(arguments)
    check_cluster(cluster, commands.partitions(), str(cluster_file))
    _check_shared(root, cluster)
    _check_trials(arguments, root, cluster, cluster_file)
    return cluster


def _check_names(root: Path, tracking_uri: str | None) -> None:
    """Refuse a path that SLURM would misread, and a password that the store's files would hold.

    Raises:
        ConfigError: Names the option and an allowed value.
    """
    problems = []
    if "%" in str(root.resolve()):
        allowed = "allowed: a path without '%', which SLURM replaces in the names of its logs"
        problems.append(Problem("--store", str(root.resolve()), allowed))
    if tracking_uri and redact(tracking_uri) != tracking_uri:
        allowed = (
            "allowed: one without a password, which others could read in the store; set "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, which jobs inherit"
        )
        problems.append(Problem("--tracking-uri", redact(tracking_uri), allowed))
    if problems:
        raise ConfigError("care sweep submit", problems)


def _submit(folder: PoolFolder, console: Console) -> int:
    """Submit the head's job, which submits the workers."""
    from sweeps.backends.slurm.driver_job import run_driver
    from sweeps.backends.slurm.submission import submit_driver

    name, request = folder.name, folder.request()
    job_id = submit_driver(folder, request, run_driver)
    console.print(f"submitted {name}: head job {job_id}, {request.workers} workers")
    console.print(f"care sweep status {name}    its status, from any node (--watch: live)")
    console.print(f"care sweep cancel {name}    end it; the trials are kept")
    console.print("You may log out.")
    return 0


def _check_slurm(arguments: SweepArguments) -> None:
    if not commands.available():
        raise CareError(
            "No SLURM: there is no sbatch on this machine. Submit from a login node of "
            f"the cluster, or run the sweep on this machine: {arguments.command('run')}"
        )


def _check_shared(root: Path, cluster: ClusterConfig) -> None:
    """Refuse a store that only this machine can see."""
    folder = root.resolve()
    for own in (*_OWN_FOLDERS, cluster.scratch):
        if folder.is_relative_to(own):
            allowed = f"allowed: a folder on a disk that all nodes share; {own} is each node's own"
            raise ConfigError("care sweep submit", [Problem("--store", str(root), allowed)])


def _check_trials(
    arguments: SweepArguments, root: Path, cluster: ClusterConfig, file: Path
) -> None:
    """Refuse trials that no worker can hold, or whose epoch exceeds a worker's time."""
    sweep = arguments.load()
    resources = sweep.spec.resources
    split = split_machine(resources, cluster.cpus, cluster.gpus, f"a worker ({file})")
    seconds = longest_epoch(sweep, Store(root), split.threads)
    usable = cluster.time * 60 - cluster.grace_seconds
    if usable <= 0:
        allowed = f"allowed: less than the time, {cluster.time} minutes"
        problem = Problem("grace_seconds", cluster.grace_seconds, allowed)
        raise ConfigError(str(file), [problem])
    if seconds is not None and seconds > usable:
        allowed = (
            f"allowed: more than an epoch, which took {seconds / 60:.0f} minutes here, and "
            f"grace_seconds ({cluster.grace_seconds})"
        )
        raise ConfigError(str(file), [Problem("time", cluster.time, allowed)])


def _is_running(folder: PoolFolder) -> bool:
    """Check for a head in the queue, or in a terminal of some machine."""
    heads = commands.jobs_named(folder.job_name("head"))
    if any(job.present for job in heads):
        return True
    if folder.head().job_id or not folder.submitted:
        return False
    # A head in a terminal: its claim shows whether it runs. Each attempt to take the claim also
    # records its heartbeat, so that a later submission detects the head of a lost machine.
    claim = Claim.take(folder.path.parent)
    if claim is None:
        return True
    claim.release()
    return False


def _attach(
    folder: PoolFolder, workers: Workers, plan: Plan, options: RunOptions, console: Console
) -> None:
    """Show the status of the running sweep, and change its range of workers if it differs.

    Raises:
        CareError: The search of a running sweep is to be restarted.
    """
    if options.restart_search:
        raise CareError(
            f"{folder.name} is submitted already; its search cannot be restarted meanwhile. "
            f"End it with: care sweep cancel {folder.name}"
        )
    request = folder.request()
    console.print(f"{folder.name} is submitted already; nothing was submitted twice.")
    if request.cancel:
        console.print("It is being cancelled; submit it again once it has ended.")
    elif request.slurm and request.workers != workers:
        folder.write_request(request.model_copy(update={"workers": workers}))
        console.print(f"workers: {workers} from now on (were {request.workers})")
    console.print(submitted_view(StatusReader(folder).read()))
    if plan.unique().keys() != _submitted_trials(folder):
        console.print("It runs other trials than these; submit again once it has ended.")


def _submitted_trials(folder: PoolFolder) -> set[str]:
    """Return the identities of the trials that the running head was submitted for."""
    request, declaration = folder.request(), folder.store.sweep(folder.name).declaration()
    running = restore_sweep(declaration).select(request.only, request.seeds)
    return set(make_plan(running, folder.store).unique())


def _run_driver_here(folder: PoolFolder, request: Request, console: Console) -> int:
    from sweeps.backends.slurm.driver_job import DriverRun
    from sweeps.cli.open_run import pool_view

    show_log(console)
    run = DriverRun(folder, request, "")
    with Interrupt() as interrupt:
        outcome = run(interrupt, lambda board: pool_view(board, run.backend, console))
    cancelled = folder.request().cancel
    return conclude(console, request.command, outcome, None if cancelled else interrupt.status)


def find_pool(name: str, root: Path) -> PoolFolder:
    """Find a submitted sweep by its name or its YAML file.

    Raises:
        ConfigError: No sweep of that name was submitted from this store.
    """
    store = Store(root)
    if name.endswith((".yaml", ".yml")):
        name = load_sweep(Path(name)).spec.name
    folder = PoolFolder(store, name)
    if not folder.submitted:
        known = [sweep.name for sweep in store.all_sweeps()]
        known = [other for other in known if PoolFolder(store, other).submitted]
        allowed = f"allowed: a sweep that was submitted ({', '.join(known) or 'none was'})"
        raise ConfigError(str(root), [Problem("sweep", name, allowed, nearest(name, known))])
    if folder.foreign:
        raise CareError(
            f"{name}: {user_of(folder.path)} submitted this sweep; only they can do this"
        )
    return folder


def cancel_command(name: str, root: Path) -> int:
    """Cancel a submitted sweep: trials checkpoint, jobs end.

    Returns:
        0.
    """
    console = make_console()
    folder = find_pool(name, root)
    request = folder.request().model_copy(update={"cancel": True})
    folder.write_request(request)
    jobs = request.slurm and commands.jobs_named(folder.job_name("head"))
    if any(job.running for job in jobs or ()) or _is_driven(folder, request):
        console.print("asked the trials to checkpoint …")
        _wait_for_end(folder, request)
    if request.slurm:
        left = commands.jobs_named(folder.job_name("head"))
        left += commands.jobs_named(folder.job_name("worker"))
        commands.cancel([job.job_id for job in left])
    console.print(f"{folder.name} is cancelled; nothing is lost. To resume: {request.command}")
    return 0


def _is_driven(folder: PoolFolder, request: Request) -> bool:
    """Check for the driver of an open run, which is no job."""
    driven = folder.head().state == HeadState.RUNNING and holder(folder.path.parent)
    return not request.slurm and bool(driven)


def _wait_for_end(folder: PoolFolder, request: Request) -> None:
    """Wait until nothing of the sweep runs; a killed volunteer is waited for half a minute."""
    end = time.monotonic() + _CANCEL_SECONDS
    names = [folder.job_name("head"), folder.job_name("worker")] if request.slurm else []
    volunteers = Volunteers()
    while time.monotonic() < end:
        busy = any(job.running for name in names for job in commands.jobs_named(name))
        living = volunteers.living(folder.workers(), time.monotonic())
        if not (busy or living or _is_driven(folder, request)):
            return
        time.sleep(1.0)
