"""The AIPP configuration is the contract's, and travels with the OM that was compiled with it."""

import hashlib
import re
from dataclasses import replace
from decimal import Decimal

import pytest

from fcos_lib.artifacts import ASCEND
from fcos_lib.artifacts.om import om_artifact
from fcos_lib.ascend.atc import AtcOptions, compile_om
from fcos_lib.ascend.atc_command import aipp_config
from fcos_lib.ascend.toolkit import Toolkit
from fcos_lib.contract import COCO_R50, InputLayout
from fcos_lib.store.artifacts import Artifact, Store

OPTIONS = AtcOptions("Ascend310P3", 4, aipp=True)
FLOAT = AtcOptions("Ascend310P3", 4)


def fields(text):
    """The configuration as name → value."""
    return dict(re.findall(r"^ +(\w+): (\S+)$", text, re.MULTILINE))


@pytest.fixture
def toolkit(script):
    """A toolkit whose atc writes its command line into the OM."""
    body = 'for a; do case "$a" in --output=*) out="${a#--output=}";; esac; done; echo "$@" > "$out.om"'
    return Toolkit(atc=script("atc", body))


@pytest.fixture
def onnx(tmp_path):
    """A file that stands for the ascend ending."""
    path = tmp_path / ASCEND
    path.write_bytes(b"onnx")
    return path


def test_the_config_is_the_recipes_preprocessing():
    """BGR bytes of the network's size, no swap, no conversion, the mean in two parts, standard deviation 1."""
    assert fields(aipp_config(COCO_R50)) == {
        "aipp_mode": "static", "related_input_rank": "0", "input_format": "RGB888_U8",
        "src_image_size_w": "1333", "src_image_size_h": "800",
        "csc_switch": "false", "rbuv_swap_switch": "false",
        "mean_chn_0": "102", "mean_chn_1": "115", "mean_chn_2": "122",
        "min_chn_0": "0.9801", "min_chn_1": "0.9465", "min_chn_2": "0.7717",
        "var_reci_chn_0": "1.0", "var_reci_chn_1": "1.0", "var_reci_chn_2": "1.0",
    }  # fmt: skip


@pytest.mark.parametrize("mean", [(1.0, 0.25, 254.9999), (103.53, 116.28, 123.675)])
def test_the_two_parts_add_up_to_the_contracts_mean(mean):
    """To the last digit, whatever the contract says."""
    config = fields(aipp_config(replace(COCO_R50, mean_bgr=mean)))
    for channel, value in enumerate(mean):
        parts = config[f"mean_chn_{channel}"], config[f"min_chn_{channel}"]
        assert Decimal(parts[0]) + Decimal(parts[1]) == Decimal(str(value)), f"channel {channel} is {parts}"
        assert parts[0].isdecimal(), "mean_chn holds integers only"


def test_an_rgb_contract_swaps_and_divides_on_the_device():
    """Mean, rest and factor count channels after the swap: what was red's is the first."""
    rgb = replace(COCO_R50, mean_bgr=(103.53, 116.28, 123.675), std_bgr=(57.375, 57.12, 58.395), channel_order="rgb")
    text = aipp_config(rgb)
    config = fields(text)
    assert config["rbuv_swap_switch"] == "true"
    assert [config[f"mean_chn_{channel}"] for channel in range(3)] == ["123", "116", "103"]
    assert [config[f"min_chn_{channel}"] for channel in range(3)] == ["0.675", "0.28", "0.53"]
    factors = [float(config[f"var_reci_chn_{channel}"]) for channel in range(3)]
    assert factors == pytest.approx([1 / 58.395, 1 / 57.12, 1 / 57.375], rel=1e-9), f"factors are {factors}"
    assert text.startswith("# Contract 'coco_r50': BGR bytes in, minus the mean, over the deviation, RGB planes out.")


def test_the_recipes_config_is_the_same_text_as_ever():
    """It is part of the key of each OM with AIPP: the digest was written down before there were other contracts."""
    digest = hashlib.sha256(aipp_config(COCO_R50).encode()).hexdigest()[:20]
    assert digest == "b60c7a3980765a62795f", f"the configuration of coco_r50 has the digest {digest}"


def test_the_config_is_kept_beside_the_om(contract, tmp_path, toolkit, onnx):
    """What the device does to a picture can be read where the OM lies."""
    om = compile_om(toolkit, onnx, tmp_path / "out", contract, OPTIONS)
    assert om.with_name("aipp.cfg").read_text() == aipp_config(contract)
    assert f"--insert_op_conf={tmp_path}/out/aipp.cfg" in om.read_text()


def test_an_om_with_aipp_is_another_artifact(contract, tmp_path, toolkit, onnx):
    """Key, files and provenance differ from those of the float OM."""
    store, models = Store(tmp_path / "store"), Artifact(tmp_path, "onnx", "k", {}, {ASCEND: "hash"}, built=True)
    with_aipp = om_artifact(store, models, contract, toolkit, OPTIONS)
    without = om_artifact(store, models, contract, toolkit, FLOAT)
    assert with_aipp.key != without.key
    assert sorted(with_aipp.files) == ["aipp.cfg", "atc.log", "model.om"]
    assert sorted(without.files) == ["atc.log", "model.om"]
    assert with_aipp.provenance["input_layout"] == InputLayout.UINT8_NHWC.value == "uint8 NHWC (AIPP)"
    assert "mean_chn_0: 102" in with_aipp.provenance["aipp"]
    assert without.provenance["input_layout"] == "float32 NCHW"
    assert without.provenance["aipp"] is None


def test_a_file_that_an_option_names_is_part_of_the_key(contract, tmp_path, toolkit, onnx):
    """atc reads it: with another content it makes another OM, under the same name."""
    store, models = Store(tmp_path / "store"), Artifact(tmp_path, "onnx", "k", {}, {ASCEND: "hash"}, built=True)
    switches, keys = tmp_path / "fusion.cfg", []
    options = replace(FLOAT, extra=(f"--fusion_switch_file={switches}", "--optypelist_for_implmode=Sigmoid"))
    for text in ("a", "b", "a"):
        switches.write_text(text)
        keys.append(om_artifact(store, models, contract, toolkit, options).key)
    assert keys[0] != keys[1], "the OM of another file is served"
    assert keys[0] == keys[2]
