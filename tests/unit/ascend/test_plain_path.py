"""A folder of any name: atc and aclruntime never see it, and nothing that is kept or said names what they see instead."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fcos_lib.artifacts import ASCEND
from fcos_lib.artifacts.om import om_artifact, om_json_artifact, om_path
from fcos_lib.ascend import plain_path
from fcos_lib.ascend.atc import compile_om, om_info
from fcos_lib.ascend.atc_command import AtcOptions
from fcos_lib.ascend.om_session import OmSession
from fcos_lib.ascend.plain_path import PlainPaths, is_plain
from fcos_lib.ascend.toolkit import Toolkit
from fcos_lib.errors import AtcError, SessionError, StoreError
from fcos_lib.files import sha256_of
from fcos_lib.store.artifacts import Artifact, Store

BATCH = 2
OPTIONS = AtcOptions("Ascend310P3", BATCH, aipp=True)
ODD = {
    "blank": "my store", "quote": "it's", "quotes": '"a"', "chinese": "产物", "dash": "-x", "dashes": "--output", "colon": "a:b",
    "semicolon": "a;touch pwned;", "substitution": "$(touch pwned)`id`", "glob": "*?[a]", "backslash": "a\\ b",
    "comment": "#x", "ampersand": "a&b|c>d", "percent": "100% %s{0}", "comma": "a,b", "plus": "a+b", "at": "a@b", "face": "🙂",
}  # fmt: skip
STRICT = """
for a; do
  case "$a" in
    --*=/*) path=$(realpath -m -- "${a#*=}")
      case "$path" in *[!A-Za-z0-9_./-]*) echo "E10001: Value [$path] is invalid."; exit 255;; esac;;
  esac
  case "$a" in
    --output=*) out="${a#--output=}";; --model=*) model="${a#--model=}";; --om=*) om="${a#--om=}";;
    --json=*) json="${a#--json=}";; --insert_op_conf=*) grep -q aipp_op "${a#*=}" || exit 254;;
  esac
done
"""
"""Shell lines that refuse a path as GE does, which looks at it without its links, and that find what is written and read."""
WRITES = """
echo "made $out from $model in $PWD"; cat "$model" > "$out.om"; mkdir -p "${out%/*}/weight"; echo 1 > "${out%/*}/weight/w"
echo "ATC run success"
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """The folder for temporary files, which has to be as it was in the end."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    left = [path.name for path in folder.rglob("*") if path.name != f"fcos_lib-{os.getuid()}"]
    assert not left, f"left in the folder for temporary files: {left}"


@pytest.fixture
def strict(script):
    """A toolkit whose atc refuses odd paths and then does what these shell lines say."""
    return lambda body: Toolkit(atc=script("atc", STRICT + body), cann_version="8.0.0")


@pytest.fixture
def models():
    """An ONNX artifact, of which nobody reads the ONNX."""
    return _onnx


def _onnx(folder):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ASCEND).write_bytes(b"onnx")
    return Artifact(folder, "onnx", "0" * 20, {}, {ASCEND: sha256_of(folder / ASCEND)}, built=False)


@pytest.fixture
def strict_fake(new_fake, monkeypatch):
    """aclruntime's new generation, which loads nothing from a path with other characters, nor through a link."""
    module = sys.modules["aclruntime"]
    loads = module.InferenceSession.__init__

    def strictly(session, path, device_id, options):
        if not (plain_path._PLAIN.fullmatch(os.path.realpath(path)) and path.endswith(".om")) or os.path.islink(path):
            raise RuntimeError("please check model path")
        new_fake.content = Path(path).read_bytes(), *sorted(path.name for path in Path(path).parent.glob("weight/*"))
        loads(session, path, device_id, options)

    monkeypatch.setattr(module.InferenceSession, "__init__", strictly)
    return new_fake


@pytest.mark.parametrize("name", ODD.values(), ids=ODD)
def test_an_om_is_built_loaded_and_found_again_in_a_folder_of_any_name(
    name, tmp_path, strict, strict_fake, contract, temporary, models, describe
):
    """With AIPP, whose configuration is a third path; and its graph as JSON, which is a fourth."""
    root = tmp_path / "data" / name
    onnx, toolkit = models(root / "onnx"), strict(WRITES)
    made = om_artifact(Store(root), onnx, contract, toolkit, OPTIONS)
    again = om_artifact(Store(root), onnx, contract, toolkit, OPTIONS)
    assert (made.built, again.built) == (True, False), "the second run built it again"
    assert made.path.is_relative_to(root)
    assert sorted(made.files) == ["aipp.cfg", "atc.log", "model.om", "weight/w"]
    strict_fake.inputs = [describe("input", "float32", BATCH, 3, 4, 6)]
    with OmSession(om_path(again), contract, BATCH) as session:
        assert session.path == om_path(made).resolve()
        assert strict_fake.content == (b"onnx", "w"), "another file was loaded, or without its weights"
        assert not list(temporary.glob("fcos_lib-*/*")), "the copy outlives the load"
        session.run(np.zeros((BATCH, 3, 4, 6), np.float32))
    toolkit = strict('[ -f "$om" ] && [ -n "$json" ] && echo "{}" > "$json"\n')
    graph = om_json_artifact(Store(root), om_path(made), made.files["model.om"], toolkit)
    assert json.loads((graph.path / "model.json").read_text()) == {}
    named = [path for path in root.rglob("*") if path.is_file() and str(temporary).encode() in path.read_bytes()]
    assert not named, "these name the folder for temporary files"
    assert f"made {made.path.parent}/." in (made.path / "atc.log").read_text(), "the log does not name the real folder"


