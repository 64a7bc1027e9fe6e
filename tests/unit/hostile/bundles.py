"""Hostile bundles: zips that would leave a folder, grow, run something, or pass for what they are not."""

import hashlib
import io
import json
import os
import pickle
import stat
import struct
import warnings
import zipfile

import numpy as np

from tests.unit.hostile.makers import Evil, device, huge
from tests.unit.sharing.bundles import changed, write


def spoilt(change):
    """A whole bundle, its entries changed: a function gets a list of [ZipInfo, data] and may do anything to it."""

    def spoil(path):
        with zipfile.ZipFile(write(path)) as archive:
            entries = [[entry, archive.read(entry)] for entry in archive.infolist()]
        change(entries)
        with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # zipfile notices a name that comes twice
            for entry, data in entries:
                archive.writestr(entry, data)

    return spoil


def added(name, data=b"x", **fields):
    """One more member."""

    def change(entries):
        entry = zipfile.ZipInfo(name)
        for field, value in fields.items():
            setattr(entry, field, value)
        entries.append([entry, data])

    return spoilt(change)


def arrays(change):
    """Other tensors, with digests that fit."""

    def spoil(path):
        changed(write(path), lambda manifest: None, arrays=change).replace(path)

    return spoil


def manifest(change):
    """Another manifest."""

    def spoil(path):
        changed(write(path), change).replace(path)

    return spoil


def manifest_text(text):
    """Another text instead of the manifest."""
    return spoilt(lambda entries: entries[0].__setitem__(1, text.encode()))


def pickled(path):
    """Objects instead of numbers."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        head = io.BytesIO()
        np.lib.format.write_array_header_1_0(head, {"descr": "|O", "fortran_order": False, "shape": (1,)})
        for side in ("reference", "candidate"):
            for part in ("labels", "dets", "boxes", "scores"):
                archive.writestr(
                    f"{side}_{part}.npy", head.getvalue() + pickle.dumps(Evil(path.parent / "outside" / "owned"))
                )
    tensors(packed.getvalue())(path)


def tensors(data):
    """These bytes as the first picture's tensors, with a digest that fits."""

    def change(entries):
        document = json.loads(entries[0][1])
        name = next(name for name in document["members"] if name.endswith(".npz"))
        document["members"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        entries[0][1] = json.dumps(document).encode()
        next(entry for entry in entries if entry[0].filename == name)[1] = data

    return spoilt(change)


def bomb():
    """Little that becomes much, as a member."""
    return added("model.om", bytes(256 << 20), compress_type=zipfile.ZIP_DEFLATED)


def overlapping(path):
    """Many entries of the directory that are the same bytes of the file."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.om", bytes(1 << 20))
    data = path.read_bytes()
    start = data.index(b"PK\1\2")
    end = data.index(b"PK\5\6")
    entry = data[start:end]
    names = [f"pictures/{number}/tensors.npz".encode() for number in range(100)]
    entries = b"".join(entry[:28] + struct.pack("<H", len(name)) + entry[30:46] + name for name in names)
    tail = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, len(names), len(names), len(entries), start, 0)
    path.write_bytes(data[:start] + entries + tail)


def encrypted(path):
    """The bit that says so, in both places."""
    write(path)
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\3\4") + 6] |= 1
    data[int.from_bytes(data[-6:-2], "little") + 8] |= 1  # where the directory begins
    path.write_bytes(bytes(data))


def with_nul(path):
    """A name with more behind its end."""
    added("model.om_.txt")(path)
    path.write_bytes(path.read_bytes().replace(b"model.om_.txt", b"model.om\0.txt"))


def truncated(path):
    """Half of one."""
    write(path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


LINK = (stat.S_IFLNK | 0o777) << 16
REFUSED = "is not a bundle"
BUNDLES = {
    "valid": (write, None),
    "up": (added("../../outside/owned"), REFUSED),
    "up-inside": (added("pictures/../../outside/owned"), REFUSED),
    "absolute": (added("/etc/owned"), REFUSED),
    "drive": (added("C:\\owned"), REFUSED),
    "backslash": (added("pictures\\1\\tensors.npz"), REFUSED),
    "folder": (added("pictures/1/"), REFUSED),
    "nul": (with_nul, REFUSED),
    "escape": (added("model.om\x1b[2J"), REFUSED),
    "command": (added("\n::error::owned"), REFUSED),
    "leading-zero": (added("pictures/01/tensors.npz"), REFUSED),
    "arabic-digit": (added("pictures/\u0661/tensors.npz"), REFUSED),
    "long-id": (added(f"pictures/{'9' * 200}/tensors.npz"), REFUSED),
    "script": (added("pictures/1/picture.sh"), REFUSED),
    "link": (added("model.om", b"../outside/secret", external_attr=LINK), REFUSED),
    "pipe-member": (added("model.om", external_attr=stat.S_IFIFO << 16), REFUSED),
    "twice": (spoilt(lambda entries: entries.append([zipfile.ZipInfo(entries[1][0].filename), b"x"])), REFUSED),
    "manifest-twice": (added("manifest.json", b"{}"), REFUSED),
    "not-listed": (added("model.om"), "not in its manifest"),
    "missing": (spoilt(lambda entries: entries.pop(1)), "is not there"),
    "no-manifest": (spoilt(lambda entries: entries.pop(0)), "it has no manifest.json"),
    "bomb": (bomb(), REFUSED),
    "compressed": (added("model.onnx", bytes(100), compress_type=zipfile.ZIP_BZIP2), REFUSED),
    "overlapping": (overlapping, REFUSED),
    "encrypted": (encrypted, REFUSED),
    "truncated": (truncated, REFUSED),
    "many": (spoilt(lambda entries: entries.extend([zipfile.ZipInfo(f"pictures/{n}/tensors.npz"), b""] for n in range(3000))), REFUSED),
    "manifest-deep": (manifest_text("[" * 200_000), "is not JSON"),
    "manifest-wide": (manifest_text("[" + "[]," * 600_000 + "[]]"), "is not JSON"),
    "manifest-huge": (manifest_text('"' + "x" * (9 << 20) + '"'), "more than 8 MiB"),
    "manifest-list": (manifest_text("[]"), "has the format None"),
    "huge-contract": (manifest(lambda document: document["contract"].update(height=10**9)), "is not a model contract"),
    "name-with-escape": (manifest(lambda document: document["pictures"][0].update(name="\x1b[31m")), "is not the manifest"),
    "pickled": (pickled, "cannot be read"),
    "no-npz": (tensors(b"PK\3\4" + bytes(100)), "cannot be read"),
    "empty-npz": (tensors(b""), "cannot be read"),
    "wide-array": (arrays(lambda content: content.update(reference_dets=np.zeros((100, 6), np.float32))), "cannot be read"),
    "doubles": (arrays(lambda content: content.update(reference_dets=np.zeros((100, 5)))), "cannot be read"),
    "many-layers": (arrays(lambda content: content.update(layers=np.zeros((99, 65), np.float32))), "cannot be read"),
    "nan": (arrays(lambda content: content["candidate_dets"].__setitem__((0, 1), np.nan)), None),
    "labels-out-of-range": (arrays(lambda content: content["candidate_labels"].fill(2**62)), None),
    "huge": (huge, "cannot be read as a bundle"),
    "device": (device, "cannot be read as a bundle"),
    "pipe": (os.mkfifo, "cannot be read as a bundle"),
    "empty": (lambda path: path.write_bytes(b""), REFUSED),
    "garbage": (lambda path: path.write_bytes(os.urandom(5000)), REFUSED),
}  # fmt: skip
