"""A config is read as mmengine reads it, and whatever would have to be run for that is refused by its line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fcos_lib.errors import UsageError
from fcos_lib.model.config_files import read_config
from fcos_lib.model.config_parts import plain
from fcos_lib.model.detector import config_folder

OWN = sorted(Path(__file__).parent.glob("configs/fcos/*.py"))
PUBLISHED = sorted(config_folder().glob("fcos/*.py"))
_MMENGINE = """
import json, sys, warnings
warnings.simplefilter("ignore")
from mmengine.config import Config
def read(path):
    try:
        return Config.fromfile(path)._cfg_dict.to_dict()
    except Exception as error:
        return type(error).__name__
print(json.dumps({path: read(path) for path in sys.argv[1:]}))
"""
INHERITED = {
    "values": "a, b = 1, 2\n",
    "merged": "_base_ = 'one.py'\nx = dict(d=dict(e=5))\n",
    "replaced": "_base_ = 'one.py'\nx = dict(_delete_=True, f=1)\nnew = dict(_delete_=True, g=1)\n",
    "not_deleted": "_base_ = 'one.py'\nx = dict(_delete_=False, f=1, d=dict(_delete_=True))\n",
    "list": "_base_ = ['one.py', 'two.py']\nx = dict(a=[9])\ny = [1]\n",
    "duplicate": "_base_ = ('one.py', 'one.py')\n",
    "no_dict_below": "_base_ = 'one.py'\ny = dict(a=1)\n",
    "of_base": "_base_ = 'one.py'\nz = [{{_base_.x.d}}, _base_.y, dict(k={{ _base_.x.a }})]\n",
    "no_such": "_base_ = 'one.py'\nz = {{_base_.x.nothing}}\n",
    "arithmetic": "a = -0.9 * 2 + 1 / 4 - 3\nb = 'x' + 'y' 'z'\nc = [1] + [2, *(3, 4)]\nd = (1,) + (2,)\n",
    "unpacked": "n = dict(m=[1], t=False)\na = dict(type='N', **n)\nb = {'type': 'M', **n, 'm': 0}\nc = dict(n, m=2)\n",
    "twice": "n = dict(m=1)\na = dict(m=2, **n)\n",
    "unbound": "_base_ = 'one.py'\na = y\n",
    "several": "a = b = dict(c=1)\na = 2\n'text'\n",
}


@pytest.fixture(scope="module")
def inherited(tmp_path_factory):
    """Small configs that inherit in every way; two bases, and what each file is to mmengine."""
    folder = tmp_path_factory.mktemp("tree") / "fcos"
    folder.mkdir()
    (folder / "one.py").write_text("x = dict(a=[1, 2], d=dict(e=3, f='g'))\ny = (1, 2)\n")
    (folder / "two.py").write_text("w = None\n")
    for name, text in INHERITED.items():
        (folder / f"{name}.py").write_text(text)
    return folder


@pytest.fixture(scope="module")
def by_mmengine(inherited):
    """What mmengine makes of every config here, in one process of its own: JSON, or the name of its error."""
    paths = [*PUBLISHED, *OWN, *(inherited / f"{name}.py" for name in INHERITED)]
    command = [sys.executable, "-c", _MMENGINE, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {Path(path): value for path, value in json.loads(done.stdout.splitlines()[-1]).items()}


def as_json(value):
    """Lists and tuples alike, as JSON has them."""
    return json.loads(json.dumps(value))


@pytest.mark.parametrize("path", [*PUBLISHED, *OWN], ids=lambda path: path.stem)
def test_a_published_config_is_read_as_mmengine_reads_it(path, by_mmengine):
    """All variables, those of the bases included."""
    assert as_json(plain(read_config(path))) == by_mmengine[path]


@pytest.mark.parametrize("name", INHERITED)
def test_inheritance_is_mmengines(name, inherited, by_mmengine):
    """What it refuses is refused."""
    path = inherited / f"{name}.py"
    theirs = by_mmengine[path]
    if name == "values":  # mmengine unpacks; here a target is one name
        theirs = "refused"
    if isinstance(theirs, str):
        with pytest.raises(UsageError, match=rf"{name}\.py line \d+: "):
            read_config(path)
    else:
        assert as_json(plain(read_config(path))) == theirs


def test_a_base_of_the_installed_mmdet_is_read_from_there(tmp_path):
    """As mmengine has it: the package's name before two colons."""
    (tmp_path / "mine.py").write_text("_base_ = 'mmdet::fcos/fcos_r50-caffe_fpn_gn-head_4xb4-1x_coco.py'\nmodel = dict(bbox_head=dict(num_classes=3))\n")  # fmt: skip
    model = plain(read_config(tmp_path / "mine.py"))["model"]
    assert (model["backbone"]["depth"], model["bbox_head"]["num_classes"]) == (50, 3)


