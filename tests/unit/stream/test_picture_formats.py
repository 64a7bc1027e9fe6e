"""Pictures as people have them: taken with the value that Pillow or plain arithmetic gives, or refused by a sentence of their own."""

import io
import os
import struct

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from fcos_lib.errors import DatasetError
from fcos_lib.stream.dataset import Picture, read_picture, turned_by_exif
from fcos_lib.stream.dispatch_devices import sent
from fcos_lib.stream.picture_file import orientation_of

WIDTH, HEIGHT = 64, 48
RANDOM = np.random.default_rng(0)
NOISE = RANDOM.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
SMOOTH = np.dstack([
    np.broadcast_to(np.linspace(0, 255, WIDTH), (HEIGHT, WIDTH)),
    np.broadcast_to(np.linspace(255, 40, HEIGHT)[:, None], (HEIGHT, WIDTH)), np.full((HEIGHT, WIDTH), 90.0),
]).astype(np.uint8)  # fmt: skip
"""RGB, and without edges, so that JPEG changes it by little."""


def packed(image, form, **options):
    """A picture of Pillow's as a file's content."""
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


@pytest.fixture
def read(tmp_path):
    """Read a file's content as the suite does: RGB, int."""

    def do(content, width=WIDTH, height=HEIGHT):
        (tmp_path / "a.jpg").write_bytes(content)
        return read_picture(Picture(1, tmp_path / "a.jpg", width, height))[..., ::-1].astype(int)

    return do


def grey(array):
    """One channel as red, green and blue."""
    return np.repeat(np.asarray(array, int)[..., None], 3, axis=2)


def palette(transparent=None):
    """A PNG with a palette, and its colours."""
    image = Image.fromarray(SMOOTH).convert("P", palette=Image.Palette.ADAPTIVE)
    options = {} if transparent is None else {"transparency": transparent}
    return packed(image, "PNG", **options), np.asarray(image.convert("RGB"))


def cmyk(marked):
    """A JPEG of four channels, with Adobe's marker, which says that they are inverted, or without."""
    data = packed(Image.fromarray(SMOOTH).convert("CMYK"), "JPEG", quality=98)
    if not marked:
        at = data.index(b"\xff\xee")
        data = data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]
    return data, np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


SIXTEEN = RANDOM.integers(0, 65536, (HEIGHT, WIDTH, 3)).astype(np.uint16)
FRAMES = [Image.fromarray(NOISE), Image.fromarray(255 - NOISE)]
TAKEN = {
    "png": lambda: (packed(FRAMES[0], "PNG"), NOISE, 0),
    "png-of-16-bit": lambda: (cv2.imencode(".png", SIXTEEN[..., ::-1])[1].tobytes(), SIXTEEN >> 8, 0),
    "png-of-16-bit-grey": lambda: (cv2.imencode(".png", SIXTEEN[..., 0])[1].tobytes(), grey(SIXTEEN[..., 0] >> 8), 0),
    "png-grey": lambda: (packed(Image.fromarray(NOISE[..., 0]), "PNG"), grey(NOISE[..., 0]), 0),
    "png-black-and-white": lambda: (packed(Image.fromarray(NOISE[..., 0] > 99), "PNG"), grey(255 * (NOISE[..., 0] > 99)), 0),
    "png-with-alpha": lambda: (packed(Image.fromarray(np.dstack([NOISE, NOISE[..., 0]])), "PNG"), NOISE, 0),
    "png-grey-with-alpha": lambda: (packed(Image.fromarray(NOISE[..., :2], "LA"), "PNG"), grey(NOISE[..., 0]), 0),
    "png-palette": lambda: (*palette(), 0),
    "png-palette-with-transparency": lambda: (*palette(3), 0),
    "png-animated": lambda: (packed(FRAMES[0], "PNG", save_all=True, append_images=FRAMES[1:], duration=10), NOISE, 0),
    "jpeg": lambda: (packed(Image.fromarray(SMOOTH), "JPEG", quality=98), SMOOTH, 6),
    "jpeg-progressive": lambda: (packed(Image.fromarray(SMOOTH), "JPEG", quality=98, progressive=True), SMOOTH, 6),
    "jpeg-grey": lambda: (packed(Image.fromarray(SMOOTH[..., 0]), "JPEG", quality=98), grey(SMOOTH[..., 0]), 3),
    "jpeg-of-two-pictures": lambda: (packed(Image.fromarray(SMOOTH), "MPO", save_all=True, append_images=FRAMES, quality=98), SMOOTH, 6),
    "jpeg-cmyk": lambda: (*cmyk(True), 1),
    "jpeg-cmyk-unmarked": lambda: (*cmyk(False), 1),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated:DeprecationWarning")
@pytest.mark.parametrize("make", TAKEN.values(), ids=TAKEN)
def test_a_picture_has_its_right_value(read, make):
    """Whatever its kind: the red, green and blue that it shows, to within what JPEG's rounding does."""
    content, expected, most = make()
    off = np.abs(read(content) - np.asarray(expected, int)).max()
    assert off <= most, f"a pixel is off by {off}, at most {most} are expected"


def with_orientation(image, form, orientation, order=">"):
    """A file with an EXIF orientation, in either order of bytes."""
    block = {">": b"MM\0*", "<": b"II*\0"}[order] + struct.pack(
        f"{order}IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0
    )
    options = {"quality": 98} if form == "JPEG" else {}
    return packed(image, form, exif=b"Exif\0\0" + block, **options)


@pytest.mark.parametrize("order", [">", "<"], ids=["big-endian", "little-endian"])
@pytest.mark.parametrize("form", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_each_exif_orientation_is_turned_upright_as_in_the_recipe(tmp_path, read, orientation, form, order):
    """The recipe decodes by cv2.imread, which turns; Pillow's exif_transpose is the ruler. The sizes annotated are the upright ones."""
    content = with_orientation(Image.fromarray(SMOOTH), form, orientation, order)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content)))).astype(int)
    height, width = upright.shape[:2]
    off = np.abs(read(content, width, height) - upright).max()
    assert off <= 3, f"a pixel is off by {off}: the picture is not turned as Pillow turns it"
    (tmp_path / "a.jpg").write_bytes(content)
    recipe = cv2.imread(str(tmp_path / "a.jpg"), cv2.IMREAD_COLOR)[..., ::-1].astype(int)
    np.testing.assert_array_equal(read(content, width, height), recipe)
    assert orientation_of(tmp_path / "a.jpg") == orientation


