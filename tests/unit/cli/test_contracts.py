"""The verb `contracts` lists what `--contract` takes, and a slip of that is one of the options."""

import pytest

from fcos_lib.cli.main import build_parser, main
from fcos_lib.model.zoo import zoo


def test_every_contract_is_listed_with_its_figure_and_what_differs(capsys):
    """The suite's own and the zoo's, those that are refused with the reason; recorded fields are not told."""
    assert main(["contracts"]) == 0
    blocks, name = {}, ""
    for line in capsys.readouterr().out.splitlines():
        if line.startswith(" "):
            blocks[name] += f" {line.strip()}"
        else:
            name, blocks[line] = line, ""
    assert ["coco_r50", "shapes", "shapes_gn", *zoo()] == list(blocks)[:-1]
    assert blocks["coco_r50"] == " 800 x 1333, AP 35.9 (ModelZoo) the recipe's"
    assert blocks["fcos_r50-caffe_fpn_gn-head_1x_coco"] == " 800 x 1333, AP 36.6 (line 39) head_norm_groups 32, not 0; head_conv_bias no, not yes"  # fmt: skip
    assert blocks["fcos_r50-caffe_fpn_gn-head-center_1x_coco"].startswith(
        " 800 x 1333, no AP published head_norm_groups"
    )
    (refused,) = (text for key, text in blocks.items() if "-dcn-" in key)
    assert refused.startswith(" refused, AP 42.3 (line 65) CANN's list of ONNX operators has no deformable convolution")
    assert "classes 8 names, not 80 names" in blocks["shapes"]
    assert "center_sampling" not in " ".join(blocks.values())


def test_an_unknown_contract_is_a_slip_of_the_options(capsys):
    """Exit status 2. What else is no contract: tests/unit/model/test_zoo.py."""
    with pytest.raises(SystemExit) as ended:
        build_parser().parse_args(["export", "--checkpoint", "x.pth", "--output", "out", "--contract", "coco_r51"])
    assert ended.value.code == 2
    assert "there is no contract 'coco_r51'" in capsys.readouterr().err


def test_a_file_is_kept_by_its_whole_path(tmp_path, monkeypatch):
    """So that a run can be repeated from another folder."""
    (tmp_path / "mine.toml").write_text('name = "mine"\nclasses = ["cat"]\n')
    monkeypatch.chdir(tmp_path)
    words = ["export", "--checkpoint", "x.pth", "--output", "out", "--contract"]
    assert build_parser().parse_args([*words, "mine.toml"]).contract == str(tmp_path / "mine.toml")
    assert build_parser().parse_args([*words, "shapes"]).contract == "shapes"
