"""What a run keeps for the next one, spoilt: artifacts of the store and the accepted OM."""

import json
import os

from fcos_lib.artifacts.champions import Place, accept
from fcos_lib.contract import InputLayout
from fcos_lib.files import sha256_of
from fcos_lib.store.artifacts import Store
from tests.unit.hostile.makers import device, huge, replaced

DEEP = "[" * 200_000


def artifact(change):
    """A store with one artifact, changed."""

    def spoil(root):
        made = Store(root).get("om", {"a": 1}, lambda folder: (folder / "model.om").write_bytes(b"om"))
        change(made.path)

    return spoil


def manifest(**fields):
    """Its manifest with other fields."""

    def change(path):
        document = json.loads((path / "manifest.json").read_text()) | fields
        (path / "manifest.json").write_text(json.dumps(document))

    return artifact(change)


EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
STORE = {  # True: built again
    "valid": (artifact(lambda path: None), False),
    "manifest-names-a-device": (manifest(files={"/dev/zero": {"size": 0, "sha256": EMPTY}}), True),
    "manifest-leads-out": (manifest(files={"../../../outside/secret": {"size": 6, "sha256": "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"}}), True),
    "manifest-is-deep": (artifact(lambda path: (path / "manifest.json").write_text(DEEP)), True),
    "manifest-is-a-pipe": (artifact(replaced("manifest.json", os.mkfifo)), True),
    "manifest-is-a-device": (artifact(replaced("manifest.json", device)), True),
    "manifest-is-huge": (artifact(replaced("manifest.json", huge)), True),
    "om-is-a-link": (artifact(lambda path: ((path / "model.om").rename(path / "other"), (path / "model.om").symlink_to("other"))), True),
    "om-is-a-pipe": (artifact(replaced("model.om", os.mkfifo)), True),
    "folder-is-a-link": (artifact(lambda path: (path.rename(path.parent / "x"), path.symlink_to("x"))), True),
    "om-anybody-may-change": (artifact(lambda path: (path / "model.om").chmod(0o666)), True),
    "folder-anybody-may-change": (artifact(lambda path: path.chmod(0o777)), True),
    "kind-anybody-may-change": (artifact(lambda path: path.parent.chmod(0o777)), "every user of this machine can change"),
    "root-anybody-may-change": (artifact(lambda path: path.parents[1].chmod(0o777)), "every user of this machine can change"),
    "root-like-tmp": (artifact(lambda path: path.parents[1].chmod(0o1777)), "every user of this machine can change"),
}  # fmt: skip


def in_office(change):
    """An accepted OM, changed."""

    def spoil(root):
        root.mkdir()
        (root / "model.om").write_bytes(b"om")
        place = Place("shapes", "Ascend310P3", (8,), InputLayout.FLOAT_NCHW, False)
        champion = accept(root, place, root / "model.om", {}, sha256=sha256_of(root / "model.om"), who="me")
        change(champion.om.parent)

    return spoil


def manifest_text(text):
    """Another manifest."""
    return in_office(lambda path: (path / "manifest.json").write_text(text))


CHAMPION = {
    "valid": (in_office(lambda path: None), None),
    "deep": (manifest_text(DEEP), "is damaged"),
    "om-is-a-device": (in_office(replaced("model.om", device)), "is damaged"),
    "om-is-a-pipe": (in_office(replaced("model.om", os.mkfifo)), "is damaged"),
    "anybody-may-change": (in_office(lambda path: (path / "model.om").chmod(0o666)), "every user may change it"),
    "another-version": (in_office(lambda path: (path / "manifest.json").write_text((path / "manifest.json").read_text().replace('"format": 1', '"format": 9'))), "is damaged"),
}  # fmt: skip
