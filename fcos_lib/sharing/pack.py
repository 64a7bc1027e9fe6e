"""Packing a bundle: both sides compute its pictures once more, and it is said whether that is what the run found."""

from __future__ import annotations

import hashlib
import io
import stat
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fcos_lib.contract import ModelContract
from fcos_lib.diagnosis.layers import runner
from fcos_lib.errors import UsageError, refusal_as
from fcos_lib.evidence.explained import explained
from fcos_lib.files import write_whole
from fcos_lib.measure.detections.causes import explain
from fcos_lib.measure.proposals.replay import replay
from fcos_lib.records import plain_json
from fcos_lib.sharing.attest import gives_root, refuse_private
from fcos_lib.sharing.bundle import (
    KEPT_VALUES,
    MANIFEST,
    MANIFEST_FORM,
    MOST_BYTES,
    Tensors,
    picture_name,
    read_members,
    tensors_name,
)
from fcos_lib.sharing.digests import found_digest, inclusion
from fcos_lib.sharing.envelope import as_text
from fcos_lib.stream.array_file import pack_arrays
from fcos_lib.stream.dataset import Picture, read_picture
from fcos_lib.stream.picture_file import read_file
from fcos_lib.stream.sessions import Detections, Outputs

_BLUR = 24
"""A blur of this share of the longer side: what is where stays visible, faces and writing do not."""
_LONGEST_TEXT = 1000
_WHOLE_DATE = (1980, 1, 1, 0, 0, 0)
_REGULAR = (stat.S_IFREG | 0o644) << 16


@dataclass(frozen=True, slots=True)
class Computed:
    """What both sides made of one picture."""

    picture: Picture
    tensor: NDArray[np.float32]
    """The reference's network input, float32[1, 3, H, W]."""
    reference: Tensors
    candidate: Tensors
    layers: NDArray[np.float32] | None
    """Values of the reference's layers, if they are kept."""


def tensors_of(outputs: Outputs, boxes: NDArray[np.float32], scores: NDArray[np.float32]) -> Tensors:
    """The first picture of a batch as one side computed it."""
    labels = outputs.labels[0].astype("<i8")
    return Tensors(labels, outputs.dets[0].astype("<f4"), boxes[0].astype("<f4"), scores[0].astype("<f4"))


def input_digest(tensor: NDArray[np.float32]) -> str:
    """SHA-256 of a network input."""
    return hashlib.sha256(np.ascontiguousarray(tensor, "<f4").tobytes()).hexdigest()


def differences_of(reference: Tensors, candidate: Tensors, name: str, contract: ModelContract) -> list[str]:
    """Every difference between both sides with its cause, a line each, those that rounding does not explain first."""
    compared = explain(
        [reference.detections], [candidate.detections], [name], contract, lambda _: (reference.boxes, reference.scores)
    )
    return [" ".join(line.split())[:_LONGEST_TEXT] for line in compared.listing().splitlines()]


def nms_differences(candidate: Tensors, contract: ModelContract) -> int:
    """Differences between the candidate's detections and what the reference's NMS makes of the candidate's proposals.

    None: whatever differs from the reference came out of the network. Some: the post-processing has a part in it.
    """
    (replayed,) = replay(candidate.boxes[None], candidate.scores[None], contract)
    compared = explain(
        [replayed], [candidate.detections], ["NMS"], contract, lambda _: (candidate.boxes, candidate.scores)
    )
    return len(compared.unexplained)


def reference_layers(
    portable: Path, contract: ModelContract, tensor: NDArray[np.float32]
) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """(names of the layers in the order of the network, float32[L, 65]) for a network input float32[1, 3, H, W].

    Few enough values to be carried, enough to see at which layer another machine departs.
    """
    import onnx

    from fcos_lib.model.taps import tapped_trunk, taps_of

    model = onnx.load(portable)
    taps = taps_of(model, contract)
    names = [tap.tensor for tap in taps]
    outputs = runner(tapped_trunk(model, names), names, contract)(tensor)
    return tuple(tap.name for tap in taps), np.stack([_kept(outputs[name]) for name in names])


def _kept(output: NDArray[np.float32]) -> NDArray[np.float32]:
    flat = output.reshape(-1)
    indices = np.linspace(0, len(flat) - 1, KEPT_VALUES - 1).astype(np.int64)
    size = np.sqrt(np.square(flat, dtype=np.float64).mean())
    return np.concatenate([[size], flat[indices]]).astype(np.float32)


def depart(kept: NDArray[np.float32], computed: NDArray[np.float32]) -> NDArray[np.float64]:
    """float64[L]: the largest difference of a layer's kept values, as a share of its root mean square; not finite is infinite."""
    with np.errstate(all="ignore"):
        apart = np.abs(kept.astype(np.float64) - computed).max(axis=1)
        share = np.where(apart == 0, 0.0, apart / np.maximum(np.abs(kept[:, 0].astype(np.float64)), 1e-30))
    return np.where(np.isnan(share), np.inf, share)


