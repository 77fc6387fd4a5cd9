"""Ray's core API as Tune's controller uses it, answered by some processes instead of a cluster.

Everything above it is real: Tune's controller, its actor manager, its bookkeeping; below it is
:mod:`benchmarks.simulated_node`. Replaced are ``ray.wait``, ``ray.get``, ``ray.kill``, the calls of
actors, and the placement groups.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import multiprocessing
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, cast
from unittest import mock

from ray import cloudpickle
from ray.air.execution._internal import actor_manager, event_manager
from ray.tune.execution import tune_controller

from benchmarks.simulated_node import run_node
from sweeps.tune.node import Node

_TUNE_WAITS = 0.1


class Future:
    """The result of an actor's call, before it is known."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.done = False
        self.result: Any = None


class SimulatedCluster:
    """The simulated workers, in processes beside this one.

    Args:
        workers: Number of actors at one time.
        processes: Number of processes that they share.
        epoch_seconds: Seconds of an epoch.
        node: The node in which a real worker registers its trials.

    Attributes:
        waited: Seconds that Tune has waited for the workers.
        answers: Number of results that Tune got from actors, by method.
    """

    def __init__(self, workers: int, processes: int, epoch_seconds: float, node: Node) -> None:
        self.free = workers
        self.waited = 0.0
        self.answers: dict[str, int] = {}
        context = multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        self._processes = []
        for _ in range(processes):
            here, there = context.Pipe()
            self._pipes.append(here)
            arguments = (there, epoch_seconds, node)
            self._processes.append(context.Process(target=run_node, args=arguments, daemon=True))
        self._numbers = itertools.count()
        self._methods: dict[int, str] = {}
        self._pending: weakref.WeakValueDictionary[int, Future] = weakref.WeakValueDictionary()

    @contextlib.contextmanager
    def in_place_of_ray(self) -> Iterator[None]:
        """Make Tune's controllers run on this cluster while entered."""
        for process in self._processes:
            process.start()
        ray, resources = _Ray(self), functools.partial(_Resources, self)
        with (
            mock.patch.object(actor_manager, "ray", ray),
            mock.patch.object(event_manager, "ray", ray),
            mock.patch.object(tune_controller, "PlacementGroupResourceManager", resources),
        ):
            yield
        for pipe, process in zip(self._pipes, self._processes, strict=True):
            pipe.send(None)
            process.join()

    def call(self, actor: int, method: str, *args: Any, **kwargs: Any) -> Future:
        """Send a call to an actor, serialized as Ray does."""
        future = Future(next(self._numbers))
        self._methods[future.number] = method
        self._pending[future.number] = future
        pipe = self._pipes[actor % len(self._pipes)]
        pipe.send((future.number, actor, method, cloudpickle.dumps((args, kwargs))))
        return future

    def wait(self, futures: Sequence[Future], timeout: float | None) -> Future | None:
        """Wait for the first of ``futures`` that is done; None after the time-out."""
        end = time.perf_counter() + (_TUNE_WAITS if timeout is None else timeout)
        while True:
            self._receive(0.0)
            ready = next((future for future in futures if future.done), None)
            left = end - time.perf_counter()
            if ready is not None or left <= 0:
                return ready
            self._receive(left)

    def take(self, future: Future) -> Any:
        """Return the result of a future that is done, and forget it."""
        while not future.done:
            self._receive(_TUNE_WAITS)
        method = self._methods.pop(future.number)
        self.answers[method] = self.answers.get(method, 0) + 1
        return future.result

    def _receive(self, seconds: float) -> None:
        """Receive every available answer; wait for the first one."""
        start = time.perf_counter()
        arrived = wait(self._pipes, seconds)
        if seconds:
            self.waited += time.perf_counter() - start
        while arrived:
            for pipe in arrived:
                number, content = cast(Connection, pipe).recv()
                future = self._pending.get(number)
                if future is not None:  # otherwise Tune has dropped it
                    future.result, future.done = cloudpickle.loads(content), True
            arrived = wait(self._pipes, 0.0)


class _Ray:
    """The module ``ray`` for Tune's actor manager."""

    def __init__(self, cluster: SimulatedCluster) -> None:
        import ray

        self._cluster = cluster
        self.actor, self.ObjectRef, self.remote = ray.actor, ray.ObjectRef, ray.remote

    def wait(
        self,
        futures: Sequence[Future],
        num_returns: int = 1,  # noqa: ARG002 - Tune takes one at a time
        timeout: float | None = None,
    ) -> tuple[list[Future], list[Future]]:
        ready = self._cluster.wait(futures, timeout)
        return ([], []) if ready is None else ([ready], [])

    def get(self, future: Future) -> Any:
        return self._cluster.take(future)

    def kill(self, actor: _Actor) -> None:
        actor.stop.remote()


class _Actor:
    """A handle whose methods have ``remote``."""

    def __init__(self, cluster: SimulatedCluster, number: int) -> None:
        self._cluster, self._number = cluster, number

    def __getattr__(self, method: str) -> _Method:
        return _Method(lambda *args, **kw: self._cluster.call(self._number, method, *args, **kw))

    @property
    def __ray_ready__(self) -> _Method:
        return self.__getattr__("__ray_ready__")


class _Method:
    def __init__(self, remote: Callable[..., Future]) -> None:
        self.remote = remote


class _ActorClass:
    """The actor class, bound to the resources of one worker."""

    def __init__(self, cluster: SimulatedCluster, number: int) -> None:
        self._cluster, self._number = cluster, number

    def remote(self, **kwargs: Any) -> _Actor:
        self._cluster.call(self._number, "__init__", **kwargs)
        return _Actor(self._cluster, self._number)


class _Slot:
    """A worker's resources, acquired for one actor."""

    def __init__(self, cluster: SimulatedCluster, number: int) -> None:
        self._cluster, self._number = cluster, number

    def annotate_remote_entities(self, entities: list[Any]) -> list[_ActorClass]:
        return [_ActorClass(self._cluster, self._number) for _ in entities]


class _Resources:
    """Tune's resource manager over the workers that are free."""

    def __init__(self, cluster: SimulatedCluster) -> None:
        self._cluster = cluster
        self._numbers = itertools.count()

    def request_resources(self, resource_request: Any) -> None:
        """No-op: a worker is free or not."""

    def cancel_resource_request(self, resource_request: Any) -> None:
        """No-op: there are no requests to cancel."""

    def get_resource_futures(self) -> list[Future]:
        return []

    def has_resources_ready(self, resource_request: Any) -> bool:  # noqa: ARG002
        return self._cluster.free > 0

    def acquire_resources(self, resource_request: Any) -> _Slot:  # noqa: ARG002
        self._cluster.free -= 1
        return _Slot(self._cluster, next(self._numbers))

    def free_resources(self, acquired_resource: _Slot) -> None:  # noqa: ARG002
        self._cluster.free += 1

    def clear(self) -> None:
        """No-op: there is nothing to release."""
