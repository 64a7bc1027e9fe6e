"""The digest of a checkout's sources: the same wherever it lies, another one for every change that a run could see."""

import shutil

import pytest

from fcos_lib.sharing.digests import LOCK, TREE, lock_digest, tree_digest


@pytest.fixture
def tree(tmp_path):
    """A small checkout, and what its digest is."""
    for name in ("fcos_lib/a.py", "fcos_lib/limits.toml", "fixtures/b.py", "tests/acceptance/test_c.py", "conftest.py", "pytest.ini"):  # fmt: skip
        (tmp_path / "one" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "one" / name).write_text(name)
    return tmp_path / "one", tree_digest(tmp_path / "one")


def test_the_place_does_not_count(tree, tmp_path):
    """Nor what Python and an editor leave, a dataset, or other tests."""
    root, before = tree
    shutil.copytree(root, tmp_path / "two")
    for name in ("fcos_lib/__pycache__/a.cpython-311.pyc", "fixtures/x.jpg", "fcos_lib/a.py~", "tests/unit/test_x.py", "notes.py"):  # fmt: skip
        (tmp_path / "two" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "two" / name).write_text("x")
    assert tree_digest(tmp_path / "two") == before


@pytest.mark.parametrize("name", ["fcos_lib/a.py", "fcos_lib/limits.toml", "fixtures/b.py", "tests/acceptance/test_c.py", "conftest.py", "pytest.ini"])  # fmt: skip
def test_every_source_counts(tree, name):
    """Its text, its name, and whether it is there."""
    root, before = tree
    path = root / name
    text = path.read_text()
    path.write_text(text + " ")
    changed = tree_digest(root)
    path.write_text(text)
    path.rename(path.with_name(f"x_{path.name}"))
    assert len({before, changed, tree_digest(root)}) == 3, f"a change of {name} is not seen"


def test_a_new_file_counts_and_so_does_moving_text_between_files(tree):
    """Names and contents cannot be mistaken for each other."""
    root, before = tree
    (root / "fcos_lib" / "new.py").write_text("")
    new = tree_digest(root)
    (root / "fcos_lib" / "new.py").unlink()
    first, second = root / "fcos_lib" / "a.py", root / "fixtures" / "b.py"
    one, two = first.read_text(), second.read_text()
    first.write_text(two)
    second.write_text(one)
    assert len({before, new, tree_digest(root)}) == 3


def test_a_package_without_a_checkout_has_a_digest_and_no_lock(tree):
    """As it is installed elsewhere."""
    root, before = tree
    for name in TREE[1:]:
        path = root / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert tree_digest(root) not in ("", before)
    assert lock_digest(root) is None
    (root / LOCK).write_text("x")
    assert len(lock_digest(root)) == 64, "a SHA-256 has 64 digits"
