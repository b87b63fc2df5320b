"""Whatever is to be predicted: in the order given, once for each time it was named."""

from __future__ import annotations

import io
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import regraft.data.requests
from regraft.data.decode_image import decode
from regraft.data.pillow_modes import rgb
from regraft.data.requests import batches, files, requests
from regraft.errors import BadFile, DataError
from regraft.inputs import ImageSpec
from tests.pictures import picture, write_folder

SPEC = ImageSpec((32, 32))


def pixels(example) -> np.ndarray:
    return decode(example.read(), SPEC)[0]


def test_the_order_given_is_kept_with_repeats_and_what_cannot_be_read(tmp_path: Path) -> None:
    for name in "zma":
        picture("dots", ord(name)).save(tmp_path / f"{name}.png")
    asked = [tmp_path / n for n in ("z.png", "gone.png", "a.png", "z.png", "m.png")]
    made = requests(asked)
    assert [Path(name).name for name in made.order] == [p.name for p in asked]
    assert [Path(e.id).name for e in made.data.examples] == ["a.png", "m.png", "z.png"]
    assert [s.reason for s in made.data.skipped] == ["no such file"]
    assert requests(iter(asked)).order == made.order


def test_a_folder_stands_for_its_pictures_in_its_place(tmp_path: Path) -> None:
    write_folder(tmp_path / "data", 2)
    picture("dots", 7).save(tmp_path / "z.png")
    made = requests([tmp_path / "z.png", tmp_path / "data", tmp_path / "z.png"])
    names = [Path(name).relative_to(tmp_path).as_posix() for name in made.order]
    inside = [f"data/{kind}/{n:03d}.png" for kind in ("checks", "dots", "stripes") for n in (0, 1)]
    assert names == ["z.png", *inside, "z.png"]


def test_pixels_in_memory_are_those_of_the_file(tmp_path: Path) -> None:
    image = picture("checks", 3)
    path = tmp_path / "a.png"
    image.save(path)
    array = np.asarray(image)
    with path.open("rb") as opened:
        inputs = [
            path,
            path.read_bytes(),
            bytearray(path.read_bytes()),
            memoryview(path.read_bytes()),
            opened,
            image,
            Image.open(path),
            array,
            np.dstack([array, np.full(array.shape[:2], 255, np.uint8)]),
        ]
        made = requests(inputs)
    assert made.order[1:] == tuple(f"input {n}" for n in range(1, len(inputs)))
    by_id = {e.id: e for e in made.data.examples}
    truth = pixels(by_id[made.order[0]])
    for name in made.order[1:]:
        assert np.array_equal(pixels(by_id[name]), truth), name


def of_mode(mode: str) -> Image.Image:
    """A picture of a mode that few files can have."""
    image = picture("dots", 5)
    through = {"La": "LA", "RGBa": "RGBA", "PA": "P"}
    return image.convert(through[mode]).convert(mode) if mode in through else image.convert(mode)


@pytest.mark.parametrize("mode", ["HSV", "YCbCr", "La", "RGBa", "PA", "RGBX"])
def test_modes_that_no_file_has_are_what_the_decoder_makes_of_them(mode: str) -> None:
    image = of_mode(mode)
    (example,) = requests(image).data.examples
    plain = image.convert(mode.upper()) if mode in ("La", "RGBa") else image
    (truth,) = requests(rgb(plain)).data.examples
    assert np.array_equal(pixels(example), pixels(truth))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "F"])
def test_every_mode_of_pillow_as_its_file_would_be(mode: str, tmp_path: Path) -> None:
    image = picture("dots", 5)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L"), np.uint16) * 257)
    elif mode == "F":
        image = Image.fromarray(np.asarray(image.convert("L"), np.float32) / 255)
    else:
        image = image.convert(mode)
    image.save(tmp_path / "a.tif")
    (example,) = requests(image).data.examples
    (truth,) = files(tmp_path / "a.tif").examples
    assert np.array_equal(pixels(example), pixels(truth))


