"""Network inputs and the inverse letterbox, held against what the recipe would have given.

Computed here a second time, as plainly as the recipe's `fcos_pth_preprocess.py` does it: reference and candidate share the
stream's arithmetic, so they would agree about pictures that both see wrongly.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fcos_lib.contract import InputLayout, ModelContract
from fcos_lib.measure import Measurement
from fcos_lib.stream.dataset import Picture
from fcos_lib.stream.feed import Batch
from fcos_lib.stream.letterbox import to_picture


def network_inputs(
    batches: Iterable[Batch], contract: ModelContract, layout: InputLayout
) -> tuple[Measurement, Measurement]:
    """How many pictures of the batches are not the recipe's to the last bit, and the largest error of a box's way back (px).

    The way back is that of a box around the middle half of each picture, sent to the network by the recipe's arithmetic.
    """
    wrong: list[str] = []
    errors: dict[str, float] = {}
    for batch in batches:
        for slot, (picture, place) in enumerate(zip(batch.pictures, batch.places, strict=True)):
            name = picture.path.name
            expected, left, top, width, height = recipe_input(picture, contract, layout)
            differing = int((batch.tensor[slot] != expected).sum())
            if differing:
                wrong.append(f"{name} in {differing:,} of {expected.size:,} values")
            box = np.array([[1, 1, 3, 3]]) / 4 * ([picture.width, picture.height] * 2)
            there = box * ([width / picture.width, height / picture.height] * 2) + [left, top, left, top]
            errors[name] = float(np.abs(to_picture(there.astype(np.float32), place) - box).max())
    worst = max(errors, key=lambda name: errors[name], default="")
    return (
        Measurement(
            "wrong network inputs",
            float(len(wrong)),
            "pictures",
            len(errors),
            "; ".join(wrong[:3]) + "; ..." * (len(wrong) > 3),
            gate="inputs.wrong",
        ),
        Measurement(
            "inverse letterbox error", errors.get(worst, 0.0), "px", len(errors), worst, gate="inputs.way_back"
        ),
    )


def recipe_input(
    picture: Picture, contract: ModelContract, layout: InputLayout
) -> tuple[NDArray[Any], int, int, int, int]:
    """The network's input, and where the picture lies in it: left, top, width, height. Needs a picture that can be read."""
    pixels = cv2.imread(str(picture.path), cv2.IMREAD_COLOR)
    assert pixels is not None, f"{picture.path} cannot be read"
    scale = min(contract.width / pixels.shape[1], contract.height / pixels.shape[0])
    width, height = max(1, int(pixels.shape[1] * scale)), max(1, int(pixels.shape[0] * scale))
    left, top = (contract.width - width) // 2, (contract.height - height) // 2
    resized = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)
    uint8 = layout is InputLayout.UINT8_NHWC
    around = contract.padding_bgr if uint8 else (0.0, 0.0, 0.0)
    mean, std = np.array(contract.mean_bgr, np.float32), np.array(contract.std_bgr, np.float32)
    inside = resized if uint8 else (resized.astype(np.float32) - mean) / std
    whole = cv2.copyMakeBorder(
        inside,
        top,
        contract.height - top - height,
        left,
        contract.width - left - width,
        cv2.BORDER_CONSTANT,
        value=around,
    )
    if not uint8:
        whole = (whole[..., ::-1] if contract.channel_order == "rgb" else whole).transpose(2, 0, 1)
    return whole, left, top, width, height