def pack_picture(
    computed: Computed, contract: ModelContract, shown: str, document: Mapping[str, Any], subject: str
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """(entry of the manifest, members by name) of a picture; `document` is the stored run, which may know what its OM found."""
    picture = computed.picture
    data = read_file(picture.path)
    digest = hashlib.sha256(data).hexdigest()
    arrays: dict[str, NDArray[Any]] = {
        f"{side}_{part}": getattr(tensors, part)
        for side, tensors in (("reference", computed.reference), ("candidate", computed.candidate))
        for part in ("labels", "dets", "boxes", "scores")
    }
    if computed.layers is not None:
        arrays["layers"] = computed.layers
    members = {tensors_name(picture.id): pack_arrays(arrays)}
    if shown == "whole":
        suffix = "png" if data[:4] == b"\x89PNG" else "jpg"
        members[picture_name(picture.id, suffix)] = data
    elif shown == "blurred":
        members[picture_name(picture.id, "jpg")] = _blurred(picture)
    return {
        "id": picture.id, "name": picture.name, "width": picture.width, "height": picture.height,
        "file_sha256": digest, "shown": shown, "input_sha256": input_digest(computed.tensor),
        "proof": _proof(picture.id, digest, computed.candidate.detections, document, subject),
        "differences": differences_of(computed.reference, computed.candidate, picture.name, contract)[:1000],
        "nms": nms_differences(computed.candidate, contract),
    }, members  # fmt: skip


def _proof(
    picture_id: int, file_sha256: str, detections: Detections, document: Mapping[str, Any], subject: str
) -> dict[str, Any] | None:
    """That this is what the run found in this file; None if it is not, or the run does not know."""
    number, files = str(picture_id), document.get("pictures", {})
    entry = next((entry for entry in document.get("detections", ()) if entry["subject"] == subject), None)
    if entry is None or files.get(number) != file_sha256 or entry["found"].get(number) != found_digest(detections):
        return None
    if not gives_root(entry, document):
        return None
    return {"subject": subject, "root": entry["root"], **inclusion(entry["found"], files, number)}


def _blurred(picture: Picture) -> bytes:
    pixels = read_picture(picture)
    blurred = cv2.GaussianBlur(pixels, (0, 0), max(pixels.shape[:2]) / _BLUR)
    written, data = cv2.imencode(".jpg", blurred)
    if not written:
        raise UsageError(f"picture {picture.path} cannot be blurred", "leave the pictures out with --no-pictures")
    return data.tobytes()


def said_of(document: Mapping[str, Any], subject: str) -> list[str]:
    """What the run's evidence says of the stages and layers that lost the mAP, a line each; empty if nobody has explained it."""
    lines = explained([record for record in document["evidence"] if record["subject"] == subject])
    return [" ".join(line.split())[:_LONGEST_TEXT] for line in lines][:1000]


def worst_of(document: Mapping[str, Any], subject: str, pictures: Sequence[Picture], most: int) -> list[Picture]:
    """The pictures in which the candidate lost most, as the run's evidence has them, at most `most`; `UsageError` without any."""
    by_name = {picture.name: picture for picture in pictures}
    losses: dict[str, float] = {}
    for record in document["evidence"]:
        if record["kind"] == "pictures" and record["subject"] == subject:
            for shown in record["data"].get("pictures") or ():
                if isinstance(shown, dict) and isinstance(shown.get("score_loss"), int | float):
                    name = str(shown.get("name"))
                    losses[name] = max(losses.get(name, 0.0), float(shown["score_loss"]))
    chosen = sorted((name for name in losses if name in by_name), key=lambda name: (-losses[name], name))[:most]
    if not chosen:
        raise UsageError(
            f"the run's evidence shows no picture of {subject}", "name pictures by their ids with --pictures"
        )
    return [by_name[name] for name in chosen]


def write_bundle(path: Path, manifest: Mapping[str, Any], members: Mapping[str, bytes]) -> None:
    """Write a bundle, whole or not at all; `members` are added to the manifest. `UsageError` if it would be too large."""
    listed = {name: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)} for name, data in members.items()}
    whole = {**manifest, "members": listed}
    refuse_private({**whole, "contract": {}, "layers": [], "explanation": []})  # names of nodes look like paths
    MANIFEST_FORM.of(plain_json(as_text(whole)), "the bundle's manifest")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for name, data in {MANIFEST: as_text(whole), **members}.items():
            entry = zipfile.ZipInfo(name, _WHOLE_DATE)
            entry.external_attr = _REGULAR
            archive.writestr(entry, data)
    data = packed.getvalue()
    if len(data) > MOST_BYTES:
        raise UsageError(
            f"the bundle would have {len(data) / (1 << 20):.0f} MiB, {MOST_BYTES >> 20} MiB are allowed",
            "take fewer pictures, or leave the models out: replay takes an ONNX from elsewhere with --onnx",
        )
    read_members(data, str(path))
    with refusal_as(UsageError, f"{path} cannot be written", "pass another --output"):
        write_whole(path, data)
