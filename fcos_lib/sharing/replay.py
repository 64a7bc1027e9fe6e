"""Replaying a bundle: the reference and the explanation are computed again here, and held against what the bundle says."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fcos_lib.artifacts import PORTABLE
from fcos_lib.artifacts.from_onnx import foreign_onnx_artifact
from fcos_lib.errors import DatasetError, FcosError, UsageError, refusal_as
from fcos_lib.files import sha256_of
from fcos_lib.sharing.bundle import ONNX, Bundle, BundledPicture, Tensors, picture_name
from fcos_lib.sharing.checking import Check, with_picture
from fcos_lib.sharing.digests import found_digest, root_by_proof
from fcos_lib.sharing.pack import depart, differences_of, input_digest, nms_differences, reference_layers, tensors_of
from fcos_lib.sharing.statement import PictureProofs, Statement
from fcos_lib.store.artifacts import Artifact, Store
from fcos_lib.stream.dataset import Picture
from fcos_lib.stream.feed import load_batch
from fcos_lib.stream.reference_record import Record, cpu_name, difference
from fcos_lib.stream.sessions import OnnxSession


def replay_bundle(bundle: Bundle, onnx: Path | None) -> Iterator[Check]:
    """What of a bundle is the same here, differs, or could not be checked, picture by picture.

    The reference is computed with the bundle's ONNX, or with `onnx`, which has to be the same. `UsageError` if it is another
    one. Files that this needs are in a folder of its own, which is gone afterwards.
    """
    with tempfile.TemporaryDirectory(prefix="fcos-replay-") as name:
        folder = Path(name)
        models = models_of(bundle, onnx, folder)
        portable = models.path / PORTABLE if models else None
        session = OnnxSession(portable, bundle.contract) if portable else None
        for picture in bundle.manifest.pictures:
            reference, candidate, kept_layers = bundle.tensors(picture.id)
            yield _belongs(picture, candidate)
            yield from _explained(bundle, picture, reference, candidate)
            tensor, why_not = _input(bundle, picture, folder)
            if tensor is None:
                yield Check(f"{_called(picture)}: network input and reference", unchecked=why_not)
                continue
            same = input_digest(tensor) == picture.input_sha256
            yield Check(
                f"{_called(picture)}: network input",
                differs="" if same else "decoding or letterboxing gives other values here",
            )
            if session is None or portable is None:
                yield Check(f"{_called(picture)}: reference", unchecked="no ONNX is in the bundle: pass --onnx")
                continue
            with _running():
                computed = tensors_of(*session.run_and_proposals(tensor))
                layers = reference_layers(portable, bundle.contract, tensor) if kept_layers is not None else None
            yield _reference(bundle, picture, reference, computed)
            if kept_layers is not None and layers is not None:
                yield _layers(bundle, picture, kept_layers, layers)


@contextlib.contextmanager
def _running() -> Iterator[None]:
    """What onnxruntime raises over a stranger's model becomes a `UsageError`."""
    try:
        yield
    except FcosError:
        raise
    except Exception as error:  # onnxruntime has a class of its own for each kind of trouble, and none above them
        raise UsageError(
            f"onnxruntime cannot run the ONNX ({type(error).__name__}: {str(error)[:200]})",
            "ask for a bundle of another model",
        ) from error


def with_statement(bundle: Bundle, statement: Statement) -> Iterator[Check]:
    """Whether what the candidate found is what a statement is about; its signature is for `verify`."""
    for picture in bundle.manifest.pictures:
        if picture.proof is None:
            yield Check(f"{_called(picture)} in the statement", unchecked="the bundle has no proof for it")
        else:
            yield from with_picture(statement, PictureProofs(format=1, picture=picture.id, proofs=[picture.proof]))


def _called(picture: BundledPicture) -> str:
    return f"picture {picture.id}"


def models_of(bundle: Bundle, onnx: Path | None, folder: Path) -> Artifact | None:
    """Both endings of the bundle's ONNX, or of the given one, after all that is asked of a stranger's; None without one.

    They are kept below `folder`. `UsageError` if the given one is not the bundle's.
    """
    if onnx is None:
        if ONNX not in bundle.members:
            return None
        onnx = folder / ONNX
        onnx.write_bytes(bundle.members[ONNX])
    with refusal_as(UsageError, f"{onnx} cannot be read", "pass another --onnx"):
        digest = sha256_of(onnx)
    if digest != bundle.manifest.onnx:
        raise UsageError(
            f"{onnx.name} is not the ONNX that the bundle's OM was compiled from: its SHA-256 begins with {digest[:12]}, "
            f"the bundle names {bundle.manifest.onnx[:12]}",
            "pass that one with --onnx",
        )
    return foreign_onnx_artifact(Store(folder / "store"), bundle.contract, onnx)


