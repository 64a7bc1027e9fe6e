"""How do raw network inputs become a result folder, laid out as ais_bench lays out its own?

`<stem>_0.bin` is labels int64[100], `<stem>_1.bin` is dets float32[100, 5]: output numbers from 0, one pair per picture at
any batch size, nothing for the slots that fill up the last batch (ais_bench source).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from fcos_lib.contract import ModelContract
from fcos_lib.errors import SessionError
from fcos_lib.sessions import Outputs, Session
from fcos_lib.stream.bins import load_bin, stem_of


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
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(json.dumps(content, allow_nan=False) + "\n", encoding="utf-8")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path
