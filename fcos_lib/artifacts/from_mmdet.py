"""What mmdet itself finds in some pictures with a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fcos_lib.contract import ModelContract
from fcos_lib.model.checkpoint import verify_name
from fcos_lib.store import Artifact, Store, sha256_of
from fcos_lib.stream.dataset import Picture


def witness_artifact(store: Store, contract: ModelContract, checkpoint: Path, pictures: Sequence[Picture]) -> Artifact:
    """What mmdet itself finds in these pictures. Needs torch and mmdet only if it is not in the store yet."""
    inputs = {
        "contract": contract.as_dict(),
        "checkpoint": verify_name(checkpoint),
        "pictures": [[picture.id, picture.width, picture.height, sha256_of(picture.path)] for picture in pictures],
    }

    def build(folder: Path) -> None:
        from fcos_lib.witness import write_witness

        write_witness(folder, contract, checkpoint, pictures)

    return store.get("witness", inputs, build)