def picture_of(bundle: Bundle, picture: BundledPicture, folder: Path) -> tuple[Picture | None, str]:
    """A picture of the bundle as a file in `folder`, or why there is none that the run saw."""
    if picture.shown != "whole":
        return None, f"the picture is {picture.shown}"
    suffix = next(end for end in ("jpg", "png") if picture_name(picture.id, end) in bundle.members)
    data = bundle.members[picture_name(picture.id, suffix)]
    if hashlib.sha256(data).hexdigest() != picture.file_sha256:
        return None, "the picture is not the file that the run saw"
    path = folder / f"{picture.id}.{suffix}"
    path.write_bytes(data)
    return Picture(picture.id, path, picture.width, picture.height), ""


def _input(bundle: Bundle, picture: BundledPicture, folder: Path) -> tuple[NDArray[np.float32] | None, str]:
    """The reference's network input of a picture, or why there is none."""
    file, why_not = picture_of(bundle, picture, folder)
    if file is None:
        return None, why_not
    try:
        return load_batch([file], bundle.contract, 1).tensor, ""
    except DatasetError as error:
        return None, error.found.replace(str(file.path), picture.name)


def _belongs(picture: BundledPicture, candidate: Tensors) -> Check:
    """Whether what the candidate found is what the run's root was made of."""
    what = f"{_called(picture)}: what the candidate found"
    if picture.proof is None:
        return Check(what, unchecked="it is not what the run found, or the run kept no digests: the bundle says so")
    digest = found_digest(candidate.detections)
    try:
        root = root_by_proof(picture.id, picture.proof, digest, picture.proof.count)
    except ValueError as error:
        return Check(what, differs=str(error))
    if (digest, picture.file_sha256, root) != (picture.proof.found, picture.proof.file, picture.proof.root):
        return Check(what, differs=f"it does not belong to the run's root {picture.proof.root[:12]}")
    return Check(f"{what} belongs to the root {root[:12]} of {picture.proof.subject}")


def _explained(bundle: Bundle, picture: BundledPicture, reference: Tensors, candidate: Tensors) -> Iterator[Check]:
    """Whether the differences between both sides and their causes come out the same here."""
    contract = bundle.contract
    now = differences_of(reference, candidate, picture.name, contract)[:1000]
    what = f"{_called(picture)}: {len(now)} differences between both sides, with their causes"
    gone, new = ([line for line in own if line not in others] for own, others in ((picture.differences, now), (now, picture.differences)))  # fmt: skip
    differs = (
        f"{len(gone)} of the bundle's do not come out here, {len(new)} others do: {(gone + new)[0]}"
        if gone or new
        else ""
    )
    yield Check(what, differs=differs)
    nms = nms_differences(candidate, contract)
    said = f"{nms} unexplained differences, which are its NMS's" if nms else "none is its NMS's"
    said += ": what differs came out of the network" if now and not nms else ""
    what = f"{_called(picture)}: the reference's NMS on the candidate's proposals: {said}"
    yield Check(what, differs="" if nms == picture.nms else f"{picture.nms} in the bundle, {nms} here")


def _reference(bundle: Bundle, picture: BundledPicture, kept: Tensors, computed: Tensors) -> Check:
    """Whether onnxruntime gives here what it gave there, within what two CPUs may differ by."""
    size = (picture.width, picture.height)
    there, here = (
        Record(size, side.detections, (side.boxes, side.scores), cpu)
        for side, cpu in ((kept, bundle.manifest.cpu), (computed, cpu_name()))
    )
    same = all(
        getattr(kept, part).tobytes() == getattr(computed, part).tobytes()
        for part in ("labels", "dets", "boxes", "scores")
    )
    what = f"{_called(picture)}: reference, {'the same bits' if same else 'within what two CPUs differ by'}"
    return Check(what, differs=difference(there, here))


def _layers(
    bundle: Bundle,
    picture: BundledPicture,
    kept: NDArray[np.float32],
    computed: tuple[tuple[str, ...], NDArray[np.float32]],
) -> Check:
    """At which layer of the reference this machine departs from the other one, and by how much."""
    names, values = computed
    if names != tuple(bundle.manifest.layers) or kept.shape != values.shape:
        return Check(f"{_called(picture)}: layers", differs="the ONNX has other layers than the bundle lists")
    apart = depart(kept, values)
    first = next((index for index, share in enumerate(apart) if share > 0), None)
    if first is None:
        return Check(f"{_called(picture)}: {len(names)} layers of the reference, the same bits")
    far = int(apart.argmax())
    return Check(
        f"{_called(picture)}: the first of {len(names)} layers of the reference that differs is {names[first]}, by "
        f"{apart[first]:.2g} of its values; most differs {names[far]}, by {apart[far]:.2g}",
        differs="" if np.isfinite(apart).all() else "values that are not finite here or there",
    )
