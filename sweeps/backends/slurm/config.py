"""Read a cluster file: the resources of a worker and of the driver job."""

from __future__ import annotations

import math
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from care.config import Model, PositiveInt
from care.config.base import Positive
from care.config.bundled import PREFIX, find_path
from care.config.loading import validate
from care.config.yaml_reader import read_yaml
from care.errors import ConfigError, Problem
from care.plugins import VARIABLE, plugin_modules
from sweeps.backends.scratch import LONGEST_PARENT
from sweeps.backends.slurm.durations import parse_duration

_SHARED = ("partition", "account", "qos", "srun", "setup", "python")
_EXAMPLE = Path(f"{PREFIX}sweeps/clusters/example.yaml")


def _refuse(allowed: str) -> NoReturn:
    raise PydanticCustomError("name", "allowed: {allowed}", {"allowed": allowed})


def _minutes(value: Any) -> Any:
    """Round up to whole minutes; takes all of SLURM's notations: 90, "2:30:00", "1-12:30"."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    seconds = parse_duration(value) if isinstance(value, str) else None
    if seconds is None:
        _refuse('minutes, or "hours:minutes:seconds", or "days-hours:minutes:seconds"')
    if not seconds:
        _refuse("more than 0")
    return math.ceil(seconds / 60)


Minutes = Annotated[int, BeforeValidator(_minutes)]


def _partitions(value: str) -> str:
    """Remove blanks around the names: SLURM would look for a partition `` b`` in ``a, b``."""
    names = [name.strip() for name in value.split(",")]
    if not all(names) or len(set(names)) < len(names):
        _refuse("a name, or several with commas between, each once")
    return ",".join(names)


def _scratch(value: Any) -> Any:
    if not isinstance(value, str) or not value.startswith("/") or len(value) > LONGEST_PARENT:
        _refuse(
            f"the path of a folder of the node's own, at most {LONGEST_PARENT} characters, "
            "because the names of Ray's sockets have to fit below it"
        )
    return value


def _python(value: Any) -> Any:
    allowed = (
        "the command that starts Python on a node: a path, or 'apptainer exec care.sif python'"
    )
    if not isinstance(value, str) or not value.strip() or "\n" in value:
        _refuse(allowed)
    try:
        shlex.split(value)
    except ValueError:  # an open quote
        _refuse(f"{allowed}, with each quote closed")
    return value


Options = dict[str, str | int | bool]


class JobConfig(Model):
    """Resources and options of a job.

    Attributes:
        partition: Name of the partition, or several with commas between, of which SLURM takes the
            one that starts the job first; SLURM's default if None.
        account: Account to charge.
        qos: Quality of service.
        constraint: Required features of the node.
        time: Wall time in minutes, or in SLURM's notation.
        cpus: Cores.
        memory_gb: Memory; the partition's default if None.
        options: Other options of sbatch, by name, ``{exclude: n7, reservation: mine}``.
        srun: Options of srun, which starts Python in the job: ``{container_image: care.sqsh}``.
        setup: Shell lines before Python starts, e.g. ``module load cuda``.
        python: Command that starts Python on a node; the Python of the submission if None.
    """

    partition: Annotated[str, AfterValidator(_partitions)] | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    time: Minutes = 240
    cpus: PositiveInt = 1
    memory_gb: Positive | None = None
    options: Options = Field(default_factory=dict)
    srun: Options | None = None
    setup: Annotated[tuple[str, ...] | None, Field(strict=False)] = None
    python: Annotated[str, BeforeValidator(_python)] | None = None

    @property
    def partitions(self) -> tuple[str | None, ...]:
        """The names of the partitions; one None for SLURM's default."""
        return tuple(self.partition.split(",")) if self.partition else (None,)

    def sbatch_options(self) -> dict[str, str | int]:
        """Return the options of sbatch and srun, by name with underscores.

        Left out are ``time``, which a test of a node has of its own, and ``options``.
        """
        asked = {
            "partition": self.partition,
            "account": self.account,
            "qos": self.qos,
            "constraint": self.constraint,
            "cpus_per_task": self.cpus,
            "mem": f"{round(self.memory_gb * 1024)}M" if self.memory_gb else None,
        }
        return {name: value for name, value in asked.items() if value is not None}

    def srun_arguments(self) -> list[str]:
        """Return the options of ``srun`` as arguments; one that is false is left out."""
        named = {name.replace("_", "-"): value for name, value in (self.srun or {}).items()}
        return [
            f"--{name}" if value is True else f"--{name}={value}"
            for name, value in named.items()
            if value is not False
        ]

    @property
    def python_command(self) -> str:
        """The command by which a shell on a node starts Python."""
        return self.python or shlex.quote(sys.executable)

    def shell_setup(self, code: str) -> list[str]:
        """Return the shell lines before Python starts, which make it import from ``code``."""
        path = f"export PYTHONPATH={shlex.quote(code)}${{PYTHONPATH:+:$PYTHONPATH}}"
        # Else `python -m` would import from the working folder first, which may be a checkout.
        safe = "export PYTHONSAFEPATH=1"
        # Some sites pass no environment on to jobs.
        plugins = f"export {VARIABLE}={shlex.quote(','.join(plugin_modules()))}"
        # A container without the host's variables (--cleanenv) has those with this prefix.
        inside = 'export APPTAINERENV_PYTHONPATH="$PYTHONPATH" APPTAINERENV_PYTHONSAFEPATH=1'
        inside += f' APPTAINERENV_{VARIABLE}="${VARIABLE}"'
        return [path, safe, plugins, inside, *(self.setup or ())]


