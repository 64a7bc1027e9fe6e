"""What streaming saves against the recipe's way through files: prints a Markdown table, and whether the aims are met.

    python -m benchmarks.recipe [--pictures 120] [--device-rate 65]

Both sides take the same generated photographs through the same stand-in device at 800 x 1333 and come to mAP: the recipe in
five steps through files (`recipe_steps`), this project from JPEG to journal to mAP. The device takes a set time per picture,
in which it holds the GIL as aclruntime's `run()` does, or none; it knows the network inputs and answers any other with an
error. Each passage is a process of its own, timed from its first step with everything imported; the sides take turns
twice, and the passage with the least harness time counts. *Harness* is wall time less the time inside the device. Memory
is the peak of the sum of PSS over a process and its children (shared pages count once), sampled every 20 ms in further
passages that are not timed. Needs 13 MB for each picture where temporary files are (TMPDIR). Exits with 1 if the results
of the two sides differ or the aim is missed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import pickle
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks import recipe_steps as steps
from benchmarks.generated import contract_of, draw_dataset, draw_detections
from benchmarks.letterbox import draw_photograph
from benchmarks.stream import Device
from fcos_lib.contract import COCO_R50, InputLayout
from fcos_lib.errors import SessionError
from fcos_lib.measure.coco.metrics import evaluate
from fcos_lib.stream.dataset import ANNOTATIONS, PICTURES, open_dataset, read_picture
from fcos_lib.stream.evaluation import detect_journaled
from fcos_lib.stream.journal import Journal
from fcos_lib.stream.letterbox import blank, geometry, letterbox
from fcos_lib.stream.sessions import Outputs

CONTRACT = replace(COCO_R50, classes=contract_of(80).classes)
ANSWERS = "answers.pickle"
LESS_HARNESS = 5.0
"""The aim: how many times less harness time streaming should take, with the device at its rate."""
EQUAL = 1e-12

Answer = tuple[NDArray[np.int64], NDArray[np.float32]]


class StandIn:
    """A session that takes a set time per picture and finds what it was told is in it. Counts its own time."""

    contract, layout = CONTRACT, InputLayout.FLOAT_NCHW

    def __init__(self, answers: Path, seconds: float) -> None:
        """`seconds` per picture."""
        self._answers: dict[bytes, Answer] = pickle.loads(answers.read_bytes())
        self._device = Device(seconds)
        self.busy = 0.0
        """Seconds inside `run` so far."""

    def run(self, batch: NDArray[Any]) -> Outputs:
        """What is in these network inputs; `SessionError` for one that no picture gives."""
        start = time.perf_counter()
        self._device.run(batch)
        labels, dets = zip(*map(self._answer, batch), strict=True)
        outputs = Outputs(np.stack(labels), np.stack(dets))
        self.busy += time.perf_counter() - start
        return outputs

    def _answer(self, tensor: NDArray[Any]) -> Answer:
        try:
            return self._answers[sample(tensor)]
        except KeyError:
            raise SessionError("the device was given something that is no picture's network input") from None

    def close(self) -> None:
        """Nothing is held."""

    def __enter__(self) -> StandIn:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def sample(tensor: NDArray[Any]) -> bytes:
    """A few thousand numbers that tell one network input from all others."""
    return tensor[:, ::37, ::41].tobytes()


@dataclass(frozen=True, slots=True)
class Passage:
    """All pictures from JPEG to mAP on one side."""

    parts: dict[str, float]
    """Seconds of each step, by name."""
    device: float
    """Seconds inside the device."""
    written: int
    """Bytes of files."""
    twelve: list[float]
    """COCO's numbers."""
    rows: list[list[float]]
    """Detections: picture id, category id, x, y, width, height, score; sorted."""

    @property
    def wall(self) -> float:
        """Seconds from the first step to mAP."""
        return sum(self.parts.values())

    @property
    def harness(self) -> float:
        """What the device did not need."""
        return self.wall - self.device


def draw(root: Path, pictures: int) -> None:
    """Write photographs, annotations, and what the device finds in each; `ValueError` if the sides' network inputs differ."""
    random = np.random.default_rng(5)
    generated = draw_dataset(root, random, pictures=pictures, classes=80, boxes=7.4)
    detections = draw_detections(generated, random, classes=80, wrong=97)
    (root / PICTURES).mkdir()
    for picture in generated.pictures:
        draw_photograph(root / PICTURES / picture.path.name, random)
    tensor = blank(CONTRACT, 1)[0]
    answers: dict[bytes, Answer] = {sample(tensor): _rows(np.empty((0, 4)), np.empty(0), np.empty(0, np.int64))}
    for picture in open_dataset(root).pictures:
        letterbox(read_picture(picture), CONTRACT, tensor)
        if not np.array_equal(tensor, steps.network_input(picture.path)):
            raise ValueError(f"the two sides make different network inputs of {picture.path}")
        place, seen = geometry(picture.width, picture.height, CONTRACT), detections[picture.id]
        scale, offset = [place.scale_x, place.scale_y] * 2, [place.left, place.top] * 2
        answers[sample(tensor)] = _rows(seen.boxes * scale + offset, seen.scores, seen.labels)
    if len(answers) != 1 + pictures:
        raise ValueError("two pictures look the same to the device")
    (root / ANSWERS).write_bytes(pickle.dumps(answers))


