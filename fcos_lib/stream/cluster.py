"""Cluster: NPUs of one or more hosts through Ray. The only importer of ray.

Ray places one process per NPU (its resource `NPU`), moves objects between nodes, and notices what has died. What an answer
is worth is decided elsewhere: `dispatch.py` counts each shard once, `device/worker.py` makes sure of each device.

Everything that Ray moves is pickled, so only a cluster that asks for a token is joined; one that is started here listens on
the loopback alone. Dashboard and usage statistics are off.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import socket
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fcos_lib.errors import DeviceError, UsageError
from fcos_lib.stream.cluster_address import (
    AUTO,
    LOCAL,
    check_answers,
    check_installed,
    check_tokens,
    has_token,
    in_a_line,
    known_address,
    not_joined,
    split,
)
from fcos_lib.stream.dispatch_devices import Lost

STORE_BYTES = 1 << 30
"""Of the object store of a cluster that is started here, if /dev/shm has three times as much."""
_LEAST_STORE = 80 << 20


@dataclass(frozen=True, slots=True)
class Node:
    """A host of the cluster."""

    name: str
    """Host name and address."""
    npus: int
    store_bytes: int
    """Of its object store."""


class Cluster(contextlib.AbstractContextManager["Cluster"]):
    """A connection to a cluster. Used as a context manager; one per process."""

    def __init__(self, address: str) -> None:
        """Of a process that has joined; `address` is for people."""
        self.address = address

    def nodes(self) -> tuple[Node, ...]:
        """Those that are alive, by name."""
        import ray

        nodes = [
            Node(
                f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})",
                int(node["Resources"].get("NPU", 0)),
                int(node["Resources"].get("object_store_memory", 0)),
            )
            for node in ray.nodes()  # type: ignore[no-untyped-call]
            if node["Alive"]
        ]
        return tuple(sorted(nodes, key=lambda node: node.name))

    def describe(self) -> str:
        """The cluster in a line."""
        listed = ", ".join(f"{node.name} {node.npus} NPU" for node in self.nodes())
        return f"cluster {self.address}: {listed}"

    def close(self) -> None:
        """Leave; a cluster that was started here ends. Leaving twice is harmless."""
        import ray

        ray.shutdown()

    def __exit__(self, *_: object) -> None:
        self.close()


class Pool:
    """Processes of a cluster, one per NPU, each with an object of one class. To be closed; not shared between threads."""

    def __init__(self, cluster: Cluster, kind: type, calls: int) -> None:
        """`kind` is made without arguments, `calls` is how many calls of one object may be under way at once."""
        import ray

        self._cluster = cluster
        placed: Any = ray.remote(num_cpus=0, resources={"NPU": 1}, max_restarts=0)(kind)
        self._make = placed.options(max_concurrency=calls)
        self._workers: dict[int, Any] = {}
        self._calls: dict[Any, tuple[int, Any]] = {}  # reference of a result → who computes it, and the caller's note
        self._made = 0

    def grow(self) -> list[int]:
        """Have as many processes as the cluster has NPUs by now; the numbers of new ones, which Ray places when it can."""
        new = []
        while len(self._workers) < sum(node.npus for node in self._cluster.nodes()):
            self._made += 1
            self._workers[self._made] = self._make.remote()
            new.append(self._made)
        return new

    def share(self, value: Any) -> Any:
        """Put something where every node gets it once; what stands for it in a call. `DeviceError` if a store is too small."""
        import ray

        size = len(value) if isinstance(value, bytes) else 0
        small = [node for node in self._cluster.nodes() if node.npus and node.store_bytes < size * 1.2]
        if small:
            raise DeviceError(
                f"the object store of {small[0].name} has {small[0].store_bytes / 1e6:.0f} MB, too little for an OM of "
                f"{size / 1e6:.0f} MB",
                "start Ray there with more: ray start --object-store-memory BYTES",
            )
        return ray.put(value)

    def call(self, worker: int, method: str, *arguments: Any, note: Any) -> None:
        """Begin a call; `wait` tells its end, with the note."""
        reference = getattr(self._workers[worker], method).remote(*arguments)
        self._calls[reference] = worker, note

    def wait(self, seconds: float) -> Iterator[tuple[int, Any, Any]]:
        """Worker, note and result of the calls that have ended, after at most so many seconds; the result may be `Lost`."""
        import ray

        if not self._calls:
            return
        ready, _ = ray.wait(list(self._calls), num_returns=1, timeout=seconds)
        more, _ = ray.wait(list(self._calls), num_returns=len(self._calls), timeout=0)
        for reference in dict.fromkeys([*ready, *more]):
            if reference not in self._calls:  # dropped meanwhile
                continue
            worker, note = self._calls.pop(reference)
            try:
                result = ray.get(reference)
            except ray.exceptions.RayError as error:
                result = Lost(in_a_line(error))
            yield worker, note, result

    def drop(self, worker: int) -> None:
        """End a process, whatever it does; nobody answers its calls any more."""
        import ray

        handle = self._workers.pop(worker, None)
        if handle is not None:
            with contextlib.suppress(ray.exceptions.RayError):
                ray.kill(handle)
        self._calls = {reference: call for reference, call in self._calls.items() if call[0] != worker}

    def close(self) -> None:
        """End all processes."""
        for worker in list(self._workers):
            self.drop(worker)


def join(address: str, npus: Sequence[int] = ()) -> Cluster:
    """Connect to the cluster that `--cluster` means: `auto`, `local` (with the NPUs of these ids) or HOST:PORT.

    `NotInstalledError` with the command, or `UsageError` with a sentence, within seconds.
    """
    check_installed()
    os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_AUTH_MODE="token", RAY_DEDUP_LOGS="0")
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if address == LOCAL:
        return _start(npus)
    where = known_address() if address == AUTO else address
    host, port = split(where)
    _use_loopback(host)
    check_answers(host, port, where)
    check_tokens(where)
    return _connect(where)


def this_host() -> str:
    """In a process of the cluster: its node, as `Node.name` has it."""
    import ray

    address: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    return f"{socket.gethostname()} ({address})"


def this_node() -> str:
    """In a process of the cluster: the id of its node, in hexadecimal digits."""
    import ray

    return str(ray.get_runtime_context().get_node_id())


def _start(npus: Sequence[int]) -> Cluster:
    """A cluster of this host alone."""
    import ray

    _use_loopback("127.0.0.1")
    if not has_token():
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)  # for this run
    os.environ["ASCEND_RT_VISIBLE_DEVICES"] = ",".join(map(str, npus))  # as Ray numbers its NPUs, and hands them on
    logging.getLogger("ray._private.accelerators.npu").setLevel(logging.CRITICAL)  # it names the chip, where pyACL is
    free = shutil.disk_usage("/dev/shm").free if os.path.isdir("/dev/shm") else STORE_BYTES
    try:
        ray.init(
            num_cpus=1,
            resources={"NPU": len(npus)},
            include_dashboard=False,
            object_store_memory=max(_LEAST_STORE, min(STORE_BYTES, free // 3)),
            log_to_driver=False,
            logging_level=logging.ERROR,
            _node_ip_address="127.0.0.1",
        )
    except Exception as error:  # ray raises whatever a step of its start does
        raise UsageError(
            f"Ray cannot be started here ({in_a_line(error)})",
            "look into session_latest/logs of Ray's temporary folder",
        ) from error
    finally:
        del os.environ["ASCEND_RT_VISIBLE_DEVICES"]  # this process goes on counting all of them
    return Cluster(LOCAL)


def _connect(address: str) -> Cluster:
    import ray

    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # of its own, and RuntimeError, ConnectionError and ValueError
        raise not_joined(address, error) from error
    return Cluster(address)


def _use_loopback(host: str) -> None:
    """Let Ray keep a loopback address: it would look for one that others reach."""
    if host in ("127.0.0.1", "localhost"):
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        if "ray" in sys.modules:
            from ray._private import ray_constants

            ray_constants.ENABLE_RAY_CLUSTER = False
