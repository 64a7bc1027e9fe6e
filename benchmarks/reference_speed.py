"""onnxruntime's time for a full-size picture, and the settings that might make it shorter.

    python -m benchmarks.reference_speed [--rounds 3] [--folder FOLDER]

On the published architecture with seeded weights. Every setting is timed in turns with the default, and told as a ratio of the
shortest times, so that a busy machine blurs it less; beside it stands how far its detections are from the default's. The first
run builds the ONNX (half a minute, needs the extra `export`) and keeps it in the folder.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from fcos_lib.artifacts import PORTABLE
from fcos_lib.artifacts.from_checkpoint import onnx_artifact
from fcos_lib.contract import COCO_R50
from fcos_lib.files import sha256_of
from fcos_lib.options.option import path
from fcos_lib.store.artifacts import Store
from fcos_lib.stream.dataset import open_dataset, read_picture
from fcos_lib.stream.letterbox import blank, letterbox
from fcos_lib.stream.reference_record import cpu_name
from fcos_lib.stream.references import References
from fcos_lib.stream.sessions import OnnxSession
from fixtures.settings import EMBEDDED

PICTURES = 4
LEVEL = onnxruntime.GraphOptimizationLevel


@dataclass(frozen=True, slots=True)
class Setting:
    """What differs from onnxruntime's default."""

    batch: int = 1
    options: dict[str, Any] = field(default_factory=dict)
    entries: dict[str, str] = field(default_factory=dict)
    offline: bool = False
    """Run the model that onnxruntime optimised and saved before, without optimising again."""


SETTINGS = {
    "default again": Setting(),
    "1 thread": Setting(options={"intra_op_num_threads": 1}),
    "no graph optimisation": Setting(options={"graph_optimization_level": LEVEL.ORT_DISABLE_ALL}),
    "basic": Setting(options={"graph_optimization_level": LEVEL.ORT_ENABLE_BASIC}),
    "extended": Setting(options={"graph_optimization_level": LEVEL.ORT_ENABLE_EXTENDED}),
    "optimised offline": Setting(options={"graph_optimization_level": LEVEL.ORT_DISABLE_ALL}, offline=True),
    "batch 2": Setting(batch=2),
    "batch 4": Setting(batch=4),
    "parallel execution": Setting(
        options={"execution_mode": onnxruntime.ExecutionMode.ORT_PARALLEL, "inter_op_num_threads": 2}
    ),
    "no memory pattern": Setting(options={"enable_mem_pattern": False}),
    "no arena": Setting(options={"enable_cpu_mem_arena": False}),
    "no spinning": Setting(entries={"session.intra_op.allow_spinning": "0"}),
    "dynamic blocks": Setting(entries={"session.dynamic_block_base": "4"}),
    "denormals as zero": Setting(entries={"session.set_denormal_as_zero": "1"}),
}


def build(folder: Path) -> tuple[Path, NDArray[np.float32]]:
    """The ONNX, from the folder if it is there, and the network inputs of some embedded pictures."""
    inputs = blank(COCO_R50, PICTURES)
    for slot, picture in enumerate(open_dataset(EMBEDDED).pictures[1 : 1 + PICTURES]):
        letterbox(read_picture(picture), COCO_R50, inputs[slot])
    checkpoint = next(folder.glob("fcos_*.pth"), None)
    if checkpoint is None:
        import torch

        from tests.unit.seeded import save_as_2019, seeded_detector

        folder.mkdir(parents=True, exist_ok=True)
        checkpoint = save_as_2019(seeded_detector(COCO_R50, torch.from_numpy(inputs[:2])), folder)
    return onnx_artifact(Store(folder), COCO_R50, checkpoint).path / PORTABLE, inputs


def session(model: Path, setting: Setting, **options: Any) -> onnxruntime.InferenceSession:
    """A session on the CPU with a setting and further options."""
    chosen = onnxruntime.SessionOptions()
    chosen.log_severity_level = 3
    for name, value in (setting.options | options).items():
        setattr(chosen, name, value)
    for name, value in setting.entries.items():
        chosen.add_session_config_entry(name, value)
    return onnxruntime.InferenceSession(str(model), chosen, providers=["CPUExecutionProvider"])


def run(one: onnxruntime.InferenceSession, inputs: NDArray[np.float32]) -> tuple[float, list[NDArray[Any]]]:
    """Seconds per picture, and labels and dets."""
    started = time.perf_counter()
    outputs = one.run(list(COCO_R50.output_names), {COCO_R50.input_name: inputs})
    return (time.perf_counter() - started) / len(inputs), [np.asarray(output) for output in outputs]


def distance(left: list[NDArray[Any]], right: list[NDArray[Any]]) -> str:
    """How far two results are apart."""
    if not np.array_equal(left[0], right[0]):
        return "other rows"
    if np.array_equal(left[1], right[1]):
        return "the same bits"
    apart = np.abs(left[1] - right[1]).reshape(-1, 5).max(0)
    return f"{apart[:4].max():.0e} px, {apart[4]:.0e}"


