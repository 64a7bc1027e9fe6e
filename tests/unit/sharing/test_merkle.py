"""Merkle trees: the roots of RFC 6962's reference implementation, and paths that prove what is in them and nothing else."""

import hashlib

import pytest

from fcos_lib.sharing.digests import (
    detection_digests,
    found_digest,
    inclusion,
    leaf_hash,
    path_of,
    picture_leaf,
    picture_list_digest,
    root_by_path,
    root_of,
    root_of_pictures,
)
from fcos_lib.stream.sessions import Detections
from tests.unit.sharing.conftest import FILES, FOUND, detections

ENTRIES = [bytes.fromhex(text) for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")]  # fmt: skip
ROOTS = {  # of the first n entries, as certificate-transparency's tests have them
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    4: "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    5: "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    6: "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    7: "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}


@pytest.mark.parametrize("count", ROOTS)
def test_roots_are_those_of_the_rfc(count):
    """Trees of every shape up to eight leaves."""
    assert root_of([leaf_hash(entry) for entry in ENTRIES[:count]]).hex() == ROOTS[count]


def test_no_leaf_is_the_hash_of_nothing():
    """As the RFC has it."""
    assert root_of([]) == hashlib.sha256(b"").digest()


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 13, 64, 100])
def test_every_leaf_is_proved_and_no_other(count):
    """Its path gives the root from its own place only; another leaf, place or size does not."""
    leaves = [leaf_hash(bytes([number])) for number in range(count)]
    root = root_of(leaves)
    for index in range(count):
        path = path_of(index, leaves)
        assert root_by_path(leaves[index], index, count, path) == root, f"leaf {index} of {count}"
        assert root_by_path(leaf_hash(b"other"), index, count, path) != root, f"another leaf at {index} of {count}"
        for wrong in {index ^ 1, count - 1 - index} - {index}:
            if wrong < count:
                assert _refused(leaves[index], wrong, count, path, root), f"leaf {index} of {count} passes at {wrong}"
        if path:
            assert _refused(leaves[index], index, count, path[:-1], root)
        assert _refused(leaves[index], index, count, [*path, root], root)


def _refused(leaf, index, count, path, root):
    try:
        return root_by_path(leaf, index, count, path) != root
    except ValueError:
        return True


@pytest.mark.parametrize("count", [2, 3, 5, 8])
def test_a_path_of_another_length_is_none(count):
    """An inner node with the rest of a leaf's path would give the root: it is too short for a tree of this size."""
    leaves = [leaf_hash(bytes([number])) for number in range(count)]
    path = path_of(0, leaves)
    inner = root_by_path(leaves[0], 0, 2, path[:1])
    assert root_of([inner, *path[1:2]]) == root_of(leaves[:4]), "the forged path is the rest of a real one"
    with pytest.raises(ValueError, match=f"too few for {count} leaves"):
        root_by_path(inner, 0, count, path[1:])
    with pytest.raises(ValueError, match=f"too many for {count} leaves"):
        root_by_path(leaves[0], 0, count, [*path, leaves[0]])


def test_a_node_passes_for_no_leaf():
    """The first byte tells them apart: an inner node's content as a leaf gives another hash."""
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    assert leaf_hash(left + right) != root_of([left, right])


@pytest.mark.parametrize("index", [-1, 2])
def test_what_is_no_place_is_refused(index):
    """Before anything is hashed."""
    with pytest.raises(ValueError, match="there is no leaf"):
        root_by_path(b"", index, 2, [])
    with pytest.raises(ValueError, match="there is no leaf"):
        path_of(index, [b"", b""])


def test_a_leaf_has_every_bit_of_a_picture():
    """Its id, its file, each box, score and label; boxes are the network's own, which letterboxing cannot blur."""
    seen = detections(1)
    found = found_digest(seen)
    assert found_digest(Detections(seen.network, seen.scores, seen.labels)) == found
    changed = []
    for name in ("network", "scores", "labels"):
        parts = {"boxes": seen.boxes, "scores": seen.scores, "labels": seen.labels, "network": seen.network}
        parts[name] = parts[name].copy()
        parts[name].view("u1").flat[0] ^= 1
        changed.append(found_digest(Detections(**parts)))
    assert len({found, *changed}) == 4, "two pictures that differ have the same digest"
    leaves = {
        picture_leaf(1, FILES["9"], found),
        picture_leaf(2, FILES["9"], found),
        picture_leaf(1, FILES["2"], found),
    }
    assert len({*leaves, picture_leaf(1, FILES["9"], changed[0])}) == 4, "two pictures that differ have the same leaf"


def test_the_order_of_the_json_does_not_matter():
    """Pictures are by ascending number: a tool that sorts keys as text changes no root."""
    kept = detection_digests("batch4", FOUND, FILES)
    assert list(kept["found"]) == ["2", "5", "7", "9", "11"]
    assert root_of_pictures(dict(sorted(kept["found"].items())), dict(reversed(FILES.items()))) == kept["root"]
    assert picture_list_digest(FILES) == picture_list_digest(dict(sorted(FILES.items())))


def test_one_picture_is_shown_without_the_others():
    """Its file, what was found, its place and the path are all that a reader needs beside the root."""
    kept = detection_digests("batch4", FOUND, FILES)
    shown = inclusion(kept["found"], FILES, "11")
    assert (shown["file"], shown["found"]) == (FILES["11"], found_digest(FOUND[11]))
    path = [bytes.fromhex(node) for node in shown["path"]]
    leaf = picture_leaf(11, shown["file"], shown["found"])
    assert root_by_path(leaf, shown["index"], shown["count"], path).hex() == kept["root"]
    with pytest.raises(KeyError):
        inclusion(kept["found"], FILES, "3")
