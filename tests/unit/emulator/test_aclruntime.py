"""The runtime has the surface, the texts and the failures of all generations of aclruntime."""

import threading
from pathlib import Path

import numpy as np
import pytest

from fcos_lib.emulator import aclruntime
from tests.unit.emulator.runtime import NAMES, base_tensors, on_host

ROOT = Path(__file__).parents[3]
GENERATIONS = ["new", "old", "0.0.3"]


def test_the_module_says_that_it_is_a_stand_in():
    """The attribute that no real aclruntime has."""
    assert aclruntime.STAND_IN is True


SURFACE = {
    "old": {"reset_sumaryinfo"},
    "new": {"reset_sumaryinfo", "free_resource"},
    "0.0.3": {"reset_summaryinfo", "free_resource"},
}


@pytest.mark.parametrize("generation", GENERATIONS)
def test_generations_can_be_told_apart_by_their_features(play, generation):
    """Two of the three call themselves 0.0.2, so the names are all there is; docs/runtime.md lists them."""
    play(f"generation={generation}")
    names = {name for name in set().union(*SURFACE.values()) if hasattr(aclruntime.InferenceSession, name)}
    assert names == SURFACE[generation]
    page = (ROOT / "docs" / "runtime.md").read_text(encoding="utf-8")
    for name in names:
        assert f"`{name}`" in page, f"{name} is not in docs/runtime.md"


def test_enumerations_have_acls_numbers():
    """Which is all that a description says of a type."""
    assert (int(aclruntime.dtype.int64), int(aclruntime.dtype.uint8)) == (9, 4)
    with pytest.raises(AttributeError):
        aclruntime.float128  # noqa: B018 - looked up for the error alone


@pytest.mark.parametrize("generation", GENERATIONS)
def test_a_session_describes_its_tensors(load, generation):
    """Names, ACL types, shapes and bytes, in the order of out_nodes."""
    session = load(f"generation={generation}")
    (given,) = session.get_inputs()
    assert (given.name, given.datatype, given.shape, given.size) == (
        "input",
        aclruntime.dtype.float32,
        [2, 3, 16, 16],
        6144,
    )
    assert [desc.name for desc in session.get_outputs()] == NAMES
    assert [desc.realsize for desc in session.get_outputs()] == [160, 400]


@pytest.mark.parametrize("generation", GENERATIONS)
def test_outputs_are_on_the_device_until_they_are_fetched(load, pictures, generation):
    """numpy makes an array of one object of them, without a word, then gets labels int64 and dets float32."""
    labels, dets = load(f"generation={generation}").run(NAMES, base_tensors(pictures))
    assert (np.array(labels).dtype, np.array(labels).shape) == (object, ())
    labels.to_host()
    dets.to_host()
    assert (np.array(labels).dtype, np.array(labels).shape) == (np.int64, (2, 10))
    assert (np.array(dets).dtype, np.array(dets).shape) == (np.float32, (2, 10, 5))


def test_only_the_asked_outputs_come_back(load, pictures):
    """In the order in which they are named; none if none is."""
    session = load()
    (dets,) = session.run(NAMES[1:], base_tensors(pictures))
    dets.to_host()
    assert np.array(dets).shape == (2, 10, 5)
    assert session.run([], base_tensors(pictures)) == []


def test_a_base_tensor_reads_the_address_at_the_time_of_the_call(load, pictures):
    """It keeps no copy: a buffer that changed meanwhile changes the result."""
    session, feeds = load(), base_tensors(pictures)
    before = on_host(session.run(NAMES, feeds))[1]
    pictures *= -1
    assert not np.array_equal(on_host(session.run(NAMES, feeds))[1], before)


