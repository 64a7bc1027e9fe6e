"""The accepted OM is there whole, for every process, until another takes its place."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fcos_lib.artifacts import champions
from fcos_lib.artifacts.champions import KEPT, Place, accept, champion_of
from fcos_lib.contract import InputLayout
from fcos_lib.errors import StoreError, UsageError
from fcos_lib.files import sha256_of
from fcos_lib.model.zoo import known_contracts

PLACE = Place("coco_r50", "Ascend310P3", (8,), InputLayout.FLOAT_NCHW, stand_in=False)


@pytest.fixture
def om_of(tmp_path):
    """An OM file with the given content."""

    def write(content):
        path = tmp_path / "built" / content / "model.om"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return path

    return write


@pytest.fixture
def crown(tmp_path, om_of):
    """Accept an OM with the given content."""

    def run(content, place=PLACE, **facts):
        om = om_of(content)
        return accept(tmp_path, place, om, facts, sha256=sha256_of(om), who="me@here", why=f"for {content}")

    return run


def folder_of(root):
    """The folder of the place under test."""
    return root / "champions" / PLACE.name


def test_nobody_is_champion_at_first(tmp_path):
    """Neither in an empty folder nor in one that does not exist."""
    assert champion_of(tmp_path, PLACE) is None
    assert champion_of(tmp_path / "none", PLACE) is None


def test_the_champion_is_the_last_accepted_om(tmp_path, crown):
    """With who, when, why and everything it was accepted on."""
    crown("first")
    accepted = crown("second", cost={"figures": {}})
    champion = champion_of(tmp_path, PLACE)
    assert champion == accepted
    assert (champion.number, champion.who, champion.why) == (2, "me@here", "for second")
    assert champion.om.read_text() == "second"
    assert champion.facts == {"cost": {"figures": {}}}
    assert champion.at.endswith("Z")


@pytest.mark.parametrize("change", [Path.unlink, lambda path: path.write_text("the next OM, of the same name")])
def test_the_champion_outlives_the_build_it_came_from(tmp_path, crown, om_of, change):
    """Whether the file is removed or, as atc and cp do, written again in its place."""
    crown("first")
    change(om_of("first"))
    assert champion_of(tmp_path, PLACE).om.read_text() == "first"


def test_places_do_not_meet(tmp_path, crown):
    """Chip, batch sizes, input and the emulator's part each make a place of their own."""
    others = [
        Place("shapes", "Ascend310P3", (8,), InputLayout.FLOAT_NCHW, stand_in=False),
        Place("coco_r50", "Ascend310", (8,), InputLayout.FLOAT_NCHW, stand_in=False),
        Place("coco_r50", "Ascend310P3", (1, 8), InputLayout.FLOAT_NCHW, stand_in=False),
        Place("coco_r50", "Ascend310P3", (8,), InputLayout.UINT8_NHWC, stand_in=False),
        Place("coco_r50", "Ascend310P3", (8,), InputLayout.FLOAT_NCHW, stand_in=True),
    ]
    crown("first")
    assert [champion_of(tmp_path, other) for other in others] == [None] * 5
    assert len({PLACE.name, *(other.name for other in others)}) == 6
    assert others[-1].name == "coco_r50-Ascend310P3-batch8-STAND-IN"
    assert others[2].name == "coco_r50-Ascend310P3-batches1_8"


def test_every_contract_that_has_a_name_has_a_place():
    """The zoo's have hyphens and up to 77 characters, a file's up to 100; no two of their places are one folder."""
    names = [*known_contracts(), "a" * 100, "shapes-Ascend310P3", "shapes-Ascend310P3-batch8"]
    places = {Place(name, "Ascend310P3", (8,), InputLayout.FLOAT_NCHW, stand_in=False).name for name in names}
    assert len(places) == len(names)


def test_a_hundred_profiles_make_a_name_that_fits(tmp_path):
    """And another one for other profiles."""
    first, second = (
        Place("coco_r50", "Ascend310P3", tuple(range(start, start + 100)), InputLayout.FLOAT_NCHW, stand_in=False).name
        for start in (1, 2)
    )
    assert first != second
    assert len(first) < 100, f"the name has {len(first)} characters, a folder's may have 255 with what is put around it"


@pytest.mark.parametrize(
    ("contract", "chip", "batches"),
    [("../x", "Ascend310", (1,)), ("-x", "y", (1,)), ("a" * 101, "y", (1,)), ("x", "a/b", (1,)), ("x", "", (1,)), ("x", "y", ()), ("x", "y", (0,)), ("x", "y", (9999,))],
)  # fmt: skip
def test_a_place_cannot_lead_out_of_the_folder(contract, chip, batches):
    """Its name is made of what a file said."""
    with pytest.raises(UsageError, match="there is no place"):
        Place(contract, chip, batches, InputLayout.FLOAT_NCHW, stand_in=False)