def test_what_atc_says_of_a_failure_names_the_real_paths(tmp_path, strict, contract, temporary, models):
    """In the error, in the log, and in the log's copy."""
    root = tmp_path / "my store"
    store, onnx = Store(root), models(root / "onnx")
    toolkit = strict('echo "E13000: Path $model is empty. Reason: $out"; exit 255\n')
    with pytest.raises(AtcError) as caught:
        om_artifact(store, onnx, contract, toolkit, OPTIONS)
    said = f"{caught.value}\n" + "".join(path.read_text() for path in (root / "logs").iterdir())
    assert str(temporary) not in said, said
    assert f"{root / 'onnx' / ASCEND} is empty" in said
    assert not list((root / "om").glob("*")), "something of the failed build stayed"


def test_a_command_to_be_typed_again_has_the_real_path_in_quotes(tmp_path, strict):
    """That of asking an OM where it comes from."""
    om = tmp_path / "it's mine" / "model.om"
    om.parent.mkdir()
    om.write_bytes(b"om")
    with pytest.raises(AtcError) as caught:
        om_info(strict("exit 3\n"), om)
    again = caught.value.advice.rpartition("again: ")[2]
    words = subprocess.run(["bash", "-c", f"printf '%s\\n' {again}"], capture_output=True, text=True, check=True).stdout
    assert words.splitlines()[1:] == ["--mode=6", f"--om={om}"]


def test_an_error_of_loading_names_the_real_path(tmp_path, strict_fake, contract, temporary):
    """aclruntime prints the path that it was given."""
    om = tmp_path / "my oms" / "model.om"
    om.parent.mkdir()
    om.write_bytes(b"om")
    strict_fake.load_error = f"[ERROR] load model from file failed, model file is {temporary}/..."
    module = sys.modules["aclruntime"]

    def refused(session, path, device_id, options):
        os.write(1, f"[ERROR] load model from file failed, model file is {path}\n".encode())
        raise RuntimeError("[1][ACL: invalid parameter] ")

    module.InferenceSession.__init__ = refused
    with pytest.raises(SessionError) as caught:
        OmSession(om, contract, BATCH)
    assert str(temporary) not in str(caught.value)
    assert f"model file is {om}" in str(caught.value)


def test_a_plain_folder_is_used_as_it_is(tmp_path, strict, contract, models):
    """Nothing is copied, and no folder is made for it."""
    onnx = models(tmp_path / "onnx").path / ASCEND
    om = compile_om(strict(WRITES), onnx, tmp_path / "out", contract, OPTIONS)
    assert f"made {tmp_path}/out/model from {onnx} in {tmp_path}/out/atc-" in (tmp_path / "out" / "atc.log").read_text()
    with PlainPaths() as plain:
        assert plain.file(om) == om
        assert plain.folder(tmp_path) == tmp_path


@pytest.mark.parametrize("odd", ["link", "target"])
def test_a_link_between_odd_and_plain_is_no_way_around(tmp_path, temporary, odd):
    """GE looks behind a link, the emulator at it: either counts."""
    folders = {"link": tmp_path / "a b", "target": tmp_path / "plain"}
    if odd == "target":
        folders = {"link": folders["target"], "target": folders["link"]}
    folders["target"].mkdir()
    (folders["target"] / "model.om").write_bytes(b"om")
    folders["link"].symlink_to(folders["target"])
    with PlainPaths() as plain:
        copy = plain.file(folders["link"] / "model.om")
        assert copy.is_relative_to(temporary)
        assert copy.read_bytes() == b"om"


