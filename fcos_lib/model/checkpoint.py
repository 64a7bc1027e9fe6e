"""Can this `.pth` be trusted, and what weights does it hold? Never runs code from the file."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from fcos_lib.errors import CheckpointError
from fcos_lib.model.checkpoint_file import check_file
from fcos_lib.store import sha256_of

if TYPE_CHECKING:
    import torch

RENAMED = {
    "bbox_head.fcos_cls.": "bbox_head.conv_cls.",
    "bbox_head.fcos_reg.": "bbox_head.conv_reg.",
    "bbox_head.fcos_centerness.": "bbox_head.conv_centerness.",
}
"""Key prefixes of the 2019 checkpoints (mmdet 1.x) and what mmdet 3.x calls them."""

_HASHED_NAME = re.compile(r"-([0-9a-f]{8})\.pth$")


def verify_name(path: Path) -> str:
    """The file's SHA-256, after checking it against the prefix in an OpenMMLab name such as `x-a7cac5ff.pth`."""
    if not path.is_file():
        raise CheckpointError(
            f"checkpoint {path} {'is no file' if path.exists() else 'does not exist'}", "pass --checkpoint FILE.pth"
        )
    digest = sha256_of(path)
    named = _HASHED_NAME.search(path.name)
    if named and not digest.startswith(named[1]):
        raise CheckpointError(
            f"{path.name} should have a sha256 that begins with {named[1]}, and it begins with {digest[:8]}",
            "the download is damaged or the file is another one: fetch it again, or rename it if you changed it on purpose",
        )
    return digest


def check_checkpoint(path: Path) -> int:
    """The file's size, after everything that can be told of a checkpoint without torch; `CheckpointError` says what is wrong."""
    verify_name(path)
    try:
        return check_file(path)
    except Exception as error:  # pickletools raises whatever crooked bytes lead to
        raise _not_plain(path, error) from error


def read_checkpoint(path: Path) -> dict[str, torch.Tensor]:
    """The state dict of a checkpoint with today's key names; `CheckpointError` for anything that is not plain weights."""
    import torch

    size = check_checkpoint(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises UnpicklingError, RuntimeError, EOFError, ValueError, ... for bad files
        raise _not_plain(path, error) from error
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not state:
        raise CheckpointError(
            f"{path} holds no state dict", "pass a checkpoint saved by mmdet or by tools/train_shapes.py"
        )
    weights = {}
    for key, value in state.items():
        if not isinstance(value, torch.Tensor) or not isinstance(key, str):
            raise CheckpointError(
                f"{path} holds {type(value).__name__} under {key!r:.80}, not a tensor under a name",
                "pass a plain checkpoint",
            )
        if value.numel() * value.element_size() > size:
            raise CheckpointError(
                f"{path} has {key!r:.80} of shape {tuple(value.shape)!s:.80}, for which it has too few bytes",
                "it was not saved by training: pass a plain checkpoint",
            )
        for old, new in RENAMED.items():
            if key.startswith(old):
                key = new + key.removeprefix(old)
        weights[key] = value
    return weights


def _not_plain(path: Path, error: Exception) -> CheckpointError:
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return CheckpointError(
        f"{path} cannot be read as plain weights ({first[:200]})",
        "it is truncated, not a checkpoint, or holds objects that would run code; nothing in it was run",
    )