@pytest.mark.parametrize(("generation", "word"), [("new", "check"), ("old", "Check"), ("0.0.3", "check")])
def test_inputs_are_checked_by_their_bytes(load, pictures, capfd, generation, word):
    """Half the bytes fail with the module's words."""
    session = load(f"generation={generation}")
    with pytest.raises(RuntimeError) as caught:
        session.run(NAMES, [aclruntime.BaseTensor(pictures.ctypes.data, pictures.nbytes // 2)])
    assert str(caught.value) == "[-1][ACL: general failure] "
    out = capfd.readouterr().out
    assert f"[ERROR] {word} i:0 name:input in size:3072 needsize:6144 not match\n" in out
    assert "check input vector failed ret:-1" in out


def test_inputs_are_checked_by_nothing_else(load, pictures):
    """int32 of the same size runs and yields garbage, as on the device."""
    wrong = np.ascontiguousarray(pictures.astype(np.int32))
    labels, _ = on_host(load().run(NAMES, base_tensors(wrong)))
    assert labels.shape == (2, 10)


def test_an_unknown_output_is_refused(load, pictures, capfd):
    """By name, on stdout."""
    with pytest.raises(RuntimeError, match="general failure"):
        load().run(["boxes"], base_tensors(pictures))
    assert "outnames boxes not valid" in capfd.readouterr().out


@pytest.mark.parametrize(("generation", "pair"), [("new", True), ("old", False), ("0.0.3", True)])
def test_an_execution_has_its_times(load, pictures, generation, pair):
    """(start, end) in ms since the session began, as float32, or one duration until 2023; until they are reset, in one spelling."""
    session = load(f"generation={generation}")
    for _ in range(3):
        session.run(NAMES, base_tensors(pictures))
    times = session.sumary().exec_time_list
    assert len(times) == 3, f"three runs have {len(times)} times"
    assert all(isinstance(entry, tuple) is pair for entry in times), times
    if pair:
        assert all(0 <= start <= end for start, end in times), f"a run ends before it begins: {times}"
        assert all(value == float(np.float32(value)) for entry in times for value in entry), (
            "they are stored as float32"
        )
    (session.reset_summaryinfo if generation == "0.0.3" else session.reset_sumaryinfo)()
    assert session.sumary().exec_time_list == []


def test_the_life_of_a_session_is_told_on_stdout(load, capfd):
    """Every line of success, past sys.stdout, as printf does."""
    session = load()
    session.free_resource()
    session.free_resource()
    lines = capfd.readouterr().out.splitlines()
    for line in (
        "[INFO] open device 0 success",
        "[INFO] create model description success",
    ):
        assert line in lines
    assert sum(line.startswith("[INFO] unload model success, model Id is ") for line in lines) == 1


@pytest.mark.parametrize(
    ("scenario", "text"),
    [
        ("load=soc", "ModelCheckCompatibility failed, supported socVersion=Ascend310P3"),
        ("load=soc_old", "index:0 > stream_list.size(): 0, check invalid[FUNC:SetStream]"),
        ("load=opp", "The opp version of the model does not match the current opp run package"),
        ("chip=910B4", "supported socVersion=Ascend910B4, but the model socVersion=Ascend310P3"),
    ],
    ids=["soc", "soc_old", "opp", "other_chip"],
)
def test_every_refusal_is_the_same_exception(load, capfd, scenario, text):
    """The cause is only on stdout."""
    with pytest.raises(RuntimeError) as caught:
        load(scenario)
    assert str(caught.value) == "[1][ACL: invalid parameter] "
    out = capfd.readouterr().out
    cause, failed = out.index(text), out.index("[ERROR] load model from file failed, model file is ")
    assert cause < failed, f"the cause is at {cause}, behind the failure at {failed}"
    assert "[WARN] Check failed:processModel->LoadModelFromFile(modelPath), ret:1" in out


@pytest.mark.parametrize("generation", GENERATIONS)
def test_a_truncated_om_does_not_load(load, tmp_path, generation):
    """The exception is that of every other refusal."""
    data = (tmp_path / "out.om").read_bytes()
    (tmp_path / "half.om").write_bytes(data[: len(data) // 2])
    with pytest.raises(RuntimeError) as caught:
        load(f"generation={generation}", path=tmp_path / "half.om")
    assert str(caught.value) == "[1][ACL: invalid parameter] "


def test_a_missing_om_is_found_early_by_the_new_generation(load, tmp_path):
    """The old one finds out when loading."""
    with pytest.raises(RuntimeError, match="please check model path"):
        load("generation=new", path=tmp_path / "none.om")
    with pytest.raises(RuntimeError, match="ACL: invalid parameter"):
        load("generation=old", path=tmp_path / "none.om")


def test_the_new_generation_refuses_files_that_others_may_write(load, tmp_path):
    """Links, group-writable files and names without .om."""
    original = tmp_path / "out.om"
    (tmp_path / "link.om").symlink_to(original)
    (tmp_path / "shared.om").write_bytes(original.read_bytes())
    (tmp_path / "shared.om").chmod(0o664)
    (tmp_path / "out.bin").write_bytes(original.read_bytes())
    for name in ("link.om", "shared.om", "out.bin"):
        with pytest.raises(RuntimeError, match="please check model path"):
            load(path=tmp_path / name)


def test_options_are_validated(load):
    """By the constructor of the new generation."""
    options = aclruntime.session_options()
    options.log_level = 5
    with pytest.raises(RuntimeError, match=r"log level out of range\. Please check\."):
        load(options=options)


def test_a_device_that_is_not_there_cannot_be_opened(load, capfd):
    """310P3 has devices 0 and 1 here; above 255 the number itself is refused."""
    load(device=1)
    with pytest.raises(RuntimeError, match="107001"):
        load(device=2)
    out = capfd.readouterr().out
    assert "invalid device id" in out
    assert "[ERROR] acl open device 2 failed" in out
    with pytest.raises(RuntimeError, match="device id is out of range"):
        load(device=256)


@pytest.mark.parametrize(
    ("visible", "opened", "refused"),
    [("1", [0], 1), ("0,1", [0, 1], 2), ("0,8", [0], 1), ("0, 1", [0], 1), ("", [], 0)],
    ids=["second", "both", "unknown", "blank", "empty"],
)
def test_the_index_counts_what_is_visible(load, monkeypatch, capfd, visible, opened, refused):
    """As CANN reads ASCEND_RT_VISIBLE_DEVICES: up to the first thing that is no logical id, without a word."""
    monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", visible)
    for index in opened:
        load(device=index)
    with pytest.raises(RuntimeError, match="107001"):
        load(device=refused)
    assert f"input visible devices:{len(opened)}" in capfd.readouterr().out


def test_a_list_that_does_not_rise_leaves_no_device(load, monkeypatch, capfd):
    """Since CANN 8; nothing can be opened."""
    monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", "1,0")
    with pytest.raises(RuntimeError, match="207004"):
        load()
    assert "it must be configured in ascending order" in capfd.readouterr().out


def test_every_card_is_a_device(load, pictures):
    """Each with a process of its own, and none beyond them."""
    first, second = (on_host(load(device=number).run(NAMES, base_tensors(pictures)))[1] for number in range(2))
    np.testing.assert_array_equal(first, second)
    with pytest.raises(RuntimeError):
        load("cards=1", device=1)


def test_a_static_om_has_no_dynamic_batch(load, capfd):
    """set_staticbatch() is 0; a batch size is refused."""
    session = load()
    assert session.set_staticbatch() == 0
    with pytest.raises(RuntimeError, match="general failure"):
        session.set_dynamic_batchsize(4)
    assert "the dynamic_batch_size parameter is not specified for model conversion" in capfd.readouterr().out
    with pytest.raises(RuntimeError, match="dynamic batchsize out of range"):
        session.set_dynamic_batchsize(0)


def test_the_old_generation_runs_only_in_its_own_thread(load, pictures):
    """Its context belongs to the thread that opened the session; the new one takes its context along."""
    for generation, failures in (("old", 1), ("new", 0)):
        session, caught = load(f"generation={generation}"), []

        def work(session=session, caught=caught):
            try:
                session.run(NAMES, base_tensors(pictures))
            except RuntimeError as error:
                caught.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert len(caught) == failures, f"{generation}: {caught}"