COMPUTED = {
    "import": ("import os", "what 'import' does is computed"),
    "from": ("from os import path", "what 'from' does is computed"),
    "system": ("__import__('os').system('touch MARKER')", "a call is no assignment"),
    "in value": ("x = __import__('os').system('touch MARKER')", "a call is computed"),
    "open": ("x = open('MARKER', 'w')", "a call is computed"),
    "dict of a call": ("x = dict(a=open('MARKER', 'w'))", "a call is computed"),
    "keyword argument of another call": ("x = list(a=1)", "a call is computed"),
    "own dict": ("dict = 1\nx = dict(a=1)", "'dict' is a name of Python's own"),
    "dunder": ("__builtins__ = dict()", "is a name of Python's own"),
    "comprehension": ("x = [i for i in (1, 2)]", "what 'for' does is computed"),
    "f-string": ("x = f'{open(chr(77))}'", "an f-string is computed"),
    "f-string in capitals": ("x = rF'{1}'", "an f-string is computed"),
    "lambda": ("x = lambda: 1", "what 'lambda' does is computed"),
    "if": ("if True: x = 1", "what 'if' does is computed"),
    "with": ("with read_base():\n    pass", "what 'with' does is computed"),
    "block": ("x = 1\n  y = 2", "is computed|not Python"),
    "attribute": ("x = os.environ", "an attribute is computed"),
    "attribute of base": ("x = [_base_.y.z]", "the base files have no y"),
    "method of base": ("_base_.x.update(y=1)", "a call is no assignment"),
    "item": ("x = [1]\ny = x[0]", "line 2: an item of another value is computed"),
    "assigned item": ("x = dict()\nx['a'] = 1", "line 2: an item of another value is assigned to"),
    "assigned attribute": ("x = dict()\nx.a = 1", "line 2: an attribute is assigned to"),
    "changed": ("x = 1\nx += 1", "an assignment that changes a value"),
    "typed": ("x: int = 1", "an assignment with a type"),
    "walrus": ("x = (y := 1)", "an assignment inside of a value"),
    "power": ("x = 9 ** 9 ** 9", "of what are no numbers|is computed|no part"),
    "repeated": ("x = 'a' * 10", "of what are no numbers is computed"),
    "repeated list": ("x = [0] * 10", "of what are no numbers is computed"),
    "format": ("x = 'a%s' % 'b'", "is computed"),
    "set": ("x = {1, 2}", "a set is computed"),
    "bytes": ("x = b'a'", "a value of type bytes"),
    "ellipsis": ("x = ...", "a value of type ellipsis"),
    "complex": ("x = 1j", "a value of type complex"),
    "infinite": ("x = 1e999", "beyond 64 bits"),
    "huge": ("x = 10000000000000000000000", "beyond 64 bits"),
    "huge product": ("x = 9000000000000000000 * 9", "beyond 64 bits"),
    "many digits": ("x = " + "9" * 100_000, "more than 100 digits"),
    "by nothing": ("x = 1 / 0", "division by nothing"),
    "key": ("x = {1: 2}", "a key of a dict is no text"),
    "filled in": ("x = '{{ fileDirname }}'", "filled in by mmengine"),
    "environment": ("x = '{{$HOME:1}}'", "filled in by mmengine"),
    "two bases": ("_base_ = []\n_base_ = []", "line 2: _base_ is assigned to a second time"),
    "computed base": ("_base_ = open('MARKER', 'w')", "a call is computed"),
    "base of numbers": ("_base_ = [1]", "_base_ is no text"),
    "decorator": ("@open\nclass A: 1", "what 'class' does"),
    "semicolon": ("x = 1; open('MARKER', 'w')", "a call is no assignment"),
    "print": ("print('x')", "a call is no assignment"),
    "deep brackets": ("x = " + "[" * 90 + "]" * 90, "40 open brackets"),
    "deep minus": ("x = " + "-" * 50_000 + "1", "200 operators"),
    "deep sum": ("x = 1" + " + 1" * 30_000, "200 operators"),
    "deep attributes": ("x = a" + ".a" * 30_000, "200 operators"),
    "deep by names": ("x0 = [1]\n" + "\n".join(f"x{i + 1} = [x{i}]" for i in range(100)), "60 levels"),
    "wide by names": ("x0 = [1, 1]\n" + "\n".join(f"x{i + 1} = [x{i}, x{i}]" for i in range(40)), "100,000 values"),
    "long by names": ("x = 'ab'\n" + "x = x + x\n" * 40, "10,000 letters"),
    "unpacked by names": ("x = [1, 1]\n" + "x = [*x, *x]\n" * 40, "100,000 values"),
    "tokens": ("x = [" + "1," * 30_000 + "]", "50,000 words"),
    "null": ("x = 1\0", "U\\+0000"),
    "bidi": ("x = 'a\u202eb'", "U\\+202E"),
    "invisible": ("x = 1\nx\u200b = 2", "line 2: there is the character U\\+200B"),
    "return": ("# a\rimport os", "U\\+000D"),
    "letters": ("mod\uff45l = 1", "letters that Python takes for others"),
    "cookie": ("# -*- coding: utf-7 -*-\nx = 1\nimport os", "line 3: what 'import'"),
    "continued": ("x = \\\n  1\nimport \\\n os", "line 3: what 'import'"),
    "open bracket": ("x = (1", "not Python"),
    "unfinished text": ("x = '''a", "not Python"),
    "starred text": ("x = [*'abc']", "no list"),
    "unpacked text": ("x = dict(**'abc')", "no dict is to be unpacked"),
    "escapes": ("x = '\\ud800'\nimport os", "line 2: what 'import'"),
}