class HeadConfig(JobConfig):
    """The driver job: Ray's head and the sweep's driver. It needs no GPU and a long wall time.

    Left out, ``partition``, ``account``, ``qos``, ``srun``, ``setup`` and ``python`` are those of
    the workers. Its Python must see SLURM's commands, which that of a container may not.
    """

    time: Minutes = 2880
    cpus: PositiveInt = 2
    memory_gb: Positive | None = 8.0


class PriceConfig(Model):
    """The price of an hour, for ``care sweep plan``.

    Attributes:
        core_hour: Price of a core for an hour.
        gpu_hour: Price of a GPU for an hour.
        currency: Its name.
    """

    core_hour: Annotated[float, Field(ge=0)] = 0.0
    gpu_hour: Annotated[float, Field(ge=0)] = 0.0
    currency: str = "EUR"


class ClusterConfig(JobConfig):
    """A cluster file; its top-level fields describe a worker, which has a share of one node.

    Attributes:
        gpus: GPUs of a worker.
        head: The driver job.
        interface: Network interface for Ray, e.g. ``ib0``; that of the node's host name if None.
        scratch: Local folder of a node for Ray's sockets and logs.
        grace_seconds: Time before the end of the wall time in which a worker's trials checkpoint
            and it leaves, and in which the driver's job ends. Long epochs need no more: a
            checkpoint is saved between two steps.
        idle_seconds: Time after which a worker without a trial leaves.
        wait_seconds: Time after which a worker without a head leaves.
        price: Price of an hour; None if it is of no interest.
    """

    gpus: Annotated[int, Field(ge=0)] = 0
    head: HeadConfig = HeadConfig()
    interface: str | None = None
    scratch: Annotated[str, BeforeValidator(_scratch)] = "/tmp"
    grace_seconds: PositiveInt = 120
    idle_seconds: PositiveInt = 120
    wait_seconds: PositiveInt = 900
    price: PriceConfig | None = None

    def sbatch_options(self) -> dict[str, str | int]:
        """Add the GPUs of a worker."""
        gpus = {"gpus_per_node": self.gpus} if self.gpus else {}
        return {**super().sbatch_options(), **gpus}

    def head_job(self) -> JobConfig:
        """Return the driver job's resources; unset fields of ``head`` have the workers' values."""
        shared = self.model_dump(include={*_SHARED})
        return JobConfig.model_validate({**shared, **self.head.model_dump(exclude_none=True)})


def load_cluster(path: Path) -> ClusterConfig:
    """Load a cluster file.

    Raises:
        ConfigError: The file or a field is wrong; of a missing file it says how to get one.
    """
    try:
        tree = read_yaml(path)
    except ConfigError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise ConfigError(str(path), [_missing(path, error.problems[0].nearest)]) from error
        raise
    return validate(ClusterConfig, tree, str(path))


def _missing(path: Path, close: str | None) -> Problem:
    example = shlex.quote(str(find_path(_EXAMPLE)))
    allowed = (
        "allowed: the YAML file of a cluster; copy the example and adapt it: "
        f"cp {example} cluster.yaml (care init makes one, too)"
    )
    return Problem("--cluster", str(path), allowed, close)