def _rows(boxes: NDArray[Any], scores: NDArray[Any], labels: NDArray[np.int64]) -> Answer:
    """Labels int64[100] and dets float32[100, 5], filled up with zeros."""
    dets, padded = np.zeros((CONTRACT.max_detections, 5), np.float32), np.zeros(CONTRACT.max_detections, np.int64)
    dets[: len(scores)], padded[: len(labels)] = np.column_stack([boxes, scores]), labels
    return padded, dets


def by_recipe(root: Path, work: Path, session: StandIn, batch: int) -> Passage:
    """The five steps, one after the other."""
    pictures, annotations = root / PICTURES, root / ANNOTATIONS
    bins, results, texts = work / "bins", work / "result", work / "texts"
    info, results_file = work / "jpeg.info", work / "detections.json"

    def run(tensor: NDArray[np.float32]) -> Answer:
        outputs = session.run(tensor)
        return outputs.labels, outputs.dets

    clock = Clock()
    steps.preprocess(pictures, bins)
    clock.stop("preprocess")
    steps.write_info(pictures, info)
    clock.stop("info")
    steps.infer(run, bins, results, batch)
    clock.stop("infer")
    steps.postprocess(results, info, annotations, texts, results_file)
    clock.stop("post-process")
    twelve = steps.evaluate(annotations, results_file)
    clock.stop("evaluate")
    rows = [
        [row["image_id"], row["category_id"], *row["bbox"], row["score"]]
        for row in json.loads(results_file.read_text())
    ]
    return Passage(clock.parts, session.busy, bytes_in(work), twelve, sorted(rows))


def by_streaming(root: Path, work: Path, session: StandIn, batch: int) -> Passage:
    """A journal, and nothing else on the disk."""
    clock = Clock()
    dataset = open_dataset(root)
    clock.stop("open")
    with Journal(work / "journal", dataset.pictures, batch, {"model": "stand-in"}) as journal:
        detections, _ = detect_journaled(session, journal)
    clock.stop("detect")
    numbers = evaluate(dataset, CONTRACT, detections).details["numbers"]
    clock.stop("evaluate")
    categories = dataset.label_ids(CONTRACT)
    rows = [
        [number, categories[label], x1, y1, x2 - x1, y2 - y1, score]
        for number, seen in detections.items()
        for label, (x1, y1, x2, y2), score in zip(
            seen.labels.tolist(), seen.boxes.tolist(), seen.scores.tolist(), strict=True
        )
    ]
    return Passage(clock.parts, session.busy, bytes_in(work), list(numbers.values()), sorted(rows))


SIDES = {"recipe": by_recipe, "streaming": by_streaming}


class Clock:
    """Seconds of one step after the other, by name."""

    def __init__(self) -> None:
        self.parts: dict[str, float] = {}
        self._last = time.perf_counter()

    def stop(self, name: str) -> None:
        """A step has ended, and the next begins."""
        now = time.perf_counter()
        self.parts[name], self._last = now - self._last, now


def bytes_in(folder: Path) -> int:
    """The sum of the sizes of all files; neither side removes one."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _child(side: str, root: Path, work: Path, seconds: float, batch: int, answer: Connection) -> None:
    if side == "recipe":
        import pycocotools.cocoeval  # noqa: F401  what has to be imported is nobody's step

    answer.send(SIDES[side](root, work, StandIn(root / ANSWERS, seconds), batch))


def pass_once(side: str, root: Path, seconds: float, batch: int, *, watch: bool = False) -> tuple[Passage, int]:
    """One passage in a process and a folder of its own, and the bytes of memory at its peak if it is watched."""
    work, context = root / "work", multiprocessing.get_context("spawn")
    work.mkdir()
    os.sync()  # what one side left to be written must not slow the other
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(side, root, work, seconds, batch, sender))
    process.start()
    sender.close()
    peak = 0
    while not receiver.poll(0.02 if watch else None):
        peak = max(peak, _memory(process.pid))
    passage = receiver.recv()
    process.join()
    shutil.rmtree(work)
    return passage, peak


def _memory(pid: int | None) -> int:
    """Bytes of a process and its children, proportional set size."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has just ended
        return 0
    own = sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return own + sum(_memory(int(child)) for child in children)


