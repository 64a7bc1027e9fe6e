"""The manifest of a bundle, as types: what is in it, whose results they are, and what was made of them where it was packed."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from fcos_lib.contract import InputLayout, ModelContract
from fcos_lib.errors import UsageError
from fcos_lib.evidence.schema import Count, Sha256
from fcos_lib.model.contract_record import contract_of as contract_of_record
from fcos_lib.model.zoo import known_contracts
from fcos_lib.records import Form, Line, plain_json, says
from fcos_lib.sharing.statement import Machine, PictureProof

MANIFEST, ONNX, OM = "manifest.json", "model.onnx", "model.om"
KEPT_VALUES = 65
"""Of each layer of the reference: its root mean square, and 64 values spread evenly over the tensor."""
_Side = Annotated[int, Meta(ge=1, le=65535)]
_Id = Annotated[int, Meta(ge=0, le=2**63 - 1)]


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
    file_sha256: Annotated[Sha256, says("Of the data set's file, whether or not it is in the bundle.")]
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
    Manifest, "the manifest of a bundle", "ask for a bundle that `bundle` wrote",
    most_bytes=8 << 20, most_values=500_000, version=("format", 1, 1),
)  # fmt: skip


def contract_of(manifest: Manifest) -> ModelContract:
    """The contract that the bundle describes, this release's or a user's own; `UsageError` for what is none, or has another's name."""
    described = {
        name: value for name, value in manifest.contract.items() if name != "candidate_names"
    }  # always the same
    contract = contract_of_record(described, "the manifest of the bundle")
    known = known_contracts().get(contract.name)
    if plain_json(json.dumps((known or contract).as_dict()).encode()) != manifest.contract:
        raise UsageError(
            f"the bundle is about a contract {contract.name!r} that differs from the one of this name in this release",
            "replay it with the sources that made it",
        )
    return known or contract