def test_a_turned_camera_is_heeded() -> None:
    out = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    wide = Image.fromarray(
        np.repeat(np.repeat(np.eye(4, 8, dtype=np.uint8)[..., None], 3, 2), 8, 0)
    )
    wide.save(out, "PNG", exif=exif)
    (opened,) = requests(Image.open(io.BytesIO(out.getvalue()))).data.examples
    (raw,) = requests(out.getvalue()).data.examples
    assert np.array_equal(pixels(opened), pixels(raw))


@pytest.mark.parametrize("turn", range(1, 9))
def test_every_turn_of_a_camera_is_heeded_in_files_and_images(turn: int) -> None:
    out = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = turn
    Image.fromarray(np.arange(24 * 40 * 3, dtype=np.uint32).reshape(24, 40, 3).astype("u1")).save(
        out, "TIFF", exif=exif, compression="raw"
    )
    (image,) = requests(Image.open(out)).data.examples
    (raw,) = requests(out.getvalue()).data.examples
    assert np.array_equal(pixels(image), pixels(raw))


def test_an_image_asked_for_twice_is_loaded_once_at_a_time(tmp_path: Path) -> None:
    picture("dots", 1).resize((800, 800)).save(tmp_path / "a.png")
    lazy = Image.open(tmp_path / "a.png")
    made = requests([lazy] * 8).examples
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(pixels, made))
    assert all(np.array_equal(one, pixels(made[0])) for one in read)


def test_an_image_that_cannot_be_loaded_says_so() -> None:
    out = io.BytesIO()
    picture("dots", 1).save(out, "PNG")
    (example,) = requests(Image.open(io.BytesIO(out.getvalue()[:200]))).data.examples
    with pytest.raises(BadFile, match="no picture can be had of it"):
        example.read()


def test_a_batch_of_pixels_is_as_many_pictures() -> None:
    batch = np.stack([np.asarray(picture("dots", n)) for n in range(3)])
    made = requests([batch, np.asarray(picture("checks", 0)), batch[0, :, :, 0]])
    assert made.order == tuple(f"input {n}" for n in range(5))
    assert len(requests(batch).order) == 3
    by_id = {e.id: e for e in made.data.examples}
    assert np.array_equal(pixels(by_id["input 2"]), pixels(requests(batch[2]).data.examples[0]))


def test_what_is_handed_over_may_change_afterwards() -> None:
    array = np.asarray(picture("dots", 0)).copy()
    made = requests(array)
    before = made.data.examples[0].read()
    array[:] = 0
    assert made.data.examples[0].read() == before


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        (None, "not NoneType"),
        (5, "not int"),
        ({"a": 1}, "not dict"),
        ([("a.png", "dots")], "is a tuple of 2"),
        ([None], "input 0 must be a path, bytes, a Pillow image or a uint8 array, not NoneType"),
        ("", "input 0 is an empty text"),
        (["a.png", ""], "input 1 is an empty text"),
        ([], "no file named"),
        (np.zeros((8, 8, 3)), "must hold uint8 pixels from 0 to 255, its type is float64"),
        (np.zeros((4, 8, 8), np.uint8), r"its shape is \(4, 8, 8\)"),
        (io.StringIO("a"), "opened as text"),
    ],
)
def test_what_is_no_picture_is_refused_in_a_sentence(inputs: object, said: str) -> None:
    with pytest.raises(DataError, match=said):
        requests(inputs)


def test_a_tensor_is_refused_in_a_sentence() -> None:
    import torch

    with pytest.raises(DataError, match="is a tensor: give uint8 pixels"):
        requests(torch.zeros(3, 8, 8))


def test_open_files_are_read_from_their_start_and_closed_ones_are_named() -> None:
    written, closed = io.BytesIO(), io.BytesIO(b"x")
    picture("dots", 1).save(written, "PNG")
    assert written.tell() > 0
    closed.close()
    first, second = requests([written, closed]).entries
    assert first.read() == written.getvalue()
    assert (second.file, second.reason[:14]) == ("input 1", "cannot be read")


