"""Folders that every user of a machine can reach: nothing of ours becomes changeable there, nothing of theirs is followed."""

import os
import re

import pytest

from fcos_lib.ascend import npu_smi
from fcos_lib.errors import DeviceError, StoreError
from fcos_lib.store.artifacts import Store
from fcos_lib.stream.dataset import Picture
from fcos_lib.stream.journal import Journal


@pytest.fixture
def open_umask():
    """As some containers have it."""
    before = os.umask(0)
    yield
    os.umask(before)


def test_an_open_umask_gives_nothing_away(tmp_path, open_umask):
    """Neither the folders nor a file in them can be changed by others."""
    root = tmp_path / "artifacts"

    def build(folder):
        (folder / "below").mkdir()
        (folder / "below" / "x").write_bytes(b"x")

    made = Store(root).get("om", {}, build)
    paths = [root, made.path.parent, made.path, *made.path.rglob("*"), root / "locks"]
    assert not [path for path in paths if path.stat().st_mode & 0o002]
    assert not [path for path in made.path.rglob("*") if path.is_file() and path.stat().st_mode & 0o020]
    assert not Store(root).get("om", {}, build).built


def test_a_run_under_an_open_umask_gives_nothing_away(suite, run, tmp_path, request):
    """Nor can anything else that a run leaves: results, journal, references."""
    suite()  # the folder is there
    request.getfixturevalue("open_umask")
    options = ("-q", "-m", "accuracy", "--npu", "emulated", "--batch-sizes", "4", "--pictures", "8")
    result = run("tests/acceptance", *options)
    assert result.returncode == 7, result.stdout + result.stderr
    # so few pictures decide nothing, but everything ran
    made = [tmp_path / "artifacts", *(tmp_path / "artifacts").rglob("*")]
    assert not {"om", "journal", "references", "results"} - {path.relative_to(tmp_path).parts[1] for path in made[1:]}
    meant = [
        tmp_path / "artifacts" / "onnx",
        tmp_path / "artifacts" / "locks" / "npu-0.lock",
    ]  # the test's; every user's turn
    wrong = [path for path in made if path.stat().st_mode & 0o002 and not any(map(path.is_relative_to, meant))]
    assert not wrong, "every user may change these"


def test_a_journal_that_every_user_may_change_is_refused(tmp_path):
    """What is in it counts as measured."""
    folder = tmp_path / "journal"
    folder.mkdir()
    folder.chmod(0o1777)
    with pytest.raises(StoreError, match="every user of this machine can change") as caught:
        Journal(folder, (Picture(1, tmp_path / "1.jpg", 8, 8),), 1, {})
    assert "--artifacts" in caught.value.advice
    assert not list(folder.iterdir())


def test_a_probe_follows_no_link(tmp_path, monkeypatch):
    """Its name cannot be guessed, and what has it is not written to."""
    secret = tmp_path / "secret"
    secret.write_text("secret")
    root = tmp_path / "artifacts"
    root.mkdir()
    monkeypatch.setattr("fcos_lib.store.artifacts.uuid4", lambda: type("Guessed", (), {"hex": "guessed"}))
    (root / ".probe-guessed").symlink_to(secret)
    with pytest.raises(StoreError, match="cannot be written"):
        Store(root)
    assert secret.read_text() == "secret"


def test_the_advice_can_be_pasted(tmp_path):
    """The folder's name is quoted for a shell."""
    root = tmp_path / "a b;$(touch pwned)"
    root.mkdir()
    root.chmod(0o777)
    with pytest.raises(StoreError) as caught:
        Store(root)
    assert re.search(r"chmod o-w '.*a b;\$\(touch pwned\)'", caught.value.advice)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder, elsewhere: folder.symlink_to(elsewhere),
        lambda folder, elsewhere: folder.write_text(""),
        lambda folder, elsewhere: (folder.mkdir(), folder.chmod(0o777)),
    ],
    ids=["link", "file", "rights"],
)
def test_a_lock_is_kept_where_only_its_user_writes(tmp_path, monkeypatch, spoil):
    """A folder in /tmp that somebody else prepared is refused, and nothing is written through it."""
    monkeypatch.setattr(npu_smi.tempfile, "gettempdir", lambda: str(tmp_path))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    spoil(tmp_path / f"fcos_lib-{os.getuid()}", elsewhere)
    with pytest.raises(DeviceError, match="cannot be used for locks") as caught:
        npu_smi._own_folder()
    assert "TMPDIR" in caught.value.advice
    assert not list(elsewhere.iterdir())
