"""The shapes of a checkpoint's weights, read without torch and without running anything, and the contracts that they fit.

A checkpoint's pickle is looked through first (`checkpoint.check_file`); then it is read by an unpickler for which every name
in it is an inert stand-in, and of a tensor nothing but its size is kept.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, Any

from fcos_lib.contract import ModelContract
from fcos_lib.errors import CheckpointError
from fcos_lib.files import open_plain
from fcos_lib.model.checkpoint import check_file, todays_key

Shapes = Mapping[str, tuple[int, ...]]
"""The sizes of each weight, by the key that today's mmdet has for it."""
_MOST_PAIRS = 1_000_000
_BEFORE_CONTENT = 3
"""Pickles of a file of torch before 1.6: magic number, protocol, byte order and sizes."""
_BLOCKS = {18: (2, 2), 34: (4, 6), 50: (4, 6), 101: (4, 23), 152: (8, 36)}
"""Blocks of the second and third stage of a ResNet, by its depth."""


class _Inert:
    """What stands for every object that is not looked at."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        """Nothing is kept."""


class _Dict(dict[Any, Any]):
    """A dictionary that forgets its attributes."""

    def __setstate__(self, state: object) -> None:
        """Nothing is kept."""


class _Reader(pickle.Unpickler):
    """An unpickler that makes dictionaries, lists, numbers, texts and the sizes of tensors."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)
        self._pairs_left = _MOST_PAIRS

    def find_class(self, module: str, name: str) -> Callable[..., object]:
        """A stand-in for whatever the file names; nothing is imported."""
        known: dict[str, Callable[..., object]] = {
            "OrderedDict": self._dictionary, "_rebuild_tensor_v2": _size_of, "_rebuild_parameter": _first,
        }  # fmt: skip
        return known.get(name, _Inert)

    def persistent_load(self, pid: object) -> object:
        """The storage of a tensor, which is left where it is."""
        return None

    def _dictionary(self, pairs: Iterable[Any] = ()) -> _Dict:
        listed = list(pairs) if isinstance(pairs, list) else []
        self._pairs_left -= len(listed)
        if self._pairs_left < 0:
            raise ValueError(f"it makes dictionaries of more than {_MOST_PAIRS:,} pairs")
        return _Dict(listed)


def _size_of(storage: object, offset: object, size: object, *_: object) -> object:
    return size


def _first(data: object, *_: object) -> object:
    return data


def shapes_of(path: Path) -> Shapes:
    """The shapes of a checkpoint's weights; `CheckpointError` for what is no plain file of weights.

    The hash in the file's name is left to those who load it: a large file takes seconds.
    """
    try:
        check_file(path)
        content = _content(path)
        state = content.get("state_dict", content) if isinstance(content, dict) else None
        pairs = state.items() if isinstance(state, dict) else ()
        shapes = {key: size for key, size in pairs if _is_shape(key, size)}
    except Exception as error:  # an unpickler raises whatever crooked bytes lead to
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise CheckpointError(f"{path} cannot be read as plain weights ({reason})", "nothing in it was run") from error
    if not shapes:
        raise CheckpointError(f"{path} holds no state dict", "pass a checkpoint saved by mmdet")
    return {todays_key(key): size for key, size in shapes.items()}


def _content(path: Path) -> Any:
    with open_plain(path) as file:
        if file.read(2) == b"PK":
            with zipfile.ZipFile(file) as archive:
                (name,) = (name for name in archive.namelist() if name.endswith("data.pkl"))
                with archive.open(name) as member:
                    return _Reader(member).load()
        file.seek(0)
        for _ in range(_BEFORE_CONTENT):
            _Reader(file).load()
        return _Reader(file).load()


def _is_shape(key: object, size: object) -> bool:
    return isinstance(key, str) and isinstance(size, tuple) and all(type(length) is int for length in size)


def has_deformable_convolutions(shapes: Shapes) -> bool:
    """True if a layer computes offsets, as mmcv's DCN and DCNv2 do."""
    return any(".conv_offset." in key or ".conv2_offset." in key for key in shapes)


def fits(contract: ModelContract, shapes: Shapes) -> bool:
    """True if weights of these shapes may be the contract's, as far as keys and shapes tell: not the style, the input, the decoding."""
    return all(shapes.get(key) == size for key, size in _telling(contract).items())


def _telling(contract: ModelContract) -> Mapping[str, tuple[int, ...] | None]:
    """The shapes of the weights by which contracts differ; None for keys that must not be there."""
    base, features, deep = contract.base_channels, contract.feature_channels, contract.depth >= 50
    width = contract.groups * contract.group_width if contract.groups > 1 else base
    second, third = _BLOCKS[contract.depth]
    inner = width if deep else base

    def block(stage: int, index: int) -> str:
        return f"backbone.layer{stage}.{index}.bn1.weight"

    def tower(index: int) -> str:
        return f"bbox_head.cls_convs.{index}.conv.weight"

    return {
        "backbone.conv1.weight": (base, 3, 7, 7),
        "backbone.layer1.0.conv2.weight": (inner, inner // contract.groups, 3, 3),
        "backbone.layer1.0.conv3.weight": (4 * base, inner, 1, 1) if deep else None,
        block(2, second - 1): (2 * inner,),
        block(2, second): None,
        block(3, third - 1): (4 * inner,),
        block(3, third): None,
        "neck.lateral_convs.0.conv.weight": (features, (8 if deep else 2) * base, 1, 1),
        "bbox_head.conv_cls.weight": (len(contract.classes), features, 3, 3),
        "bbox_head.cls_convs.0.gn.weight": (features,) if contract.head_norm_groups else None,
        "bbox_head.cls_convs.0.conv.bias": (features,) if contract.head_conv_bias else None,
        tower(contract.stacked_convs - 1): (features, features, 3, 3),
        tower(contract.stacked_convs): None,
        f"bbox_head.scales.{len(contract.strides) - 1}.scale": (),
        f"bbox_head.scales.{len(contract.strides)}.scale": None,
    }
