"""A race from COCO files to the twelve numbers, ours beside pycocotools, hotcoco and faster-coco-eval; and the paired interval.

Run from the repository's root: `python -m benchmarks.coco_metrics`. Takes some minutes, most of them pycocotools'. It draws a dataset of
val2017's size, or takes `--folder FOLDER` with an `instances.json` and result files beside it. Rivals that are not installed are left
out: `pip install hotcoco==1.3.0 faster-coco-eval==1.8.0`; nothing else here needs them. Everybody reads the same files, in turns, each time
in a fresh process, and the best round counts; importing does not. Exits with 1 if ours differ from pycocotools' by more than 1e-12, or take more than 1 GB.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import io
import json
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.generated import draw_dataset, draw_detections, rounded
from fcos_lib.measure.coco.matching import Matches, match_rows
from fcos_lib.measure.coco.metrics import TWELVE, twelve_numbers
from fcos_lib.measure.coco.paired import difference_of
from fcos_lib.measure.coco.resampled import resample_matches
from fcos_lib.measure.coco.result_file import read_detections
from fcos_lib.measure.coco.truth import read_annotation_file
from fcos_lib.stream.sessions import Detections

Evaluate = Callable[[Path, Path], list[float]]
MOST_GB, ALLOWED = 1.0, 1e-12


def matched(annotations: Path, results: Path) -> Matches:
    """Ours, as far as the matches."""
    truth = read_annotation_file(annotations).truth
    return match_rows(truth, read_detections(results, truth))


def ours(annotations: Path, results: Path) -> list[float]:
    """The twelve numbers."""
    return [*twelve_numbers(matched(annotations, results)).values()]


def drop_in(module: str, load: str = "loadRes", names: tuple[str, str] = ("COCO", "COCOeval")) -> Evaluate:
    """A rival with pycocotools' interface; `ModuleNotFoundError` if it is not installed."""
    coco, coco_eval = (
        getattr(importlib.import_module(where), name)
        for where, name in zip((f"{module}.coco", f"{module}.cocoeval") if module == "pycocotools" else (module, module), names, strict=True)
    )  # fmt: skip

    def evaluate(annotations: Path, results: Path) -> list[float]:
        truth: Any = coco(str(annotations))
        evaluation: Any = coco_eval(truth, getattr(truth, load)(str(results)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        return [float(number) for number in evaluation.stats[:12]]

    return evaluate


ENTRANTS: dict[str, Callable[[], Evaluate]] = {
    "ours": lambda: ours,
    "pycocotools": lambda: drop_in("pycocotools"),
    "hotcoco": lambda: drop_in("hotcoco", "load_res"),
    "faster-coco-eval": lambda: drop_in("faster_coco_eval", names=("COCO", "COCOeval_faster")),
}


def timed(name: str, annotations: Path, results: Path) -> tuple[list[float], float, float, float]:
    """The twelve numbers, the seconds for them, those of all cores, and the most GB that this process has held; what a rival prints is not shown."""
    evaluate = ENTRANTS[name]()
    with contextlib.redirect_stdout(io.StringIO()):
        start, cores = time.perf_counter(), time.process_time()
        numbers = evaluate(annotations, results)
        return numbers, time.perf_counter() - start, time.process_time() - cores, peak_gb()


def write_results(path: Path, found: dict[int, Detections]) -> None:
    """A COCO result file of drawn detections, with as many digits as such files have."""
    rows = [
        {"image_id": number, "category_id": label + 1, "bbox": [box[0], box[1], round(box[2] - box[0], 2), round(box[3] - box[1], 2)], "score": score}
        for number, side in sorted(found.items())
        for box, score, label in zip(side.boxes.astype(float).round(2).tolist(), side.scores.astype(float).round(5).tolist(), side.labels.tolist(), strict=True)
    ]  # fmt: skip
    path.write_text(json.dumps(rows))


def draw(folder: Path, pictures: int, classes: int) -> tuple[Path, list[Path]]:
    """An annotation file and the results of a detector and of the same, rounded."""
    random = np.random.default_rng(0)
    dataset = draw_dataset(folder, random, pictures=pictures, classes=classes, boxes=7.4)
    first = draw_detections(dataset, random, classes=classes, wrong=97)
    paths = [folder / "a.json", folder / "b.json"]
    for path, found in zip(paths, (first, rounded(first, random)), strict=True):
        write_results(path, found)
    return dataset.annotations, paths


def peak_gb() -> float:
    """The most memory that this process has held. Not `ru_maxrss`, which a process has from the one that started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e9


def race(annotations: Path, results: Path, rounds: int, without: list[str]) -> tuple[float, float]:
    """Print the best round of each; the largest distance of ours from pycocotools, and our GB."""
    best: dict[str, tuple[list[float], float, float, float]] = {}
    for turn in range(rounds):
        for name in ENTRANTS:
            if name in without or (name == "pycocotools" and turn):  # once is long enough, and nobody is near it
                continue
            if importlib.util.find_spec(name.replace("-", "_")) is None and name != "ours":
                print(f"{name:<17} is not installed")
                without = [*without, name]
                continue
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as own:
                numbers, *figures = own.submit(timed, name, annotations, results).result()
            _, *before = best.get(name, (numbers, *figures))
            best[name] = (numbers, *map(min, figures, before))
    reference = "pycocotools" if "pycocotools" in best else list(best)[-1]
    print(f"{results.name}: {dict(zip(TWELVE, np.round(best[reference][0], 6).tolist(), strict=True))}")
    distances = {}
    for name, (numbers, seconds, cores, memory) in sorted(best.items(), key=lambda item: item[1][1]):
        distances[name] = max(abs(a - b) for a, b in zip(numbers, best[reference][0], strict=True))
        print(
            f"{name:<17} {seconds:8.2f} s, {seconds / best['ours'][1]:6.2f} of ours; {cores:8.2f} s of all cores, "
            f"{cores / best['ours'][2]:6.2f} of ours; {memory:.2f} GB at the peak; {distances[name]:.1e} from {reference}",
            flush=True,
        )
    return distances["ours"], best["ours"][3]


def main() -> int:
    """Print times, ratios, distances and memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=None, help="real files: instances.json and result files")
    parser.add_argument("--pictures", type=int, default=5000, help="to draw")
    parser.add_argument("--classes", type=int, default=80, help="to draw")
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--without",
        choices=[name for name in ENTRANTS if name != "ours"],
        action="append",
        default=[],
        help="leave this rival out",
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if args.folder:
            annotations = args.folder / "instances.json"
            paths = sorted(path for path in args.folder.glob("*.json") if path != annotations)
        else:
            annotations, paths = draw(Path(folder), args.pictures, args.classes)
        start = time.perf_counter()
        first, second = (matched(annotations, path) for path in (paths[0], paths[-1]))
        read, before = time.perf_counter() - start, time.perf_counter()
        cores = time.process_time()
        sides = [resample_matches(side, args.resamples, 0) for side in (first, second)]
        paired = difference_of(*sides, 0, first.truth.category_ids)
        seconds, cores, memory = time.perf_counter() - before, time.process_time() - cores, peak_gb()
        print(
            f"{len(first.truth.picture_ids)} pictures, {len(first.truth.boxes)} objects, {first.total} and {second.total} detections"
        )
        print(
            f"paired            {seconds:8.2f} s, {cores:.2f} s of all cores, for {args.resamples} resamples of both sides, after {read:.2f} s of reading and matching; "
            f"{memory:.2f} GB at the peak\n                  mAP difference {paired.value:+.5f} ({paired.low:+.5f} to {paired.high:+.5f})",
            flush=True,
        )
        del first, second, sides
        races = [race(annotations, path, args.rounds, args.without) for path in (paths if args.folder else paths[:1])]
    memory = max(memory, *(ours for _, ours in races))
    return 0 if max(apart for apart, _ in races) <= ALLOWED and memory <= MOST_GB else 1


if __name__ == "__main__":
    sys.exit(main())
