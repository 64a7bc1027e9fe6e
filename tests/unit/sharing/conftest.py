"""A small stored run to be attested, with what no stranger may see planted wherever a run has room for it."""

import copy

import numpy as np
import pytest

from fcos_lib.evidence.results import write_results
from fcos_lib.judge.limits import find_limit
from fcos_lib.judge.verdict import decide
from fcos_lib.measure import Measurement
from fcos_lib.sharing.digests import detection_digests, lock_digest, tree_digest
from fcos_lib.stream.sessions import Detections

PRIVATE = "/home/me/secret-of-quentin-on-build17"


def detections(seed, count=3):
    """Some detections, boxes in picture pixels with the network's own beside them."""
    rng = np.random.default_rng(seed)
    boxes = rng.random((count, 4), np.float32)
    return Detections(2 * boxes, rng.random(count, np.float32), rng.integers(0, 3, count), boxes)


FOUND = {number: detections(number, number % 3) for number in (9, 2, 11, 5, 7)}
FILES = {str(number): f"{number:064x}" for number in FOUND}


def entry(key, value, limit, subject="batch4", **how):
    """An entry of `verdicts` with something private in each free text."""
    measured = Measurement(
        key.rpartition(".")[2], value, limit.unit if limit else "AP", 240, PRIVATE, {"file": PRIVATE}, gate=key
    )
    decided = decide(key.partition(".")[0], subject, measured, limit, stand_in=how.pop("stand_in", True), **how)
    content = decided.as_dict() | {"test": f"tests/acceptance/test_accuracy.py::test_x[{subject}]"}
    if content["limit"]:
        content["limit"] = content["limit"] | {"source": f"quentin@build17 in {PRIVATE}", "command": PRIVATE}
    return content


RUN = {
    "environment": {
        "python": "3.11.7", "platform": "Linux build17", "machine": "x86_64", "packages": {"numpy": "2.4.6", "torch": None},
        "device": {
            "stand_in": True, "device_id": 0, "name": "310P3", "soc_version": "Ascend310P3", "cann_version": "8.0-STAND-IN",
            "driver_version": "24.1", "firmware_version": "7.5",
        },
        "sources": tree_digest(), "lock": lock_digest(),
    },
    "artifacts": [
        {"kind": "onnx", "key": "a" * 20, "files": {"ascend.onnx": "1" * 64, "portable.onnx": "2" * 64}, "built": True,
         "provenance": {"checkpoint": "3" * 64, "note": PRIVATE}},
        {"kind": "om", "key": "b" * 20, "files": {"model.om": "4" * 64, "atc.log": "5" * 64}, "built": True,
         "provenance": {"batch": 4, "cann": "8.0-STAND-IN", "extra": [PRIVATE]}},
    ],
    "verdicts": [
        entry("accuracy.not_counted_once", 0.0, find_limit("accuracy", "not_counted_once")),
        entry("paired.loss", -0.001, find_limit("paired", "shapes", "loss")),
        entry("accuracy.recorded", 0.5, None),
    ],
    "unjudged": [],
    "gates": [{
        "key": "accuracy.not_counted_once", "promise": "accuracy", "name": "x", "subject": "batch4", "state": "judged",
        "why": PRIVATE, "recorded": False,
    }],
    "run": {
        "command": ["pytest", PRIVATE], "options": f"--dataset {PRIVATE}", "exit_status": 0, "pytest_status": 0,
        "started_at": "2026-11-01T10:00:00Z", "gates": 1, "gates_not_run": 0,
        "settings": {"dataset": PRIVATE, "artifacts": PRIVATE, "annotations_sha256": "6" * 64, "checkpoint": PRIVATE},
    },
    "evidence": [{"kind": "pictures", "subject": "batch4", "data": {"path": PRIVATE}}],
    "detections": [detection_digests("batch4", FOUND, FILES)],
    "pictures": FILES,
}  # fmt: skip


@pytest.fixture
def stored(tmp_path):
    """Writes that run after `change` was done to it, and returns its path."""

    def write(change=lambda document: None, name="results.json"):
        document = copy.deepcopy(RUN)
        change(document)
        write_results(tmp_path / name, **document)
        return tmp_path / name

    return write


@pytest.fixture(scope="session")
def keys(tmp_path_factory):
    """A folder with keys as PEM: `mine` and `other`, each private and .pub, an encrypted one, and what is none."""
    from cryptography.hazmat.primitives import serialization as pem
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    folder = tmp_path_factory.mktemp("keys")
    made = {"mine": ed25519.Ed25519PrivateKey.generate(), "other": ec.generate_private_key(ec.SECP256R1())}
    for name, key in made.items():
        private = key.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, pem.NoEncryption())
        (folder / name).write_bytes(private)
        public = key.public_key().public_bytes(pem.Encoding.PEM, pem.PublicFormat.SubjectPublicKeyInfo)
        (folder / f"{name}.pub").write_bytes(public)
    encrypted = made["mine"].private_bytes(
        pem.Encoding.PEM, pem.PrivateFormat.PKCS8, pem.BestAvailableEncryption(b"password")
    )
    (folder / "encrypted").write_bytes(encrypted)
    (folder / "none").write_text("no key")
    (folder / "huge").write_bytes(b"-" * 100_000)
    return folder
