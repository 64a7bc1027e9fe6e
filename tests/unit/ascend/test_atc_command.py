"""Does the command line say what differs between OMs, and is what atc cannot compile refused before it runs?"""

import pytest

from fcos_lib.ascend.atc_command import AtcOptions, check_options, command
from fcos_lib.errors import UsageError

CHIP = "Ascend310P3"


@pytest.fixture
def arguments(contract, tmp_path):
    """The argument list for some options."""
    return lambda **options: command(tmp_path / "atc", tmp_path / "a.onnx", tmp_path / "m", contract, AtcOptions(CHIP, **options))  # fmt: skip


def test_a_dynamic_batch_size_is_one_shape_and_its_profiles(arguments):
    """-1 for the batch size, the profiles sorted."""
    found = arguments(dynamic_batches=(8, 1, 4))
    assert "--input_shape=input:-1,3,4,6" in found
    assert "--dynamic_batch_size=1,4,8" in found


def test_a_fixed_batch_size_has_no_profiles(arguments):
    """The recipe's command line stays what it was."""
    assert not [option for option in arguments(batch=4) if "dynamic" in option or "implmode" in option]


def test_the_implementation_mode_is_passed_on(arguments):
    """Only if it was asked for."""
    assert "--op_select_implmode=high_precision" in arguments(batch=1, op_select_implmode="high_precision")


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
        ({"batch": 1, "extra": ("--dynamic_batch_size=1,2",)}, "cannot be passed on"),
        ({"batch": 1, "extra": ("--dynamic_b=1,2",)}, "cannot be passed on"),
        ({"batch": 1, "extra": ("--precision-mode=origin",)}, "cannot be passed on"),
        ({"batch": 1, "extra": ("--op_select_implmode=high_precision",)}, "cannot be passed on"),
    ],
)
def test_what_cannot_be_compiled_is_refused(options, words):
    """In one sentence, before atc runs for minutes."""
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
