"""Tables as the field's tools write them: read as they are meant, or refused with what to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from regraft.data import images
from regraft.errors import DataError
from tests.pictures import CLASSES, picture

NAMES = [(kind, number) for kind in CLASSES for number in range(4)]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("table")
    for kind, number in NAMES:
        path = folder / "img" / kind / f"{kind}_{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(kind, number, 16).save(path)
    return folder


def table(home: Path, name: str, head: str, row: str) -> Path:
    """A row per picture: {k} is its class, {n} its number, {p} its path without the suffix."""
    lines = [row.format(k=k, n=n, p=f"img/{k}/{k}_{n}", v=n % 4 == 0) for k, n in NAMES]
    (home / name).write_text("\n".join([head, *lines]) + "\n")
    return home / name


@pytest.mark.parametrize(
    ("head", "row", "note"),
    [
        ("path,label", "{p}.png,{k}", ""),
        ("filename,class", "{p}.png,{k}", "'filename' of the table is taken for the path"),
        ("File Name,Target", "{p}.png,{k}", "'Target' of the table is taken for the label"),
        ("image,category", "{p}.png,{k}", "'category' of the table is taken for the label"),
        ("path,label", "{p},{k}", "12 paths of the table have no suffix"),
        ("path,label", "{p}.png ,{k}", "12 paths of the table have blanks around it"),
        ("path,label", "img\\{k}\\{k}_{n}.png,{k}", "have backslashes, as Windows writes them"),
        ("sep=;\npath;label", "{p}.png;{k}", ""),
        (",path,label", "{n},{p}.png,{k}", ""),
        ("path,class,filename", "{p}.png,{k},x", "'class' of the table is taken for the label"),
    ],
)
def test_dialects(home: Path, head: str, row: str, note: str) -> None:
    data = images(table(home, "t.csv", head, row))
    assert len(data) == len(NAMES)
    assert data.classes == CLASSES
    assert {e.id for e in data.examples} == {f"img/{k}/{k}_{n}.png" for k, n in NAMES}
    said = " ".join(data.notes)
    assert note in said
    assert bool(note) == bool(said)


def test_what_fastai_calls_valid_is_for_validation(home: Path) -> None:
    data = images(table(home, "t.csv", "path,label,is_valid", "{p}.png,{k},{v}"))
    assert len(data.part("val")) == 3
    assert len(data.part("train")) == 9
    assert "'is_valid' of the table is taken for the split" in " ".join(data.notes)


def test_a_missing_suffix_that_two_files_could_have_is_not_guessed(home: Path) -> None:
    again = home / "img" / "dots" / "dots_0.jpg"
    picture("dots", 0, 16).save(again)
    try:
        data = images(table(home, "t.csv", "path,label", "{p},{k}"))
    finally:
        again.unlink()
    assert [skip.file for skip in data.skipped] == ["img/dots/dots_0"]


def test_two_columns_for_one_role_are_asked_about(home: Path) -> None:
    with pytest.raises(DataError, match="several columns for the label: 'Label', 'LABEL'"):
        images(table(home, "t.csv", "path,Label,LABEL", "{p}.png,{k},{k}"))


SEVERAL = {
    "rows": ("path,label", "{p}.png,{k}\n{p}.png,striped"),
    "joined": ("path,label", "{p}.png,{k}\nimg/dots/dots_0.png,dots|checks"),
    "commas": ("path;label", '{p}.png;{k}\nimg/dots/dots_0.png;"dots, checks"'),
    "columns": ("path,a,b,c", "{p}.png,1,0,1"),
}


@pytest.mark.parametrize("how", SEVERAL)
def test_several_labels_are_refused_by_name(home: Path, how: str) -> None:
    with pytest.raises(DataError, match=r"have several labels \(.*one label per image so far"):
        images(table(home, "t.csv", *SEVERAL[how]))


def test_lists_of_labels_likewise(home: Path) -> None:
    rows = [{"path": f"img/{k}/{k}_{n}.png", "label": [k, "striped"]} for k, n in NAMES]
    (home / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match="holds a list of labels"):
        images(home / "t.jsonl")


def test_one_column_per_class_says_how_to_make_one_column(home: Path) -> None:
    text = "path,checks,dots,stripes\n" + "".join(
        f"img/{k}/{k}_{n}.png," + ",".join(str(int(k == c)) for c in CLASSES) + "\n"
        for k, n in NAMES
    )
    (home / "t.csv").write_text(text)
    with pytest.raises(DataError, match=r"one 0/1 column per class.*idxmax\(axis=1\)"):
        images(home / "t.csv")


def test_a_class_whose_name_has_a_comma_is_one(home: Path) -> None:
    (home / "t.csv").write_text(
        "path,label\n"
        + "".join(f'img/{k}/{k}_{n}.png,"{k}, of the common kind"\n' for k, n in NAMES)
    )
    assert len(images(home / "t.csv").classes) == 3


def test_one_row_that_contradicts_another_is_a_mistake_and_no_second_label(home: Path) -> None:
    path = table(home, "t.csv", "path,label", "{p}.png,{k}")
    path.write_text(path.read_text() + "img/dots/dots_0.png,checks\n")
    data = images(path)
    assert [skip.reason for skip in data.skipped] == ["listed before, as 'dots'"]


def test_unicode_text_of_excel(home: Path) -> None:
    path = table(home, "t.tsv", "path\tlabel", "{p}.png\t{k}")
    text = path.read_text()
    for encoding in ("utf-16", "utf-8-sig"):
        path.write_bytes(text.replace("\n", "\r\n").encode(encoding))
        assert images(path).classes == CLASSES
    path.write_bytes(text.encode("utf-16")[:-1])
    with pytest.raises(DataError, match="save it as UTF-8"):
        images(path)


def test_a_name_with_a_comma_is_one_label(home: Path) -> None:
    path = table(home, "t.csv", "path,label", '{p}.png,"{k}, small"')
    text = path.read_text().replace('"dots, small"', "dots", 1)
    path.write_text(text)
    assert "dots, small" in images(path).classes
    path.write_text(
        text.replace('"checks, small"', '"dots,stripes"', 1).replace(
            '"stripes, small"', "stripes", 1
        )
    )
    with pytest.raises(DataError, match="'dots,stripes' joins labels"):
        images(path)


def test_two_columns_of_truths_beside_a_class(home: Path) -> None:
    head, row = "filename,class,is_valid,blurred", "{p}.png,{k},{v},0"
    assert images(table(home, "t.csv", head, row)).classes == CLASSES


def test_half_of_a_surrogate_pair(home: Path) -> None:
    lines = [json.dumps({"path": f"img/{k}/{k}_{n}.png", "label": k}) for k, n in NAMES]
    lines.append('{"path": "a\\ud800.png", "label": "dots"}')
    (home / "t.jsonl").write_text("\n".join(lines))
    data = images(home / "t.jsonl")
    assert len(data) == len(NAMES)
    assert [skip.file for skip in data.skipped] == ["a\\ud800.png"]
    json.dumps([skip.json() for skip in data.skipped], ensure_ascii=False).encode()


def test_a_cell_that_never_ends(home: Path) -> None:
    (home / "t.csv").write_text('path,label\n"a.png,dots\n' + "b.png,dots\n" * 20_000)
    with pytest.raises(DataError, match="more than 131,072 characters; is a quote missing"):
        images(home / "t.csv")