@pytest.mark.parametrize("kind", COMPUTED)
def test_what_is_computed_is_refused_by_its_line_and_not_run(kind, tmp_path):
    """Nothing makes the marker, and no limit of Python's own is reached."""
    text, reason = COMPUTED[kind]
    marker, path = tmp_path / "marker", tmp_path / "x.py"
    path.write_text(text.replace("MARKER", str(marker)), encoding="utf-8", newline="")
    with pytest.raises(UsageError, match=reason) as error:
        read_config(path)
    assert str(path) in error.value.found
    assert " line " in error.value.found
    assert error.value.advice
    assert len(str(error.value)) < 1000, f"the message has {len(str(error.value))} letters"
    assert not marker.exists()


def _base_of(folder, name):
    path = folder / "fcos" / "x.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"_base_ = {name!r}\n")
    return path


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("/etc/passwd", "no relative path of a .py file"),
        ("../../../../../../etc/passwd", "no relative path of a .py file"),
        ("../../outside.py", "is outside of"),
        ("../link.py", "is outside of"),
        ("../folder/inner.py", "is outside of"),
        ("../pipe.py", "no such file"),
        ("../nothing.py", "no such file"),
        ("x.py", "includes this file"),
        ("../round.py", "includes this file"),
        ("a\0b.py", "no relative path"),
        ("../" + "a" * 5000 + ".py", "cannot be read|no such file"),
        ("mmdet::../../../../secret.py", "is outside of"),
        ("mmdet::fcos/nothing.py", "no such file"),
        ("mmdet::/etc/x.py", "no relative path"),
        ("mmpretrain::a.py", "no relative path"),
        ("~/x.py", "no such file"),
        ("", "no relative path"),
    ],
    ids=lambda text: text[:20],
)
def test_a_base_outside_of_the_tree_is_refused(name, reason, tmp_path):
    """Through links too; nothing waits for a pipe."""
    tree = tmp_path / "tree"
    tree.mkdir()
    (tmp_path / "outside.py").write_text("secret = 1\n")
    (tmp_path / "inner.py").write_text("secret = 1\n")
    (tree / "link.py").symlink_to(tmp_path / "outside.py")
    (tree / "folder").symlink_to(tmp_path)
    (tree / "round.py").write_text("_base_ = 'fcos/x.py'\n")
    os.mkfifo(tree / "pipe.py")
    with pytest.raises(UsageError, match=reason):
        read_config(_base_of(tree, name))


def test_the_tree_may_be_named(tmp_path):
    """A config deeper than mmdet's own reaches its bases when it is told how far."""
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    (tmp_path / "base.py").write_text("x = 1\n")
    path = _base_of(deep, "../../../base.py")
    with pytest.raises(UsageError, match="outside"):
        read_config(path)
    assert plain(read_config(path, tmp_path)) == {"x": 1}
    with pytest.raises(UsageError, match="not in"):
        read_config(path, tmp_path / "a" / "c")


def test_a_chain_has_an_end(tmp_path):
    """More files than any config of mmdet has."""
    for number in range(30):
        (tmp_path / f"c{number}.py").write_text(f"_base_ = 'c{number + 1}.py'\n")
    with pytest.raises(UsageError, match="at most 16"):
        read_config(tmp_path / "c0.py")


@pytest.mark.parametrize("data", [b"\xff\xfe", b"x = 1\n" * (1 << 20), b"\x80"], ids=["utf-16", "6 MB", "latin"])
def test_what_is_no_small_text_is_refused(data, tmp_path):
    """Six megabytes, and bytes that are no UTF-8."""
    (tmp_path / "x.py").write_bytes(data)
    with pytest.raises(UsageError, match="cannot be read"):
        read_config(tmp_path / "x.py")


@pytest.mark.parametrize("name", ["x.json", "x.yaml", "x"])
def test_only_python_files_are_configs(name, tmp_path):
    """A record needs no conversion."""
    (tmp_path / name).write_text("{}")
    with pytest.raises(UsageError, match=r"no \.py file"):
        read_config(tmp_path / name)