def test_turned_pictures_are_said_once(tmp_path):
    """How many, and the first names; what lies upright, is broken or missing is not counted."""
    contents = {
        "b/turned.png": with_orientation(Image.fromarray(SMOOTH), "PNG", 6),
        "turned.jpg": with_orientation(Image.fromarray(SMOOTH), "JPEG", 3),
        "upright.jpg": with_orientation(Image.fromarray(SMOOTH), "JPEG", 1),
        "plain.jpg": packed(Image.fromarray(SMOOTH), "JPEG"), "empty.jpg": b"", "text.jpg": b"\xff\xd8text",
        "no-orientation.jpg": with_orientation(Image.fromarray(SMOOTH), "JPEG", 9),
    }  # fmt: skip
    pictures = []
    for number, (name, content) in enumerate(contents.items()):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
        pictures.append(Picture(number, tmp_path / name, WIDTH, HEIGHT, name))
    pictures.append(Picture(99, tmp_path / "missing.jpg", 1, 1))
    (said,) = turned_by_exif(pictures)
    assert said.startswith("2 pictures with an EXIF orientation, which are turned upright, as in the recipe"), said
    assert said.endswith("(b/turned.png, turned.jpg)")
    assert not [*turned_by_exif(pictures[2:])]


def test_a_size_that_is_annotated_as_the_file_lies_is_refused_for_its_orientation(read):
    """The sentence says what turned it."""
    with pytest.raises(
        DatasetError, match=r"48 x 64 pixels, annotated as 64 x 48 \(turned by its EXIF orientation 6"
    ) as caught:
        read(with_orientation(Image.fromarray(SMOOTH), "JPEG", 6))
    assert "as they lie in their files" in caught.value.advice


def written_by_pillow(form, **options):
    """The picture in one of Pillow's formats."""
    return lambda: packed(FRAMES[0], form, **options)


