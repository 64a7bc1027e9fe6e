"""The verb `replay`: what comes of a bundle on another machine."""

from __future__ import annotations

import tempfile
from argparse import Namespace
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from fcos_lib.errors import UsageError

if TYPE_CHECKING:
    from fcos_lib.measure.coco.truth import Truth
    from fcos_lib.sharing.bundle import Bundle
    from fcos_lib.sharing.checking import Check


def replay(args: Namespace) -> int:
    """Compute what is in a bundle again, and say what is the same here; 1 if anything differs."""
    from fcos_lib.cli.terminal import say
    from fcos_lib.files import one_line
    from fcos_lib.sharing.bundle import read_bundle
    from fcos_lib.sharing.envelope import read_statement
    from fcos_lib.sharing.replay import replay_bundle, with_statement

    opened = read_bundle(args.bundle)
    manifest = opened.manifest
    word = ", STAND-IN: the candidate is the emulator's" if manifest.stand_in else ""
    say(
        one_line(
            f"{len(manifest.pictures)} pictures of {manifest.subject}, run {manifest.started_at or 'unknown'}{word}"
        )
    )
    for line in manifest.explanation:
        say(one_line(f"the run said: {line}"))
    checks = replay_bundle(opened, args.onnx)
    if args.statement:
        checks = chain(checks, with_statement(opened, read_statement(args.statement)[0]))
    if args.layers:
        checks = chain(checks, _layers_here(args, opened))
    false = 0
    for check in checks:
        say(one_line(check.line))
        false += bool(check.differs)
    print(f"{false} checks differ" if false else "nothing that could be checked differs")
    return int(false > 0)


def _layers_here(args: Namespace, bundle: Bundle) -> Iterator[Check]:
    """Whether the network compiled here from the bundle's ONNX differs from the reference by more than rounding, and where first."""
    from fcos_lib.ascend.atc_command import AtcOptions
    from fcos_lib.cli.shared import choose_device, device_held
    from fcos_lib.contract import InputLayout
    from fcos_lib.diagnosis.layers import search_layers
    from fcos_lib.diagnosis.tapped import Case
    from fcos_lib.sharing.checking import Check
    from fcos_lib.sharing.replay import models_of, picture_of
    from fcos_lib.store.artifacts import Store

    with tempfile.TemporaryDirectory(prefix="fcos-replay-") as name:
        folder = Path(name)
        args.artifacts = folder
        models = models_of(bundle, args.onnx, folder)
        pictures = [picture_of(bundle, picture, folder)[0] for picture in bundle.manifest.pictures]
        shown = tuple(picture for picture in pictures if picture is not None)
        if models is None or not shown:
            raise UsageError(
                "--layers needs an ONNX and a picture that is neither blurred nor left out",
                "ask for a bundle that was made --with onnx and with pictures",
            )
        device = choose_device(args)
        options = AtcOptions(
            device.soc_version, 1, precision_mode=bundle.manifest.precision_mode,
            aipp=bundle.manifest.layout is InputLayout.UINT8_NHWC,
        )  # fmt: skip
        case = Case(
            bundle.contract, _nothing_annotated(), shown, Store(folder / "store"), models, device.toolkit, options,
            lambda: device_held(args, device),
        )  # fmt: skip
        search = search_layers(case, shown)
    on = f"{device.soc_version}, STAND-IN: the emulator's" if device.stand_in else device.soc_version
    what = f"{len(search.layers)} layers compiled here for {on}"
    first = search.first
    if first is None:
        yield Check(f"{what}: none differs from the reference by more than rounding")
    else:
        far = f"{first.ratio:.0f} times" if first.ratio < 1e9 else "infinitely more than"
        yield Check(
            what, differs=f"the first that differs from the reference is {first.name}, {far} what fp16 explains"
        )


def _nothing_annotated() -> Truth:
    """A bundle has no annotations, and layers need none."""
    import numpy as np

    from fcos_lib.measure.coco.truth import Truth

    numbers, flags = np.zeros(0, np.int64), np.zeros(0, np.bool_)
    return Truth(numbers, {}, np.zeros((0, 4)), np.zeros(0), flags, flags, numbers, numbers, numbers, "")