def test_what_is_read_by_waiting_is_refused_in_a_sentence() -> None:
    class Upload:
        async def read(self) -> bytes:
            return b""

    with pytest.raises(DataError, match=r"give 'await file.read\(\)', its bytes"):
        requests(Upload())


def test_a_table_is_refused_and_its_column_is_taken(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    picture("dots", 1).save(tmp_path / "a.png")
    table = pandas.DataFrame({"path": [str(tmp_path / "a.png")] * 2})
    with pytest.raises(DataError, match="give the one that holds the paths"):
        requests(table)
    assert len(requests(table["path"]).order) == 2


def test_a_file_with_the_name_of_an_input_is_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    picture("dots", 1).save("a.png")
    Path("a.png").rename("input 0")
    one, other = requests([np.asarray(picture("checks", 2)), "input 0"]).entries
    assert one.read() != other.read()
    assert other.source == Path("input 0")


def test_examples_are_taken_as_they_are(tmp_path: Path) -> None:
    data = files(write_folder(tmp_path / "data", 1))
    assert requests(data.examples[::-1]).entries == data.examples[::-1]


def test_no_pixels_are_named_in_their_place() -> None:
    (example,) = requests(np.zeros((0, 4, 3), np.uint8)).data.examples
    with pytest.raises(BadFile, match=r"no pixels: its shape is \(0, 4, 3\)"):
        example.read()


def test_an_iterator_is_taken_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regraft.data.requests, "MOST_ITEMS", 2)
    given: list[int] = []

    def drawn():
        for n in range(5):
            given.append(n)
            yield np.asarray(picture("dots", n))

    made = batches(drawn())
    assert next(made).order == ("input 0", "input 1")
    assert given == [0, 1]
    assert [some.order for some in made] == [("input 2", "input 3"), ("input 4",)]
    assert [len(some.entries) for some in batches(iter([b"a", b"b"]))] == [2], "and no empty rest"


def test_an_iterator_is_taken_by_what_it_holds_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    array = np.asarray(picture("dots", 1))
    image = Image.fromarray(array)
    monkeypatch.setattr(regraft.data.requests, "MOST_BYTES", 2 * array.nbytes)
    several = [array, array, b"small", image, image, array]
    assert [len(some.entries) for some in batches(iter(several))] == [2, 3, 1]
    assert [len(some.entries) for some in batches(several)] == [6], "a list is there already"


def test_an_iterator_without_anything_is_refused() -> None:
    with pytest.raises(DataError, match="no file named"):
        list(batches(iter([])))


def test_arrays_of_names_are_names(tmp_path: Path) -> None:
    picture("dots", 1).save(tmp_path / "a.png")
    names = np.array([os.fspath(tmp_path / "a.png")] * 2)
    assert len(requests(names).order) == 2
    assert len(requests(names.astype(object)).order) == 2
    assert requests(names[0:1].reshape(())).order == (str(tmp_path / "a.png"),)


def test_a_hugging_face_data_set_needs_no_labels(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    images = [picture("dots", n) for n in range(2)]
    made = requests(
        datasets.Dataset.from_dict({"photo": images, "text": ["a", "b"]}).cast_column(
            "photo", datasets.Image()
        )
    )
    assert made.order == ("row/0", "row/1")
    for example, image in zip(made.data.examples, images, strict=True):
        assert np.array_equal(pixels(example), pixels(requests(image).data.examples[0]))


def test_rows_of_a_hugging_face_data_set_keep_their_places() -> None:
    datasets = pytest.importorskip("datasets")
    cells = [picture("dots", 0), None, picture("dots", 1)]
    table = datasets.Dataset.from_dict({"image": cells}).cast_column("image", datasets.Image())
    assert requests(table).order == ("row/0", "row/1", "row/2")
    assert requests(table).entries[1].reason == "has no image"
    assert len(requests(table.select([0, 2])["image"]).entries) == 2, "a column is a list"
    with pytest.raises(DataError, match="no file named"):
        requests(table.select([]))
    with pytest.raises(DataError, match=r"keep one, e.g. data.select_columns"):
        requests(table.add_column("other", [1, 2, 3]).remove_columns("image"))
