"""The witness: mmdet's own detections of some pictures, which share no code with the reference."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fcos_lib.contract import InputLayout, ModelContract
from fcos_lib.errors import StoreError
from fcos_lib.files import sha256_of
from fcos_lib.measure.detections.inputs import recipe_input
from fcos_lib.model import detector
from fcos_lib.model.checkpoint import verify_name
from fcos_lib.store.artifacts import Artifact, Store
from fcos_lib.stream.dataset import Picture, read_picture
from fcos_lib.stream.sessions import Detections

FILE, NMS = "detections.npz", "nms.txt"


def write_witness(folder: Path, contract: ModelContract, checkpoint: Path, pictures: Sequence[Picture]) -> None:
    """Let mmdet detect, picture by picture, and write what it finds, by picture id and in network pixels.

    `NotInstalledError` without torch and mmdet, `CheckpointError` for a checkpoint that does not fit, `DatasetError` for a
    picture that is broken.
    """
    network = detector.load_detector(contract, checkpoint)
    import torch

    arrays: dict[str, Any] = {}
    for picture in pictures:
        read_picture(picture)  # says what is wrong with a broken one
        tensor, *_ = recipe_input(picture, contract, InputLayout.FLOAT_NCHW)
        batch = torch.from_numpy(np.ascontiguousarray(tensor)[None])
        (detections,) = detector.predict(network, batch, contract, cut=False)
        arrays |= {
            f"boxes_{picture.id}": detections.bboxes.numpy().astype(np.float32),
            f"scores_{picture.id}": detections.scores.numpy().astype(np.float32),
            f"labels_{picture.id}": detections.labels.numpy().astype(np.int64),
        }
    np.savez(folder / FILE, **arrays)
    (folder / NMS).write_text(f"{detector.nms_of()}\n", encoding="utf-8")


def read_witness(folder: Path, pictures: Sequence[Picture]) -> dict[int, Detections]:
    """mmdet's detections by picture id, in network pixels; `StoreError` if the file does not have all of the pictures."""
    try:
        with np.load(folder / FILE, allow_pickle=False) as arrays:
            return {
                picture.id: Detections(*(arrays[f"{part}_{picture.id}"] for part in ("boxes", "scores", "labels")))
                for picture in pictures
            }
    except (OSError, ValueError, KeyError) as error:
        raise StoreError(f"{folder / FILE} does not hold mmdet's detections ({error})", f"delete {folder}") from error


def witness_artifact(store: Store, contract: ModelContract, checkpoint: Path, pictures: Sequence[Picture]) -> Artifact:
    """What mmdet itself finds in these pictures. Needs torch and mmdet only if it is not in the store yet."""
    inputs = {
        "contract": contract.as_dict(),
        "checkpoint": verify_name(checkpoint),
        "pictures": [[picture.id, picture.width, picture.height, sha256_of(picture.path)] for picture in pictures],
    }
    return store.get("witness", inputs, lambda folder: write_witness(folder, contract, checkpoint, pictures))