def test_another_file_than_the_tested_one_is_not_accepted(tmp_path, crown, om_of):
    """Its hash says so, the champion in office stays, and nothing is left behind."""
    crown("first")
    with pytest.raises(StoreError, match="has the SHA-256"):
        accept(tmp_path, PLACE, om_of("second"), {}, sha256="0" * 64, who="me", why="")
    assert champion_of(tmp_path, PLACE).om.read_text() == "first"
    assert [path.name for path in folder_of(tmp_path).iterdir()] == ["0001"]


@pytest.mark.parametrize("damage", ["om", "no_om", "place", "format", "types", "path"])
def test_a_damaged_champion_is_an_error_and_no_predecessor_steps_in(tmp_path, crown, damage):
    """Comparing with the wrong OM would look like a verdict."""
    crown("first")
    champion = crown("second")
    manifest = champion.om.parent / "manifest.json"
    content = json.loads(manifest.read_text())
    if damage == "om":
        champion.om.write_text("sec0nd")
    elif damage == "no_om":
        champion.om.unlink()
    else:
        content |= {
            "place": {"place": {**content["place"], "batches": [16]}},
            "format": {"format": 2},
            "types": {"who": ["me"]},
            "path": {"om": "../0001/model.om"},
        }[damage]
        manifest.write_text(json.dumps(content))
    with pytest.raises(StoreError, match=r"0002 is damaged"):
        champion_of(tmp_path, PLACE)
    assert crown("third").number == 3, "a damaged champion can be replaced"


def test_predecessors_keep_their_manifest_and_lose_their_om(tmp_path, crown):
    """The history is small, OMs are not."""
    for content in "abcde":
        crown(content)
    folders = sorted(folder_of(tmp_path).iterdir())
    assert [folder.name for folder in folders] == ["0001", "0002", "0003", "0004", "0005"]
    assert all((folder / "manifest.json").is_file() for folder in folders)
    assert [(folder / "model.om").is_file() for folder in folders] == [False] * (5 - KEPT) + [True] * KEPT


SCRIPT = """
import os, sys, time
from pathlib import Path
from fcos_lib.artifacts.champions import Place, accept
from fcos_lib.contract import InputLayout
from fcos_lib.files import sha256_of
from fcos_lib.model.zoo import known_contracts

root, om, dies = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "dies"
if dies:
    def rename(source, target):
        print("copied", flush=True)
        time.sleep(60)
    os.rename = rename
place = Place("coco_r50", "Ascend310P3", (8,), InputLayout.FLOAT_NCHW, stand_in=False)
for _ in range(1 if dies else 10):
    accept(root, place, om, {}, sha256=sha256_of(om), who=str(os.getpid()), why="")
"""


def test_killed_between_copy_and_rename_nothing_happened(tmp_path, crown, om_of):
    """kill -9 leaves the champion in office; the next acceptance sweeps up."""
    crown("first")
    arguments = [sys.executable, "-c", SCRIPT, str(tmp_path), str(om_of("second")), "dies"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "copied\n"
        process.kill()
    assert champion_of(tmp_path, PLACE).om.read_text() == "first"
    assert len(list(folder_of(tmp_path).iterdir())) == 2, "the half-made champion should lie there"
    assert crown("third").number == 2
    assert sorted(path.name for path in folder_of(tmp_path).iterdir()) == ["0001", "0002"]


def test_two_processes_accept_one_after_the_other(tmp_path, om_of):
    """Twenty acceptances from two processes are twenty champions, each whole when it was read."""
    processes = [
        subprocess.Popen([sys.executable, "-c", SCRIPT, str(tmp_path), str(om_of(name)), "works"]) for name in "ab"
    ]
    seen = set()
    try:
        while any(process.poll() is None for process in processes):
            champion = champion_of(tmp_path, PLACE)  # raises if it ever sees a half-made one
            seen.add(champion and champion.number)
    finally:
        assert [process.wait() for process in processes] == [0, 0]
    numbers = sorted(int(path.name) for path in folder_of(tmp_path).iterdir())
    assert numbers == list(range(1, 21)), f"readers saw {seen}"


def test_an_unwritable_folder_is_one_clear_error(tmp_path, om_of):
    """A file stands where the folder should be."""
    (tmp_path / "champions").write_text("")
    with pytest.raises(StoreError, match="no champion can be accepted"):
        accept(tmp_path, PLACE, om_of("a"), {}, sha256=sha256_of(om_of("a")), who="me", why="")
    with pytest.raises(StoreError, match="cannot be read"):
        champion_of(tmp_path, PLACE)


def test_a_failure_before_the_rename_leaves_nothing(tmp_path, crown, monkeypatch):
    """A full disk while the manifest is written, for example."""
    crown("first")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(champions.os, "rename", full)
    with pytest.raises(StoreError, match="No space left on device"):
        crown("second")
    assert [path.name for path in folder_of(tmp_path).iterdir()] == ["0001"]
