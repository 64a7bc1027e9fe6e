"""Which devices a process sees is known before anything runs, and a list that CANN would read otherwise is refused."""

import json

import pytest

from fcos_lib.ascend.npu_smi import VARIABLE, DeviceIndex, device_index, visible_ids
from fcos_lib.ascend.npu_tables import Npu
from fcos_lib.errors import DeviceError

HOST = [2, 0, 1, 3]
NPU = Npu(5, 1, None, "910B4", "OK", None, None, None, None, 0, 0)


@pytest.mark.parametrize(
    ("text", "ids"), [(None, [0, 1, 2, 3]), ("0,1,2,3", [0, 1, 2, 3]), ("1,3", [1, 3]), ("2", [2])]
)
def test_the_index_counts_the_visible_devices(text, ids):
    """All without the variable; otherwise index 0 is the first of the list."""
    assert visible_ids({} if text is None else {VARIABLE: text}, HOST) == ids


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1, 2,3", "has a blank in it"),
        ("0,,2", "has a gap in it"),
        ("", "has a gap in it"),
        ("0,1,", "has a gap in it"),
        ("0;1", "has another character in it"),
        ("-1", "has another character in it"),
        ("1,3,8", "there is no device 8"),
        ("0,1,3,4", "there is no device 4"),
        ("0,2,1", "is not in ascending order"),
        ("1,1", "is not in ascending order"),
    ],
)
def test_a_list_that_cann_reads_otherwise_is_refused(text, words):
    """It reads up to the first thing that is no logical id, and says nothing; npu-smi's NPU ids are the classic mistake."""
    with pytest.raises(DeviceError, match=words) as caught:
        visible_ids({VARIABLE: text}, HOST)
    assert f"{VARIABLE} is '{text}'" in caught.value.found
    assert "not npu-smi's NPU ids" in caught.value.advice
    assert "logical ids are 0, 1, 2, 3" in caught.value.advice


def test_an_index_says_which_chip_it_is():
    """As text; as a number, and in JSON, it is the number that ACL takes."""
    index = device_index(0, 3, NPU)
    assert f"device {index}" == "device 0 (logical 3, NPU 5 chip 1)"
    assert str(device_index(3, 3, NPU)) == "3 (NPU 5 chip 1)"
    assert str(DeviceIndex(2)) == "2"
    assert index == 0
    assert json.dumps({"index": index}) == '{"index": 0}'
