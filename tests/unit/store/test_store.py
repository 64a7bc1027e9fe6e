"""An artifact is built once, whole, and never served damaged."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from fcos_lib.errors import StoreError
from fcos_lib.store.artifacts import Store
from fcos_lib.store.sources import dependencies


def write(text):
    """A builder that writes one file."""

    def build(folder):
        (folder / "content.txt").write_text(text)

    return build


def test_the_second_call_reuses_what_the_first_built(tmp_path):
    """Same inputs, in whatever order, same artifact, no second build; the key covers every input."""
    store = Store(tmp_path)
    first = store.get("thing", {"a": 1, "b": 2}, write("one"))
    second = store.get("thing", {"b": 2, "a": 1}, write("two"))
    assert first.built
    assert not second.built
    assert (second.path / "content.txt").read_text() == "one"
    assert store.get("thing", {"a": 2, "b": 2}, write("two")).key != first.key


def test_a_failed_build_leaves_nothing(tmp_path):
    """What `build` raises is passed on, and no folder stays behind."""
    store = Store(tmp_path)

    def fail(folder):
        (folder / "half.txt").write_text("half")
        raise ValueError("no luck")

    with pytest.raises(ValueError, match="no luck"):
        store.get("thing", {}, fail)
    assert [path.name for path in (tmp_path / "thing").iterdir()] == []


def test_a_damaged_artifact_is_built_again(tmp_path):
    """One flipped byte is noticed, and a folder without its manifest is unfinished, whoever left it."""
    store = Store(tmp_path)
    artifact = store.get("thing", {}, write("abc"))
    (artifact.path / "content.txt").write_text("abd")
    assert store.get("thing", {}, write("abc")).built
    (artifact.path / "manifest.json").unlink()
    assert store.get("thing", {}, write("abc")).built


def test_the_manifest_says_what_it_was_made_from(tmp_path):
    """Inputs and hashes are there for whoever asks later."""
    artifact = Store(tmp_path).get("thing", {"checkpoint": "abc"}, write("abc"))
    manifest = json.loads((artifact.path / "manifest.json").read_text())
    assert manifest["inputs"] == {"checkpoint": "abc", **dependencies(__name__)}
    assert manifest["files"]["content.txt"]["sha256"] == artifact.files["content.txt"]


def test_many_threads_build_once(tmp_path):
    """The lock lets one build and the others wait."""
    store, builds = Store(tmp_path), []

    def build(folder):
        builds.append(1)
        time.sleep(0.1)
        (folder / "content.txt").write_text("x")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: store.get("thing", {}, build), range(4)))
    assert len(builds) == 1


def test_a_killed_builder_leaves_no_half_artifact(tmp_path):
    """kill -9 in the middle of a build: the next caller builds it whole and sweeps up."""
    script = (
        "import sys, time; from pathlib import Path; from fcos_lib.store.artifacts import Store\n"
        "def build(folder):\n"
        "    (folder / 'content.txt').write_text('half'); print('building', flush=True); time.sleep(60)\n"
        "Store(Path(sys.argv[1])).get('thing', {}, build)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "building\n"
        process.kill()
    artifact = Store(tmp_path).get("thing", {}, write("whole"))
    assert artifact.built
    assert (artifact.path / "content.txt").read_text() == "whole"
    assert [path.name for path in (tmp_path / "thing").iterdir()] == [artifact.key]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_one_clear_error(tmp_path):
    """The message names the option that helps."""
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match="--artifacts"):
        Store(tmp_path / "inside")


def test_a_file_in_place_of_the_folder_is_one_clear_error(tmp_path):
    """The artifact folder cannot be a file."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        Store(tmp_path / "file")


def test_a_change_of_the_code_that_builds_is_another_artifact(tmp_path, monkeypatch):
    """A warm store must not serve what an earlier version of the maker made, whatever the maker says that it depends on."""
    store, build = Store(tmp_path), write("abc")
    build.__module__ = "fcos_lib.artifacts.om"
    first = store.get("thing", {"checkpoint": "abc"}, build)
    assert first.provenance["sources"] == dependencies("fcos_lib.artifacts.om")["sources"]
    assert not store.get("thing", {"checkpoint": "abc"}, build).built
    monkeypatch.setattr("fcos_lib.store.artifacts.dependencies", lambda module: {"sources": f"changed {module}"})
    assert store.get("thing", {"checkpoint": "abc"}, build).built, "what other code made is served"


def test_a_builder_that_does_not_come_to_an_end_is_an_error_for_those_who_wait(tmp_path):
    """It lives, so it never gives the lock back: who waits says what for, and how long, instead of waiting for ever."""
    store, waiting = Store(tmp_path), []

    def build(folder):
        with ThreadPoolExecutor(1) as other:
            waiting.append(other.submit(store.get, "thing", {}, build, wait_s=0.3).exception())
        write("abc")(folder)

    store.get("thing", {}, build)
    assert isinstance(waiting[0], StoreError), waiting
    assert "another process has been building thing" in waiting[0].found
    assert "for more than 0.3 s" in waiting[0].found
    assert "fuser" in waiting[0].advice