REFUSED = {
    "gif": (written_by_pillow("GIF"), "in JPEG or PNG but in GIF"),
    "gif-animated": (written_by_pillow("GIF", save_all=True, append_images=FRAMES[1:]), "in JPEG or PNG but in GIF"),
    "webp": (written_by_pillow("WEBP"), "in JPEG or PNG but in WebP"),
    "webp-animated": (written_by_pillow("WEBP", save_all=True, append_images=FRAMES[1:]), "in JPEG or PNG but in WebP"),
    "bmp": (written_by_pillow("BMP"), "in JPEG or PNG but in BMP"),
    "tiff": (written_by_pillow("TIFF"), "in JPEG or PNG but in TIFF"),
    "big-tiff": (lambda: b"MM\0+" + bytes(99), "in JPEG or PNG but in TIFF"),
    "jpeg-2000": (written_by_pillow("JPEG2000"), "in JPEG or PNG but in JPEG 2000"),
    "avif": (lambda: b"\0\0\0\x20ftypavif" + bytes(99), "in JPEG or PNG but in AVIF"),
    "heic": (lambda: b"\0\0\0\x18ftypheic" + bytes(99), "in JPEG or PNG but in HEIC"),
    "jpeg-xl": (lambda: b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(99), "in JPEG or PNG but in JPEG XL"),
    "exr": (lambda: b"v/1\x01" + bytes(99), "in JPEG or PNG but in OpenEXR"),
    "hdr": (lambda: b"#?RADIANCE\n" + bytes(99), "in JPEG or PNG but in Radiance HDR"),
    "ppm": (written_by_pillow("PPM"), "in JPEG or PNG but in netpbm's P6"),
    "ico": (written_by_pillow("ICO"), "in JPEG or PNG but in ICO"),
    "sgi": (written_by_pillow("SGI"), "in JPEG or PNG but in SGI"),
    "dds": (written_by_pillow("DDS"), "in JPEG or PNG but in DDS"),
    "sun": (lambda: cv2.imencode(".ras", NOISE)[1].tobytes(), "in JPEG or PNG but in Sun raster"),
    "html": (lambda: b"<!DOCTYPE html><html>404</html>", "is not a picture but HTML or XML, perhaps the page of a failed download"),
    "lfs": (lambda: b"version https://git-lfs.example/spec/v1\noid sha256:0", "is not a picture but a pointer of Git LFS"),
    "unknown": (lambda: bytes(range(1, 255)), "is not a picture in JPEG or PNG with a whole header"),
    "png-animation-beside-a-picture": (
        lambda: packed(FRAMES[0], "PNG", save_all=True, append_images=[FRAMES[1], FRAMES[0]], default_image=True),
        "is an animated PNG with a still picture that is no part of it",
    ),
    "png-torn": (lambda: packed(FRAMES[0], "PNG")[:-3000], "is not a picture that OpenCV can decode"),
    "png-without-its-end": (lambda: packed(FRAMES[0], "PNG")[:-12], "is not a picture that OpenCV can decode"),
    "png-damaged": (lambda: (data := packed(FRAMES[0], "PNG"))[:3000] + b"x" + data[3001:], "is not a picture that OpenCV can decode"),
    "jpeg-torn": (lambda: packed(FRAMES[0], "JPEG")[:-300], "is truncated"),
    "jpeg-of-12-bit": (lambda: (data := packed(FRAMES[0], "JPEG"))[: (at := data.index(b"\xff\xc0")) + 4] + b"\x0c" + data[at + 5 :], "is not a picture that OpenCV can decode"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_read_is_refused_by_name(read, monkeypatch, make, words):
    """In a sentence that names the file, whatever its name ends with, and what is no JPEG or PNG before it reaches a decoder."""
    if "that OpenCV can decode" not in words:
        monkeypatch.setattr("fcos_lib.stream.picture_file.cv2.imdecode", lambda *_: pytest.fail("it was decoded"))
    with pytest.raises(DatasetError, match=r"picture .*/a\.jpg ") as caught:
        read(make())
    assert words in caught.value.found, caught.value.found
    converted = "convert it to PNG, and name that in the annotation file"
    assert caught.value.advice == (converted if "but in" in words else "restore the file")


def test_a_cluster_is_not_sent_what_is_not_read(tmp_path):
    """The same sentence, on the host that has the file."""
    (tmp_path / "a.jpg").write_bytes(packed(FRAMES[0], "WEBP"))
    with pytest.raises(DatasetError, match="but in WebP"):
        sent([Picture(1, tmp_path / "a.jpg", WIDTH, HEIGHT)])


@pytest.mark.parametrize("seed", range(300))
def test_a_header_of_any_bytes_has_some_orientation(tmp_path, seed):
    """Spoilt files of both formats: an answer from 1 to 8, soon, and no error."""
    random = np.random.default_rng(seed)
    form = ("JPEG", "PNG")[seed % 2]
    content = bytearray(with_orientation(Image.fromarray(SMOOTH), form, int(random.integers(1, 9)), "<>"[seed % 4 > 1]))
    for _ in range(random.integers(1, 12)):
        content[random.integers(0, min(120, len(content)))] = random.integers(0, 256)
    (tmp_path / "a").write_bytes(content[: random.integers(0, len(content))])
    assert 1 <= orientation_of(tmp_path / "a") <= 8
    os.truncate(tmp_path / "a", 5)
    assert orientation_of(tmp_path / "a") == 1
