"""The statement about a run, as types: in-toto's Statement v1 with its test-result predicate, and what this suite adds to it.

What strangers read is in the fields of in-toto. `predicate.fcos_lib` has the numbers, limits and digests behind them. Objects of
ours may have no further keys, those of in-toto may, as its specification asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field, to_builtins

from fcos_lib.evidence.schema import Count, Sha256
from fcos_lib.judge.limits import PictureSet
from fcos_lib.judge.roll_call import State
from fcos_lib.judge.verdict import Outcome
from fcos_lib.records import Form, Line, says

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://in-toto.io/attestation/test-result/v0.1"
NONE = "none"
_Status = Annotated[int, Meta(ge=0, le=255)]
_Number = float | Literal["nan", "inf", "-inf"]


class Digest(Struct):
    """in-toto's DigestSet."""

    sha256: Sha256


class Descriptor(Struct):
    """in-toto's ResourceDescriptor: something by its name in this statement and its content."""

    name: Line
    digest: Digest


class Bound(Struct, forbid_unknown_fields=True):
    """A limit, without the words that explain it: those are in limits.toml of the sources."""

    name: Line
    bound: float
    at_least: bool
    unit: Line
    derived: bool
    pictures: PictureSet | None


class GateResult(Struct, forbid_unknown_fields=True):
    """A number with its limit and its verdict."""

    key: Line
    promise: Line
    subject: Line
    name: Line
    test: Line
    value: _Number
    unit: Line
    n: Count
    interval: tuple[float, float] | None
    data_set: Annotated[dict[Line, int | Line] | None, says("Which pictures were measured, where a limit is for some.")]
    limit: Bound | None
    lacks: Line
    verdict: Outcome
    stand_in: bool


class Standing(Struct, forbid_unknown_fields=True):
    """What became of a gate of the catalogue."""

    key: Line
    promise: Line
    subject: Line
    state: State
    recorded: bool


class Unjudged(Struct, forbid_unknown_fields=True):
    """A test that failed before it could judge."""

    test: Line
    verdict: Outcome


class Tree(Struct, forbid_unknown_fields=True):
    """What one OM found in all pictures, as the root of a Merkle tree with a leaf for each."""

    subject: Line
    pictures: Sha256
    count: Count
    root: Sha256


class Machine(Struct, forbid_unknown_fields=True):
    """The device behind the numbers."""

    name: Line | None
    soc_version: Line
    driver_version: Line | None
    cann_version: Line
    stand_in: bool
    firmware_version: Annotated[Line | None, says("None in a statement or bundle that is older than this field.")] = (
        None
    )


def machine_of(device: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The device of a run as others may see it, JSON-ready; None for a run that needed none."""
    unknown = {"soc_version": "", "cann_version": "", "stand_in": False}
    names = Machine.__struct_fields__
    return {name: device.get(name) or unknown.get(name) for name in names} if device else None


class ProofScore(Struct, forbid_unknown_fields=True):
    """How good the gates of these sources are: seeded defects caught, and harmless changes left green."""

    digest: Annotated[Sha256, says("Of the record of the gate proof.")]
    caught: Count
    defects: Count
    green: Count
    controls: Count


class RunResult(Struct, forbid_unknown_fields=True):
    """What this suite adds to the predicate."""

    format: Literal[1]
    word: Annotated[Line, says("PASS, STAND-IN, FAIL, NO VERDICT, INFRA or STOPPED.")]
    stand_in: Annotated[bool, says("True if the emulator had any part in it: nothing is said about hardware.")]
    exit_status: _Status | None
    pytest_status: _Status | None
    other_failures: Count
    gates_not_run: Count
    require: list[Line]
    npu_required: bool
    started_at: Line
    python: Line
    machine: Line
    packages: dict[Line, Line | None]
    device: Machine | None
    gates: list[GateResult]
    roll: list[Standing]
    unjudged: list[Unjudged]
    detections: list[Tree]
    gateproof: ProofScore | Literal["none"]


class Predicate(Struct, rename="camel"):
    """in-toto's test-result."""

    result: Literal["PASSED", "WARNED", "FAILED"]
    configuration: list[Descriptor]
    passed_tests: list[Line]
    warned_tests: list[Line]
    failed_tests: list[Line]
    run: RunResult = field(name="fcos_lib")


class Statement(Struct):
    """in-toto's Statement."""

    type: Literal["https://in-toto.io/Statement/v1"] = field(name="_type")
    subject: Annotated[list[Descriptor], Meta(min_length=1)]
    predicate_type: Literal["https://in-toto.io/attestation/test-result/v0.1"] = field(name="predicateType")
    predicate: Predicate


STATEMENT = Form(
    Statement, "a statement of `attest`", "pass what `attest` wrote", most_bytes=16 << 20, most_values=1_000_000
)


class PictureProof(Struct, forbid_unknown_fields=True):
    """That what one OM found in a picture belongs to the root of a statement, without the other pictures."""

    subject: Line
    root: Sha256
    file: Annotated[Sha256, says("Of the picture's file.")]
    found: Annotated[Sha256, says("Of what was found in it.")]
    index: Count
    count: Count
    path: Annotated[list[Sha256], Meta(max_length=64)]


class PictureProofs(Struct, forbid_unknown_fields=True):
    """The proofs of one picture for every OM that saw it."""

    format: Literal[1]
    picture: Count
    proofs: Annotated[list[PictureProof], Meta(min_length=1, max_length=1000)]


PICTURE_PROOFS = Form(
    PictureProofs, "a proof of `attest --picture`", "pass what `attest --picture` wrote",
    most_bytes=8 << 20, most_values=100_000, version=("format", 1, 1),
)  # fmt: skip


class ProofCase(Struct, forbid_unknown_fields=True):
    """A case of the gate proof and what it came to: `caught` for a defect, `green` for a harmless change, else what went wrong."""

    name: Line
    control: bool
    verdict: str

    @property
    def right(self) -> bool:
        """True if it did what it should."""
        return self.verdict in ("caught", "green")


class GateProofRecord(Struct, forbid_unknown_fields=True):
    """gateproof.json: what the gate proof of some sources came to, case by case."""

    format: Literal[1]
    sources: Sha256
    cases: list[ProofCase]


GATEPROOF = Form(
    GateProofRecord, "a gateproof.json", "run pytest -m gateproof, which writes it",
    most_bytes=16 << 20, most_values=1_000_000, version=("format", 1, 1),
)  # fmt: skip


def plain(record: Struct) -> dict[str, Any]:
    """A record as JSON has it."""
    return dict(to_builtins(record))
