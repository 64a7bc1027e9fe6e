"""DSSE envelopes: a statement with signatures, by securesystemslib, which is imported where something is signed or verified.

The library brings the encoding that is signed and every kind of key that in-toto's own tools take. Keys are PEM files.
"""

from __future__ import annotations

import base64
import binascii
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from fcos_lib.errors import NotInstalledError, UsageError
from fcos_lib.files import read_plain
from fcos_lib.records import Form, Line
from fcos_lib.sharing.statement import STATEMENT, Statement

PAYLOAD_TYPE = "application/vnd.in-toto+json"
_KEY_BYTES = 64 << 10


class Signature(Struct):
    """A signature, in base64, and a hint at its key."""

    sig: Annotated[str, Meta(max_length=20_000)]
    keyid: Line = ""


class Envelope(Struct):
    """DSSE's envelope."""

    payload: str
    payload_type: Literal["application/vnd.in-toto+json"] = field(name="payloadType")
    signatures: Annotated[list[Signature], Meta(min_length=1, max_length=100)]


ENVELOPE = Form(
    Envelope, "a signed statement", "pass what `attest --key` wrote", most_bytes=24 << 20, most_values=1_000_000
)


def sign(payload: bytes, key: Path) -> dict[str, Any]:
    """The envelope of a statement's bytes, JSON-ready; `UsageError` for a key that cannot be read or used."""
    dsse, signer, pem = _library()
    private = _key(key, "--key", lambda data: pem.load_pem_private_key(data, None))
    try:
        envelope = dsse.Envelope(payload, PAYLOAD_TYPE, {})
        envelope.sign(signer.CryptoSigner(private))
    except Exception as error:  # each kind of key has its own errors
        raise _unusable(key, "--key", error) from error
    return dict(envelope.to_dict())


def signed_by(envelope: Envelope, public_key: Path) -> bool:
    """True if one of the signatures is of this key; `UsageError` for a key that cannot be read."""
    dsse, signer, pem = _library()
    key = _key(public_key, "--public-key", lambda data: signer.SSlibKey.from_crypto(pem.load_pem_public_key(data)))
    signed = dsse.Envelope(payload_of(envelope), envelope.payload_type, {}).pae()
    for signature in envelope.signatures:
        try:  # by every signature, since the key's id is only a hint
            key.verify_signature(
                signer.Signature(key.keyid, base64.b64decode(signature.sig, validate=True).hex()), signed
            )
            return True
        except Exception:  # whatever is wrong with it, it is not this key's
            continue
    return False


def payload_of(envelope: Envelope) -> bytes:
    """The statement's bytes; `UsageError` if they are not base64."""
    try:
        return base64.b64decode(envelope.payload, validate=True)
    except (binascii.Error, ValueError) as error:
        raise UsageError("the envelope's payload is not base64", "pass what `attest --key` wrote") from error


def read_statement(path: Path) -> tuple[Statement, Envelope | None]:
    """The statement in a file, and its envelope if it is signed; nothing is verified yet. `UsageError` if there is none."""
    document = ENVELOPE.plain(path)
    if not isinstance(document, dict) or "payloadType" not in document:
        return STATEMENT.read(path), None
    envelope = ENVELOPE.of(document, str(path))
    payload = payload_of(envelope)
    if len(payload) > STATEMENT.most_bytes:
        raise UsageError(f"the statement in {path} has more than {STATEMENT.most_bytes >> 20} MiB", STATEMENT.advice)
    where = f"the statement in {path}"
    return STATEMENT.of(STATEMENT.parse(payload, where), where), envelope


def as_text(document: object) -> bytes:
    """The bytes of a statement or an envelope, as they are written and, for a statement, signed."""
    return (json.dumps(document, indent=1, allow_nan=False) + "\n").encode()


def _library() -> tuple[Any, Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization
        from securesystemslib import dsse, signer
    except ImportError as error:
        raise NotInstalledError(
            f"signatures need securesystemslib and cryptography ({error})", "pip install 'fcos_lib[attest]'"
        ) from error
    return dsse, signer, serialization


def _key(path: Path, option: str, load: Any) -> Any:
    try:
        return load(read_plain(path, _KEY_BYTES))
    except Exception as error:  # cryptography's own, TypeError for a password, OSError
        raise _unusable(path, option, error) from error


def _unusable(path: Path, option: str, error: Exception) -> UsageError:
    why = "it is encrypted" if isinstance(error, TypeError) and "encrypted" in str(error) else type(error).__name__
    why = error.strerror or why if isinstance(error, OSError) else why
    return UsageError(
        f"the key {path} cannot be used ({why})",
        f"pass an unencrypted PEM file with {option}; nothing was written or believed",
    )
