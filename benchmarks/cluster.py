"""An evaluation on 1, 2, 4 and 8 devices of two local nodes: prints rates, what they are of the ideal, and the driver's memory.

    python -m benchmarks.cluster [--pictures 5000] [--rate 65] [--small] [--devices 1,2,4,8]

Real nodes of Ray and real JPEGs of 640 x 480, decoded by the processes of the real feed into 800 x 1333; only the device is a
stand-in, which takes 1/65 s per picture and holds the GIL all the while. Decoding needs cores: what the cores of this machine
decode at all is measured first, and bounds the ideal. `--small` has pictures and a network of few pixels instead, so that
decoding costs next to nothing: what is left is what dispatching costs. Each row but the last evaluates ten seconds' worth of
pictures per device, the last one all of them.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.letterbox import draw_photograph
from benchmarks.stream import Device
from fcos_lib.contract import COCO_R50, InputLayout, ModelContract
from fcos_lib.device.bench import Bench
from fcos_lib.device.worker import Worker, node_folder
from fcos_lib.stream.cluster import Cluster, Pool, join, this_host
from fcos_lib.stream.dataset import Picture
from fcos_lib.stream.dispatch import detect_on_cluster
from fcos_lib.stream.dispatch_devices import Job, Ready, Refused, calls_at_once
from fcos_lib.stream.feed import Feed
from fcos_lib.stream.journal import Journal
from fcos_lib.stream.journal_shards import Maker
from fcos_lib.stream.sessions import Outputs

BATCH, DIFFERENT, SECONDS = 8, 64, 10
SMALL = replace(COCO_R50, name="small", height=32, width=53)


class RateSession:
    """Finds nothing, in the time that so many pictures take."""

    def __init__(self, contract: ModelContract, layout: InputLayout, rate: float) -> None:
        """`rate` in pictures per second."""
        self.contract, self.layout, self._device = contract, layout, Device(1 / rate)

    def run(self, batch: NDArray[Any]) -> Outputs:
        """No detections."""
        self._device.run(batch)
        rows = self.contract.max_detections
        return Outputs(np.zeros((len(batch), rows), np.int64), np.zeros((len(batch), rows, 5), np.float32))

    def close(self) -> None:
        """Nothing is held."""

    def __enter__(self) -> RateSession:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held."""


class RateWorker(Worker):
    """A worker whose device is a stand-in; its feed, its files and its answers are the real ones."""

    def _start(self, job: Job, om: bytes) -> Ready | Refused:
        device, folder = int(os.environ["ASCEND_RT_VISIBLE_DEVICES"]), node_folder()
        self._bench = Bench(Maker(this_host(), device, f"{device}/0"), job, contextlib.ExitStack(), folder)
        self._bench.session = RateSession(job.contract, job.layout, float(om.decode()))
        return Ready(self._bench.maker, "nothing")


def photographs(folder: Path, size: tuple[int, int], count: int) -> tuple[Picture, ...]:
    """So many pictures, of which 64 are different; (width, height) in pixels."""
    random = np.random.default_rng(0)
    drawn = [draw_photograph(folder / f"{number:03}.jpg", random, *size) for number in range(DIFFERENT)]
    return tuple(replace(drawn[number % DIFFERENT], id=number) for number in range(count))


def decoded_per_second(pictures: Sequence[Picture], contract: ModelContract) -> float:
    """What a feed alone prepares on this machine, pictures per second after its first batch."""
    groups = [pictures[start : start + BATCH] for start in range(0, len(pictures), BATCH)]
    with Feed(groups, contract, BATCH) as feed:
        batches = iter(feed)
        next(batches)
        started = time.perf_counter()
        came = sum(len(batch.pictures) for batch in batches)
    return came / (time.perf_counter() - started)


