"""Bundles: a zip with pictures of a run and all that both sides computed in them, read as a stranger's file.

    manifest.json               what is in it, whose results they are, and what was made of them where it was packed
    model.onnx, model.om        by choice
    pictures/ID/picture.EXT     by choice, whole or blurred
    pictures/ID/tensors.npz     raw outputs and proposals of both sides, as .npy without pickles

Members are stored, not compressed, so that nothing grows while it is read; a bundle is in memory as a whole, and no member is
ever a file's name on this machine.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import stat
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from fcos_lib.contract import IN_FILES, InputLayout, ModelContract
from fcos_lib.errors import UsageError, refusal_as
from fcos_lib.evidence.schema import Count, Sha256
from fcos_lib.files import read_plain
from fcos_lib.model.contract_record import contract_of as contract_of_record
from fcos_lib.model.zoo import known_contracts
from fcos_lib.records import Form, Line, plain_json, says
from fcos_lib.sharing.statement import Machine, PictureProof
from fcos_lib.stream.array_file import Shape, unpack_arrays
from fcos_lib.stream.sessions import Detections, Outputs

MANIFEST, ONNX, OM = "manifest.json", "model.onnx", "model.om"
KEPT_VALUES = 65
"""Of each layer of the reference: its root mean square, and 64 values spread evenly over the tensor."""
_Side = Annotated[int, Meta(ge=1, le=65535)]
_Id = Annotated[int, Meta(ge=0, le=2**63 - 1)]
MOST_BYTES = 50 << 20
"""Of a bundle: what a mail or an issue still takes."""
_MOST_MEMBERS = 2_100
_NAME = re.compile(rf"{re.escape(MANIFEST)}|{re.escape(ONNX)}|{re.escape(OM)}|pictures/(0|[1-9]\d{{0,18}})/(tensors\.npz|picture\.(jpg|png))", re.ASCII)  # fmt: skip
_ADVICE = "ask for a bundle that `bundle` wrote"


class Member(Struct, forbid_unknown_fields=True):
    """A file of the bundle."""

    sha256: Sha256
    size: Count


class BundledPicture(Struct, forbid_unknown_fields=True):
    """One picture, and what its results came to where the bundle was made."""

    id: _Id
    name: Line
    width: _Side
    height: _Side
    file_sha256: Annotated[Sha256, says("Of the dataset's file, whether or not it is in the bundle.")]
    shown: Literal["whole", "blurred", "left out"]
    input_sha256: Annotated[Sha256, says("Of the reference's network input, float32[1, 3, H, W].")]
    proof: Annotated[PictureProof | None, says("That what the candidate found belongs to the run; null: it does not.")]
    differences: Annotated[list[Line], Meta(max_length=1000), says("Between both sides, with their causes.")]
    nms: Annotated[Count, says("Differences of the candidate's NMS to the reference's on the same proposals.")]


class Manifest(Struct, forbid_unknown_fields=True):
    """What manifest.json of a bundle holds."""

    format: Literal[1]
    subject: Line
    batch: Annotated[int, Meta(ge=1, le=1024)]
    layout: InputLayout
    contract: dict[str, Any]
    stand_in: Annotated[bool, says("True if the candidate is the emulator's: nothing is said about hardware.")]
    device: Machine | None
    cpu: Annotated[Line, says("Where the reference was computed.")]
    sources: Annotated[Sha256 | None, says("Of the checkout that ran; null: the run does not say.")]
    started_at: Line
    onnx: Annotated[Sha256, says("Of the ONNX that atc was given, whether or not it is in the bundle.")]
    om: Annotated[Sha256, says("Of the OM under test.")]
    precision_mode: Annotated[Line, says("atc's; empty: none was passed.")]
    explanation: Annotated[list[Line], Meta(max_length=1000), says("What `explain` or a red gate found of this OM in the run, if any.")]  # fmt: skip
    layers: Annotated[list[Line], Meta(max_length=2000), says("Of the reference, as far as their values are kept.")]
    pictures: Annotated[list[BundledPicture], Meta(min_length=1, max_length=1000)]
    members: Annotated[dict[Line, Member], says("Every file but this one, by name.")]


MANIFEST_FORM = Form(
    Manifest, "the manifest of a bundle", _ADVICE,
    most_bytes=8 << 20, most_values=500_000, version=("format", 1, 1),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tensors:
    """What one side computed in a picture, in network pixels."""

    labels: NDArray[np.int64]
    """int64[100]"""
    dets: NDArray[np.float32]
    """float32[100, 5]"""
    boxes: NDArray[np.float32]
    """float32[M, 4]: the proposals"""
    scores: NDArray[np.float32]
    """float32[M, C]"""

    @property
    def detections(self) -> Detections:
        """The used rows of the outputs."""
        return Outputs(self.labels[None], self.dets[None]).detections(0)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that was read: every member is there, is the manifest's, and nothing else is."""

    manifest: Manifest
    contract: ModelContract
    members: Mapping[str, bytes]

    def tensors(self, picture_id: int) -> tuple[Tensors, Tensors, NDArray[np.float32] | None]:
        """(the reference's, the candidate's, values of the reference's layers if they are kept) of a picture; `UsageError`."""
        contract, wanted = self.contract, dict[str, tuple[str, Shape]]()
        for side in ("reference", "candidate"):
            wanted |= {
                f"{side}_labels": ("<i8", (contract.max_detections,)),
                f"{side}_dets": ("<f4", (contract.max_detections, 5)),
                f"{side}_boxes": ("<f4", (contract.proposals, 4)),
                f"{side}_scores": ("<f4", (contract.proposals, len(contract.classes))),
            }
        wanted["layers"] = ("<f4", ("layers", KEPT_VALUES))
        name = tensors_name(picture_id)
        try:
            arrays = unpack_arrays(self.members[name], wanted, {"layers": len(self.manifest.layers)}, ("layers",))
        except ValueError as error:
            raise UsageError(f"{name} of the bundle cannot be read ({error})", _ADVICE) from error
        sides = (
            Tensors(*(arrays[f"{side}_{part}"] for part in ("labels", "dets", "boxes", "scores")))
            for side in ("reference", "candidate")
        )
        return (*sides, arrays.get("layers"))  # type: ignore[return-value]  # a generator has no length