def differences(recipe: Passage, streaming: Passage) -> list[str]:
    """In what the two sides' results differ; nothing, if all is well."""
    sentences = []
    if recipe.rows != streaming.rows:
        sentences.append(f"their detections ({len(recipe.rows)} and {len(streaming.rows)}) are not the same")
    apart = max(abs(one - other) for one, other in zip(recipe.twelve, streaming.twelve, strict=True))
    if apart > EQUAL:
        sentences.append(f"their twelve numbers differ by up to {apart:.1e}")
    return sentences


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=120, help="how many are drawn (default: 120)")
    parser.add_argument("--device-rate", type=float, default=65, help="the device's pictures per second (default: 65)")
    parser.add_argument("--batch", type=int, default=4, help="batch size (default: 4)")
    parser.add_argument("--rounds", type=int, default=2, help="timed passages of each side and device (default: 2)")
    args = parser.parse_args()
    devices = {f"{args.device_rate:g} pictures/s": 1 / args.device_rate, "no time at all": 0.0}
    with tempfile.TemporaryDirectory(prefix="fcos-recipe-") as folder:
        root = Path(folder)
        draw(root, args.pictures)
        size = sum(path.stat().st_size for path in (root / PICTURES).iterdir()) / args.pictures
        print(
            f"{args.pictures} photographs of 640 x 480 and {size / 1e3:.0f} kB, batch {args.batch}, "
            f"{len(os.sched_getaffinity(0))} usable cores, load average before {os.getloadavg()[0]:.1f}, "
            f"OpenCV {cv2.__version__}\n",
            flush=True,
        )
        peak = {side: pass_once(side, root, 1 / args.device_rate, args.batch, watch=True)[1] for side in SIDES}
        best: dict[tuple[str, str], Passage] = {}
        wrong: list[str] = []
        for _ in range(args.rounds):
            for device, seconds in devices.items():
                pair = {side: pass_once(side, root, seconds, args.batch)[0] for side in SIDES}
                wrong += differences(pair["recipe"], pair["streaming"])
                for side, passage in pair.items():
                    best[device, side] = min(best.get((device, side), passage), passage, key=lambda one: one.harness)
    report(best, peak, devices)
    return conclude(best, peak, wrong, next(iter(devices)))


def report(best: dict[tuple[str, str], Passage], peak: dict[str, int], devices: dict[str, float]) -> None:
    """The table, and where the time went."""
    print("| device | side | wall | in the device | harness | written | peak memory |")
    print("|---|---|---|---|---|---|---|")
    for number, device in enumerate(devices):
        for side in SIDES:
            one, memory = best[device, side], "" if number else f"{peak[side] / 1e6:,.0f} MB"
            print(
                f"| {device} | {side} | {one.wall:.2f} s | {one.device:.2f} s | {one.harness:.2f} s "
                f"| {one.written / 1e6:,.2f} MB | {memory} |"
            )
        theirs, ours = (best[device, side] for side in SIDES)
        memory = "" if number else f"{peak['recipe'] / peak['streaming']:.2f} x"
        print(
            f"| {device} | **ratio** | {theirs.wall / ours.wall:.1f} x | | **{theirs.harness / ours.harness:.1f} x** "
            f"| {theirs.written / ours.written:,.0f} x | {memory} |"
        )
    print()
    for (device, side), one in best.items():
        print(f"{device}, {side}: " + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in one.parts.items()))
    print()


def conclude(best: dict[tuple[str, str], Passage], peak: dict[str, int], wrong: list[str], device: str) -> int:
    """Say what was promised and whether it holds; the exit status."""
    theirs, ours = (best[device, side] for side in SIDES)
    ratio = theirs.harness / ours.harness
    print(
        f"results: {'; '.join(sorted(set(wrong))) or f'equal, {len(ours.rows)} detections, mAP {ours.twelve[0]:.6f}'}"
    )
    print(
        f"harness: {ratio:.1f} times less, aim at least {LESS_HARNESS:g}: {'met' if ratio >= LESS_HARNESS else 'MISSED'}"
    )
    print(f"written: {ours.written / 1e6:.2f} MB, all of it the journal; recipe {theirs.written / 1e6:,.0f} MB")
    print(f"memory: {peak['streaming'] / 1e6:,.0f} MB, recipe {peak['recipe'] / 1e6:,.0f} MB")
    return 1 if wrong or ratio < LESS_HARNESS else 0


if __name__ == "__main__":
    sys.exit(main())