def test_a_copy_has_the_rights_of_the_file(tmp_path, temporary):
    """aclruntime refuses an OM that others may change, wherever it lies; the folder is this user's alone."""
    om = tmp_path / "my oms" / "model.om"
    om.parent.mkdir()
    om.write_bytes(b"om")
    for mode in (0o440, 0o660):
        om.chmod(mode)
        with PlainPaths() as plain:
            copy = plain.file(om)
            assert copy.stat().st_mode & 0o777 == mode
            assert [folder.stat().st_mode & 0o777 for folder in list(copy.parents)[:3]] == [0o700] * 3


HOLD = """
import sys, tempfile, pathlib
from fcos_lib.ascend.plain_path import PlainPaths
tempfile.tempdir = sys.argv[1]
with PlainPaths() as plain:
    print(plain.file(pathlib.Path(sys.argv[2])), flush=True)
    sys.stdin.read()
"""
WORK = """
import sys, tempfile, pathlib
from fcos_lib.ascend.plain_path import PlainPaths
tempfile.tempdir = sys.argv[1]
for _ in range(60):
    with PlainPaths() as plain:
        copy = plain.file(pathlib.Path(sys.argv[2]))
        assert copy.read_bytes() == b"om" and plain.folder(pathlib.Path(sys.argv[2]).parent).is_dir()
"""


@pytest.fixture
def odd_om(tmp_path):
    """An OM in a folder with a blank."""
    om = tmp_path / "my oms" / "model.om"
    om.parent.mkdir()
    om.write_bytes(b"om")
    return om


@pytest.fixture
def process(temporary, odd_om):
    """A Python process of this program on that OM."""

    def start(program):
        return subprocess.Popen(
            [sys.executable, "-c", program, str(temporary), str(odd_om)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    return start


def test_what_a_killed_process_left_goes_and_what_a_living_one_uses_stays(process, odd_om):
    """When the next one compiles or loads, be it from a plain folder."""
    killed, living = process(HOLD), process(HOLD)
    left, used = (Path(child.stdout.readline().decode().strip()) for child in (killed, living))
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert left.is_file()
    with PlainPaths() as plain:
        assert not left.parents[1].exists(), "what the killed process left is still there"
        assert used.is_file(), "the folder of a living process is gone"
        assert plain.file(odd_om).is_file()
    living.communicate()
    assert not used.exists()
    for child in (killed, living):
        child.stdin.close()
        child.stdout.close()


def test_many_processes_do_not_take_each_others_folders(process):
    """Each removes what it takes for left by a dead one, just as the others make theirs."""
    children = [process(WORK) for _ in range(6)]
    statuses = [child.communicate() and child.returncode for child in children]
    assert statuses == [0] * 6, f"exit statuses {statuses}, six times 0 expected"


def test_a_folder_for_temporary_files_with_an_odd_name_is_passed_over(tmp_path, monkeypatch, odd_om):
    """For the next that is there; with none, one sentence says what to set."""
    odd, plain_one = tmp_path / "my temp", tmp_path / "temporary"
    odd.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(odd))
    monkeypatch.setattr(plain_path, "_FALLBACKS", (str(tmp_path / "missing"), str(plain_one)))
    with PlainPaths() as plain:
        assert plain.file(odd_om).is_relative_to(plain_one)
    monkeypatch.setattr(plain_path, "_FALLBACKS", (str(tmp_path / "missing"),))
    with (
        pytest.raises(StoreError, match="cannot be used for files that atc or aclruntime read") as caught,
        PlainPaths() as plain,
    ):
        plain.file(odd_om)
    assert "TMPDIR" in caught.value.advice
    assert not list(odd.iterdir())


def test_a_folder_that_somebody_else_prepared_is_not_used(tmp_path, temporary, monkeypatch, odd_om):
    """A link from /tmp to somewhere: nothing is written there, and nothing is removed."""
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "plain-x").mkdir(parents=True)
    own = temporary / f"fcos_lib-{os.getuid()}"
    own.symlink_to(elsewhere)
    monkeypatch.setattr(plain_path, "_FALLBACKS", ())
    with pytest.raises(StoreError), PlainPaths() as plain:
        plain.file(odd_om)
    assert [path.name for path in elsewhere.iterdir()] == ["plain-x"]
    own.unlink()


def test_a_full_disk_leaves_nothing(monkeypatch, odd_om):
    """The error is the system's, for whoever asked to say what for."""

    def full(source, target):
        Path(target).write_bytes(b"o")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(plain_path, "shutil", SimpleNamespace(copy=full, rmtree=shutil.rmtree))
    with pytest.raises(OSError, match="No space left"), PlainPaths() as plain:
        plain.file(odd_om)


@pytest.mark.parametrize(
    ("path", "plain"), [("/a/b-c_d.e", True), ("/a/-x", True), ("/a b", False), ("/产", False), ("/a\n", False)]
)
def test_which_paths_are_plain(path, plain):
    """Those that both tools take."""
    assert is_plain(Path(path)) is plain