def tensors_name(picture_id: int) -> str:
    """The member that holds a picture's tensors."""
    return f"pictures/{picture_id}/tensors.npz"


def picture_name(picture_id: int, suffix: str) -> str:
    """The member that holds a picture: `suffix` is jpg or png."""
    return f"pictures/{picture_id}/picture.{suffix}"


def read_bundle(path: Path) -> Bundle:
    """The bundle in a file, checked as a whole; `UsageError` says what is wrong. Nothing is written."""
    with refusal_as(UsageError, f"{path} cannot be read as a bundle", _ADVICE):
        data = read_plain(path, MOST_BYTES)
    return read_members(data, str(path))


def read_members(data: bytes, where: str) -> Bundle:
    """The bundle in these bytes; errors as of `read_bundle`."""
    try:
        members = _members(data)
    except Exception as error:  # zipfile and struct raise whatever they stumble over
        raise UsageError(f"{where} is not a bundle ({str(error)[:200]})", _ADVICE) from error
    if MANIFEST not in members:
        raise UsageError(f"{where} is not a bundle (it has no {MANIFEST})", _ADVICE)
    head = members.pop(MANIFEST)
    if len(head) > MANIFEST_FORM.most_bytes:
        raise UsageError(f"{where} has a manifest of more than {MANIFEST_FORM.most_bytes >> 20} MiB", _ADVICE)
    manifest = MANIFEST_FORM.of(MANIFEST_FORM.parse(head, f"the manifest of {where}"), f"the manifest of {where}")
    for name in sorted({*members, *manifest.members}):
        there, listed = members.get(name), manifest.members.get(name)
        if there is None or listed is None:
            raise UsageError(f"{name} of {where} is {'not there' if there is None else 'not in its manifest'}", _ADVICE)
        if len(there) != listed.size or hashlib.sha256(there).hexdigest() != listed.sha256:
            raise UsageError(f"{name} of {where} is not what its manifest says: it was changed or damaged", _ADVICE)
    ids = [picture.id for picture in manifest.pictures]
    expected = {tensors_name(number) for number in ids}
    shown = {picture.id for picture in manifest.pictures if picture.shown != "left out"}
    pictures = [name for name in members if name.startswith("pictures/") and name not in expected]
    if (
        len(set(ids)) != len(ids)
        or not expected <= members.keys()
        or sorted(int(name.split("/")[1]) for name in pictures) != sorted(shown)
    ):
        raise UsageError(f"the pictures of {where} are not those of its manifest, each once", _ADVICE)
    return Bundle(manifest, contract_of(manifest), members)


def _members(data: bytes) -> dict[str, bytes]:
    """Members by name; `ValueError` for one that no bundle of ours has."""
    members: dict[str, bytes] = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
        if len(entries) > _MOST_MEMBERS:
            raise ValueError(f"it has {len(entries)} members, at most {_MOST_MEMBERS} are expected")
        left = len(data)
        for entry in entries:
            if not _NAME.fullmatch(entry.orig_filename):
                raise ValueError(f"it has a member {entry.orig_filename[:80]!a}")
            if entry.filename in members:
                raise ValueError(f"it has {entry.filename} twice")
            kind = stat.S_IFMT(entry.external_attr >> 16)
            if kind not in (0, stat.S_IFREG):
                raise ValueError(f"{entry.filename} is no plain file")
            if (
                entry.compress_type != zipfile.ZIP_STORED
                or entry.flag_bits & 1
                or entry.file_size != entry.compress_size
            ):
                raise ValueError(f"{entry.filename} is compressed or encrypted")
            left -= entry.file_size
            if left < 0:
                raise ValueError("its members have more bytes than the file")
            members[entry.filename] = archive.read(entry)
    return members


def contract_of(manifest: Manifest) -> ModelContract:
    """The contract that the bundle describes, this release's or a user's own; `UsageError` for what is none, or has another's name."""
    described = {
        name: value for name, value in manifest.contract.items() if name != IN_FILES["proposal_names"]
    }  # always the same
    contract = contract_of_record(described, "the manifest of the bundle")
    known = known_contracts().get(contract.name)
    if plain_json(json.dumps((known or contract).as_dict()).encode()) != manifest.contract:
        raise UsageError(
            f"the bundle is about a contract {contract.name!r} that differs from the one of this name in this release",
            "replay it with the sources that made it",
        )
    return known or contract