class Memory:
    """The memory of this process itself, without what it maps of Ray's object store, sampled four times a second; MB."""

    def __init__(self) -> None:
        self.seen: list[float] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._over.wait(0.25):
            lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
            self.seen.append(int(lines["RssAnon"].split()[0]) * 1024 / 1e6)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def words(self) -> str:
        """After a tenth, in the middle, at the end."""
        places = (len(self.seen) // 10, len(self.seen) // 2, len(self.seen) - 1)
        return " → ".join(f"{self.seen[place]:.0f}" for place in places) if self.seen else "no sample"


def evaluate(cluster: Cluster, pictures: Sequence[Picture], contract: ModelContract, rate: float, devices: int) -> str:
    """A row of the table. Devices are started before the clock is, as their cost does not grow with the pictures."""
    om = str(rate).encode()
    job = Job(
        contract, InputLayout.FLOAT_NCHW, BATCH, hashlib.sha256(om).hexdigest(), (), {}, mixed=False, stand_in=True,
        run_id="benchmark", run_time_limit=300,
    )  # fmt: skip
    times: list[float] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        Memory() as memory,
        Journal(Path(folder), pictures, BATCH, {}) as journal,
        closing(Pool(cluster, RateWorker, calls_at_once(BATCH) + 2)) as pool,
    ):
        record = journal.record

        def noted(*arguments: Any) -> bool:
            times.append(time.perf_counter())
            return record(*arguments)

        journal.record = noted  # type: ignore[method-assign]
        spent = time.process_time()
        detect_on_cluster(pool, om, job, journal, progress=f"{devices} devices")
        spent = time.process_time() - spent
    shards = len(journal.shards)
    first = min(2 * devices, shards // 2)  # all are at work by then
    seconds, shown = times[-1] - times[first], sum(len(shard) for shard in journal.shards[first + 1 :])
    ideal = devices * rate
    each = 1e3 * (seconds * devices - shown / rate) / (shards - 1 - first)
    return f"| {devices} | {len(pictures)} | {shown / seconds:.1f} | {ideal:.0f} | {shown / seconds / ideal:.1%} | {each:.1f} | {1e3 * spent / shards:.1f} | {memory.words()} |"


def main() -> None:
    """Start nodes, evaluate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=5000, help="of the last row (default: 5000)")
    parser.add_argument("--rate", type=float, default=65.0, help="pictures per second of a device (default: 65)")
    parser.add_argument("--small", action="store_true", help="small pictures, a small network")
    parser.add_argument("--devices", default="1,2,4,8", help="comma list (default: 1,2,4,8)")
    args = parser.parse_args()
    contract, size = (SMALL, (64, 48)) if args.small else (COCO_R50, (640, 480))
    counts = [int(text) for text in args.devices.split(",")]
    os.environ.update(
        RAY_AUTH_TOKEN="0" * 64, RAY_AUTH_MODE="token", RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0", OPENBLAS_NUM_THREADS="1"
    )
    with tempfile.TemporaryDirectory() as folder:
        pictures = photographs(Path(folder), size, args.pictures)
        print(
            f"{len(os.sched_getaffinity(0))} usable cores, load average before {os.getloadavg()[0]:.1f}, which decode "
            f"{decoded_per_second(pictures[:512], contract):.0f} pictures/s at most\n"
        )
        print(
            "| devices | pictures | pictures/s | ideal | of it | overhead per shard, ms | CPU of the driver per shard, ms | memory of the driver, MB |\n|---|---|---|---|---|---|---|---|"
        )
        for devices in counts:
            print(on_nodes(devices, pictures, contract, args.rate, last=devices == counts[-1]), flush=True)


def on_nodes(devices: int, pictures: Sequence[Picture], contract: ModelContract, rate: float, last: bool) -> str:
    """A row, on nodes of its own: two, unless there is one device."""
    from ray.cluster_utils import Cluster as Nodes

    nodes = Nodes()
    try:
        for number, npus in enumerate((devices - devices // 2, devices // 2), start=1):
            nodes.add_node(
                num_cpus=1, resources={"NPU": npus}, object_store_memory=200 << 20, include_dashboard=False,
                node_ip_address=f"127.0.0.{number}",
            )  # fmt: skip
        with join(nodes.address) as cluster:
            some = pictures if last else pictures[: int(SECONDS * rate * devices)]
            return evaluate(cluster, some, contract, rate, devices)
    finally:
        nodes.shutdown()


if __name__ == "__main__":
    main()
