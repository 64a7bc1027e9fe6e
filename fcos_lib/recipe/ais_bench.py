"""Inference over bins, as ais_bench does it, and the figures that it reports."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from fcos_lib.contract import ModelContract
from fcos_lib.errors import SessionError
from fcos_lib.files import write_whole
from fcos_lib.measure.throughput.rates import images_per_second
from fcos_lib.recipe.bins import load_bin, stem_of
from fcos_lib.stream.sessions import Outputs, Session

STAND_IN_LINE = "STAND-IN: measured on the emulator; says nothing about hardware"
_RULE = "-" * 54


def time_summary(milliseconds: Sequence[float]) -> dict[str, float | int | None]:
    """ais_bench's six figures of a list of times; None where there are no times, with a count of 0."""
    if not milliseconds:
        return dict.fromkeys(("min", "max", "mean", "median", "percentile(99%)")) | {"count": 0}
    times = np.asarray(milliseconds, np.float64)
    return {
        "min": float(times.min()),
        "max": float(times.max()),
        "mean": float(times.mean()),
        "median": float(np.median(times)),
        "percentile(99%)": float(np.percentile(times, 99)),
        "count": len(times),
    }


def performance_summary(batch: int, compute_ms: Sequence[float]) -> dict[str, Any]:
    """The figures in ais_bench's `_summary.json`. Copies to and from the device are not measured here: count 0."""
    return {
        "NPU_compute_time": time_summary(compute_ms),
        "H2D_latency": time_summary(()),
        "D2H_latency": time_summary(()),
        "npu_compute_time_list": list(compute_ms),
        "throughput": images_per_second(batch, compute_ms).value,
    }


def performance_lines(batch: int, compute_ms: Sequence[float], stand_in: bool) -> list[str]:
    """The performance summary as ais_bench prints it; the lines with numbers say STAND-IN if they are the emulator's."""
    figures = time_summary(compute_ms)
    label = "STAND-IN " if stand_in else ""
    shown = ", ".join(f"{name} = {value}" for name, value in figures.items() if name != "count")
    throughput = images_per_second(batch, compute_ms).value
    lines = [
        f"[INFO] {'Performance Summary':-^54}",
        f"[INFO] {label}NPU_compute_time (ms): {shown}",
        f"[INFO] {label}throughput 1000*batchsize.mean({batch})/NPU_compute_time.mean({figures['mean']}): {throughput}",
        f"[INFO] {_RULE}",
    ]
    return [*lines, f"[INFO] {STAND_IN_LINE}"] if stand_in else lines


def infer_bins(
    session: Session, bins: Sequence[Path], contract: ModelContract, batch: int, folder: Path
) -> dict[str, dict[str, list[str]]]:
    """Run every file in order and write its two results; ais_bench's `filesinfo`: input and output files by number.

    The last batch is filled up with its first file, as ais_bench does. `SessionError` names the files of a batch whose
    outputs break the contract.
    """
    folder.mkdir(parents=True, exist_ok=True)
    filesinfo: dict[str, dict[str, list[str]]] = {}
    with tqdm(total=len(bins), desc="infer", unit="picture", disable=None) as progress:
        for paths, outputs in _batches(session, bins, contract, batch):
            for slot, path in enumerate(paths):
                written = [folder / f"{stem_of(path.name)}_{index}.bin" for index in range(2)]
                written[0].write_bytes(outputs.labels[slot].tobytes())
                written[1].write_bytes(outputs.dets[slot].tobytes())
                filesinfo[str(len(filesinfo))] = {"infiles": [str(path)], "outfiles": [str(file) for file in written]}
            progress.update(len(paths))
    return filesinfo


def _batches(
    session: Session, bins: Sequence[Path], contract: ModelContract, batch: int
) -> Iterator[tuple[Sequence[Path], Outputs]]:
    tensor = np.empty(contract.input_shape(batch), np.float32)
    for start in range(0, len(bins), batch):
        paths = bins[start : start + batch]
        for slot, path in enumerate(paths):
            load_bin(path, tensor[slot])
        tensor[len(paths) :] = tensor[0]
        try:
            outputs = session.run(tensor)
        except SessionError as error:
            last = f" to {paths[-1].name}" if len(paths) > 1 else ""
            raise SessionError(f"{error.found} (batch of {paths[0].name}{last})", error.advice) from error
        yield paths, outputs


def summary_path(folder: Path) -> Path:
    """Where ais_bench puts the summary of a result folder: beside it."""
    return folder.with_name(f"{folder.name}_summary.json")


def write_summary(folder: Path, content: Mapping[str, Any]) -> Path:
    """Write the summary of a result folder, whole or not at all; returns its path."""
    path = summary_path(folder)
    write_whole(path, json.dumps(content, allow_nan=False).encode() + b"\n")
    return path