def compare_settings(model: Path, offline: Path, inputs: NDArray[np.float32], rounds: int) -> None:
    """A line per setting."""
    default = session(model, Setting())
    expected = [run(default, inputs[slot : slot + 1])[1] for slot in range(PICTURES)]
    fastest = min(run(default, inputs[:1])[0] for _ in range(rounds))
    print(f"default: {fastest:.2f} s per picture at batch 1")
    for name, setting in SETTINGS.items():
        other = session(offline if setting.offline else model, setting)
        batch = inputs[: setting.batch]
        found = run(other, batch)[1]  # the first run is slower: memory is laid out
        pairs = [(run(default, inputs[:1])[0], run(other, batch)[0]) for _ in range(rounds)]
        shortest = np.min(pairs, axis=0)
        same = distance([np.concatenate(arrays) for arrays in zip(*expected[: setting.batch], strict=True)], found)
        print(f"{name:<22} {shortest[1] / shortest[0]:5.2f} x the default's time per picture, {same}", flush=True)
        del other


def describe_graph(model: Path, folder: Path, inputs: NDArray[np.float32]) -> Path:
    """Print what onnxruntime makes of the graph and where the time goes; the optimised model, saved."""
    optimised = folder / "optimised.onnx"
    profiled = session(
        model,
        Setting(),
        optimized_model_filepath=str(optimised),
        enable_profiling=True,
        profile_file_prefix=str(folder / "profile"),
    )
    for _ in range(2):
        run(profiled, inputs[:1])
    spent: Counter[str] = Counter()
    profile = Path(profiled.end_profiling())
    for event in json.loads(profile.read_text()):
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            spent[event["args"]["op_name"]] += event["dur"]
    profile.unlink()
    total = sum(spent.values())
    shares = ", ".join(f"{name} {share / total:.1%}" for name, share in spent.most_common(3))
    before, after = (Counter(node.op_type for node in onnx.load(path).graph.node) for path in (model, optimised))
    print(f"{before.total()} nodes, {after.total()} when optimised; convolutions {before['Conv']} and {after['Conv']}, "
          f"ReLU {before['Relu']} and {after['Relu']}; time: {shares}")  # fmt: skip
    return optimised


_worker: list[Any] = []


def _start_worker(model: Path, inputs: NDArray[np.float32]) -> None:
    _worker.extend([session(model, Setting(), intra_op_num_threads=1), inputs])
    run(_worker[0], inputs[:1])


def _work(slot: int) -> int:
    run(_worker[0], _worker[1][slot % PICTURES][None])
    return os.getpid()


def compare_processes(model: Path, inputs: NDArray[np.float32], rounds: int) -> None:
    """One process with a thread per core against a process per core with one thread."""
    count = os.cpu_count() or 1
    alone = session(model, Setting())
    run(alone, inputs[:1])
    context = multiprocessing.get_context("spawn")
    pictures = 3 * count
    with ProcessPoolExecutor(count, context, _start_worker, (model, inputs[:PICTURES])) as pool:
        list(pool.map(_work, range(2 * count)))
        pairs = []
        for _ in range(rounds):
            started = time.perf_counter()
            for slot in range(pictures):
                run(alone, inputs[slot % PICTURES][None])
            middle = time.perf_counter()
            list(pool.map(_work, range(pictures)))
            pairs.append((middle - started, time.perf_counter() - middle))
    shortest = np.min(pairs, axis=0)
    print(f"{count} processes of 1 thread: {shortest[1] / shortest[0]:.2f} x the time of 1 process of {count} threads")


def time_hits(model: Path, rounds: int) -> None:
    """What a picture costs that was seen before."""
    pictures = open_dataset(EMBEDDED).pictures[1 : 1 + PICTURES]
    with tempfile.TemporaryDirectory() as folder, OnnxSession(model, COCO_R50) as one:
        references = References(Path(folder), one, COCO_R50, sha256_of(model), audit_share=0)
        for name, ask in (("detections", references.detections), ("with proposals", references.with_proposals)):
            ask(pictures)
            spent = []
            for _ in range(10 * rounds):
                started = time.perf_counter()
                ask(pictures)
                spent.append((time.perf_counter() - started) / PICTURES)
            print(f"stored, {name}: {1000 * min(spent):.2f} ms per picture")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--rounds", type=int, default=3, help="runs of each setting, in turns with the default (default: 3)"
    )
    default = Path(tempfile.gettempdir()) / f"fcos-reference-speed-{os.getuid()}"
    parser.add_argument("--folder", type=path, default=default, help=f"keeps the ONNX (default: {default})")
    arguments = parser.parse_args()
    model, inputs = build(arguments.folder)
    print(
        f"onnxruntime {onnxruntime.__version__}, {os.cpu_count()} x {cpu_name()}, load {os.getloadavg()[0]:.1f} before"
    )
    started = time.process_time()
    optimised = describe_graph(model, arguments.folder, inputs)
    compare_settings(model, optimised, inputs, arguments.rounds)
    compare_processes(model, inputs, arguments.rounds)
    time_hits(model, arguments.rounds)
    print(f"{time.process_time() - started:.0f} s of CPU time in this process")


if __name__ == "__main__":
    main()
