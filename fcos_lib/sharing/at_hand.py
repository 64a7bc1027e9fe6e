"""What is at hand to check a statement with: the files of its run, where they still lie; and what a check comes to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fcos_lib.errors import FcosError
from fcos_lib.sharing.attest import artifact_name
from fcos_lib.sharing.digests import picture_list_digest
from fcos_lib.sharing.statement import Statement
from fcos_lib.store.artifacts import sha256_of
from fcos_lib.stream.dataset import ANNOTATIONS, file_digest, open_dataset


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    what: str
    differs: str = ""
    """How it differs; empty if it does not."""
    unchecked: str = ""
    """Why it could not be checked; empty if it was."""

    @property
    def line(self) -> str:
        """`differs: ...`, `not checked: ...` or `same: ...`."""
        if self.differs:
            return f"differs: {self.what}: {self.differs}"
        return f"not checked: {self.what}: {self.unchecked}" if self.unchecked else f"same: {self.what}"


def compared(what: str, stated: object, recomputed: object) -> Check:
    """Whether two values are the same."""
    same = stated == recomputed
    return Check(what, differs="" if same else f"{_short(stated)} in the statement, {_short(recomputed)} here")


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def files_of(statement: Statement, document: Mapping[str, Any]) -> Iterator[Check]:
    """The digests of the statement's subjects beside those of the run's own files."""
    paths = _places(document)
    for subject in statement.subject:
        if subject.name == "pictures":
            yield from _pictures(subject.digest.sha256, document)
            continue
        path = paths.get(subject.name)
        try:
            digest = sha256_of(path) if path else None
        except OSError:
            digest = None
        missing = "the run's file is not here" if digest is None else ""
        yield (
            Check(f"file of {subject.name}", unchecked=missing)
            if missing
            else compared(f"file of {subject.name}", subject.digest.sha256, digest)
        )


def _places(document: Mapping[str, Any]) -> dict[str, Path]:
    settings = document["run"].get("settings") or {}
    paths: dict[str, Path] = {}
    if settings.get("checkpoint"):
        paths["checkpoint"] = Path(settings["checkpoint"])
    if settings.get("dataset"):
        paths["annotations"] = Path(settings["dataset"]) / ANNOTATIONS
    for artifact in document["artifacts"]:
        folder = Path(settings.get("artifacts", "")) / artifact["kind"] / artifact["key"]
        made_from = artifact["provenance"]
        for name in artifact["files"]:
            foreign = isinstance(made_from.get("path"), str)
            paths[artifact_name(artifact, name)] = Path(made_from["path"]) if foreign else folder / name
    return paths


def _pictures(stated: str, document: Mapping[str, Any]) -> Iterator[Check]:
    """The list of pictures beside the data set's files, if the run's data set is here."""
    settings = document["run"].get("settings") or {}
    numbers = {number for entry in list(document.get("detections", ()))[:1] for number in entry["found"]}
    what = f"files of {len(numbers)} pictures"
    try:
        dataset = open_dataset(Path(settings["dataset"]))
        digests = {str(picture.id): file_digest(picture) for picture in dataset.pictures if str(picture.id) in numbers}
    except (KeyError, FcosError):
        yield Check(what, unchecked="the run's data set is not here")
        return
    yield compared(what, stated, picture_list_digest(digests))
