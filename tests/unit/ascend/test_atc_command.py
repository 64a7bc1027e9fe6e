"""The command line says what differs between OMs, and what atc cannot compile is refused before it runs."""

from pathlib import Path

import pytest

from fcos_lib.ascend.atc_command import AtcOptions, check_options, command
from fcos_lib.errors import UsageError

CHIP = "Ascend310P3"
REFUSED = (
    "--dynamic_batch_size=1,2", "--dynamic_b=1,2", "--precision-mode=origin", "--op_select_implmode=high_precision",
    "--out-nodes=dets;labels", "--insert-op-conf=mine.cfg", "--soc_version=Ascend310", "--debug", "log=debug", "x",
)  # fmt: skip
"""Further options that replace what the contract or this run decides, or are none."""


@pytest.fixture
def arguments(contract):
    """The argument list for some options."""
    paths = Path("/cann/atc"), Path("/in/a.onnx"), Path("/out/model")
    return lambda **options: command(*paths, contract, AtcOptions(CHIP, **options))


def test_the_command_is_the_one_of_the_recipe(arguments):
    """Every option that decides what the OM is, as an argument list without quotes, and nothing that was not asked for."""
    assert arguments(batch=4) == [
        "/cann/atc",
        "--framework=5",
        "--model=/in/a.onnx",
        "--output=/out/model",
        "--input_format=NCHW",
        "--input_shape=input:4,3,4,6",
        "--out_nodes=labels;dets",
        "--soc_version=Ascend310P3",
        "--precision_mode=force_fp16",
        "--log=error",
    ]


@pytest.mark.parametrize(
    ("options", "there"),
    [
        ({"dynamic_batches": (8, 1, 4)}, ["--input_shape=input:-1,3,4,6", "--dynamic_batch_size=1,4,8"]),
        ({"batch": 1, "op_select_implmode": "high_precision"}, ["--op_select_implmode=high_precision"]),
        ({"batch": 4, "aipp": True}, ["--insert_op_conf=/out/aipp.cfg", "--input_shape=input:4,3,4,6"]),
        ({"batch": 1, "proposals": True, "taps": ("p3", "t")}, ["--out_nodes=labels;dets;boxes;scores;p3;t"]),
        (
            {"batch": 1, "precision_mode": "", "extra": ("--precision_mode_v2=origin", "--log=debug")},
            ["--precision_mode_v2=origin", "--log=debug"],
        ),
    ],
    ids=["profiles", "implementation", "aipp", "taps", "extra"],
)
def test_what_was_asked_for_is_passed_on(arguments, options, there):
    """Profiles sorted, AIPP's file beside the output, taps last; `extra` may add options and another log level."""
    command_line = arguments(**options)
    assert set(there) <= set(command_line), f"{there} is not in {command_line}"
    names = [argument.partition("=")[0] for argument in command_line]
    assert len(set(names)) == len(names), f"an option is there twice: {command_line}"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dynamic_batches": (4,)}, "1 profiles"),
        ({"dynamic_batches": (4, 4)}, "2 profiles"),
        ({"dynamic_batches": (0, 4)}, "2 profiles"),
        ({"dynamic_batches": tuple(range(1, 102))}, "101 profiles"),
        ({"dynamic_batches": (1, 4), "batch": 4}, "batch size 4 is fixed"),
        ({"dynamic_batches": (1, 4), "aipp": True}, "with AIPP"),
        ({}, "batch size 0"),
        ({"batch": 1, "extra": ("--precision_mode_v2=fp16",)}, "excludes --precision_mode=force_fp16"),
        *(({"batch": 1, "extra": (option,)}, "cannot be passed on") for option in REFUSED),
    ],
)
def test_what_cannot_be_compiled_is_refused(options, words):
    """In one sentence, before atc runs for minutes: an OM of another output order or chip would carry the wrong key."""
    with pytest.raises(UsageError, match=words):
        check_options(AtcOptions(CHIP, **options))


@pytest.mark.parametrize(
    ("options", "keeps"),
    [
        ({}, False),
        ({"precision_mode": "must_keep_origin_dtype"}, True),
        ({"precision_mode": "allow_mix_precision"}, False),
        ({"precision_mode": "", "extra": ("--log=debug", "--precision_mode_v2=origin")}, True),
        ({"precision_mode": "", "extra": ("--precision_mode_v2=fp16",)}, False),
        ({"precision_mode": ""}, False),
    ],
)
def test_an_om_keeps_float32_if_either_precision_option_says_so(options, keeps):
    """Such an OM may come to what the reference does, and is no copy of it."""
    assert AtcOptions(CHIP, 1, **options).keeps_float32 is keeps
