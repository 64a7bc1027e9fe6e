"""A folder of network inputs becomes a result folder as ais_bench lays it out."""

import json

import numpy as np
import pytest

from fcos_lib.contract import ModelContract
from fcos_lib.errors import SessionError
from fcos_lib.recipe.ais_bench import infer_bins, summary_path, write_summary
from fcos_lib.stream.sessions import Outputs

TINY = ModelContract("tiny", ("disc",), height=2, width=3, base_channels=1, feature_channels=1, max_detections=4)


class Echo:
    """A session whose outputs tell which input each slot had."""

    def __init__(self):
        self.seen = []

    def run(self, batch):
        """Fill labels and dets with the first value of each slot."""
        first = batch[:, 0, 0, 0]
        self.seen.append(first.tolist())
        if (first < 0).any():
            raise SessionError("output 'dets' has 1 NaN", "compile again")
        labels = np.repeat(first.astype(np.int64)[:, None], 4, 1)
        return Outputs(labels, np.broadcast_to(first[:, None, None], (len(batch), 4, 5)).astype(np.float32))


@pytest.fixture
def inputs(tmp_path):
    """Five inputs, each full of its own number."""
    paths = [tmp_path / f"00{number}.v1.bin" for number in range(5)]
    for number, path in enumerate(paths):
        path.write_bytes(np.full((3, 2, 3), number, np.float32).tobytes())
    return paths


def test_the_last_batch_is_filled_up_and_its_filling_not_saved(inputs, tmp_path):
    """Each picture has its own pair of files at any batch size; the filling is the batch's first file."""
    session, folder = Echo(), tmp_path / "out" / "result"
    filesinfo = infer_bins(session, inputs, TINY, 2, folder)
    assert session.seen == [[0, 1], [2, 3], [4, 4]]
    assert sorted(path.name for path in folder.iterdir()) == [f"00{n}_{i}.bin" for n in range(5) for i in range(2)]
    for number in range(5):
        labels = np.frombuffer((folder / f"00{number}_0.bin").read_bytes(), np.int64)
        dets = np.frombuffer((folder / f"00{number}_1.bin").read_bytes(), np.float32)
        assert labels.tolist() == [number] * 4
        assert dets.tolist() == [number] * 20
    assert list(filesinfo) == ["0", "1", "2", "3", "4"]
    assert filesinfo["4"] == {
        "infiles": [str(inputs[4])],
        "outfiles": [str(folder / "004_0.bin"), str(folder / "004_1.bin")],
    }


def test_a_failure_names_the_files_of_its_batch(inputs, tmp_path):
    """NaN from the device does not say which picture it was."""
    inputs[3].write_bytes(np.full((3, 2, 3), -1, np.float32).tobytes())
    with pytest.raises(SessionError, match=r"1 NaN \(batch of 002\.v1\.bin to 003\.v1\.bin\)"):
        infer_bins(Echo(), inputs, TINY, 2, tmp_path / "result")


def test_the_summary_lies_beside_the_folder(tmp_path):
    """`result_summary.json` is a sibling, as ais_bench has it."""
    path = write_summary(tmp_path / "result", {"throughput": 1.5})
    assert path == summary_path(tmp_path / "result") == tmp_path / "result_summary.json"
    assert json.loads(path.read_text()) == {"throughput": 1.5}
    assert [entry.name for entry in tmp_path.iterdir()] == ["result_summary.json"]
