"""Tables: labels stay text, paths stay below the table."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from PIL import Image

from regraft.data import images
from regraft.errors import DataError, MissingExtra


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("1.png", "2.png", "sub/3.png", "a,b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    return tmp_path


def write(folder: Path, text: str | bytes, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def labels(data) -> dict[str, str]:
    return {e.id: e.label for e in data.examples}


def message(*args, **kwargs) -> str:
    with pytest.raises(DataError) as caught:
        images(*args, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_csv(folder) -> None:
    data = images(write(folder, 'label,path\nx,1.png\ny,sub/3.png\nx,"a,b.png"\n'))
    assert labels(data) == {"1.png": "x", "a,b.png": "x", "sub/3.png": "y"}
    assert data.classes == ("x", "y")
    assert {e.split for e in data.examples} == {None}
    assert data.examples[0].read() == (folder / "1.png").read_bytes()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.csv", "path;label\r\n1.png;x\r\n2.png;y\r\n"),
        ("t.csv", "path\tlabel\n1.png\tx\n\n2.png\ty"),
        ("t.tsv", "path\tlabel\n1.png\tx\n2.png\ty\n"),
        ("t.csv", "\ufeffpath,label\n1.png,x\n2.png,y\n"),
        ("t.CSV", "path,label\r1.png,x\r2.png,y\r"),
    ],
)
def test_dialects(folder, name: str, text: str) -> None:
    assert labels(images(write(folder, text, name))) == {"1.png": "x", "2.png": "y"}


def test_labels_stay_text(folder) -> None:
    magic = ["NA", "null", "NaN", "01", "1.0", "1", "TRUE", "true", "None", "nan", "-", " ", "1e5"]
    rows = []
    for i, label in enumerate(magic):
        Image.new("RGB", (2, 2)).save(folder / f"m{i:02d}.png")
        rows.append(f"m{i:02d}.png,{label}")
    data = images(write(folder, "path,label\n" + "\n".join(rows)))
    assert [e.label for e in data.examples] == magic
    assert data.classes == tuple(sorted(magic))


def test_other_column_names_and_splits(folder) -> None:
    text = "file,kind,part\n1.png,x,train\n2.png,y,training\nsub/3.png,x,Validation\n'a,z,test\n"
    data = images(
        write(folder, text.replace("'a,z", '"a,b.png",z')),
        path_column="file",
        label_column="kind",
        split_column="part",
    )
    assert {e.id: e.split for e in data.examples} == {
        "1.png": "train",
        "2.png": "train",
        "a,b.png": "test",
        "sub/3.png": "val",
    }


def test_jsonl(folder) -> None:
    rows = [{"path": "1.png", "label": 1}, {"path": "2.png", "label": True, "more": [1]}]
    rows += [{"path": "sub/3.png", "label": "1"}, {"path": "a,b.png", "label": None}]
    data = images(write(folder, "\n".join(map(json.dumps, rows)) + "\n\n", "t.jsonl"))
    assert labels(data) == {"1.png": "1", "2.png": "true", "sub/3.png": "1"}
    assert [(s.file, s.reason) for s in data.skipped] == [("a,b.png", "has no label")]


def test_parquet(folder) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pa.table(
        {
            "path": ["1.png", "2.png", None],
            "label": pa.array(["x", "NA", "x"]).dictionary_encode(),
            "split": ["train", "train", "test"],
        }
    )
    parquet.write_table(table, folder / "t.parquet")
    data = images(folder / "t.parquet")
    assert labels(data) == {"1.png": "x", "2.png": "NA"}
    assert [(s.file, s.reason) for s in data.skipped] == [("row 3", "has no path")]


def test_a_label_that_is_missing_in_parquet_is_no_class(folder) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    nan = float("nan")
    table = pa.table({"path": ["1.png", "2.png", "sub/3.png", "a,b.png"], "label": [1.0, 2.0, nan,
                     None]})  # fmt: skip
    parquet.write_table(table, folder / "t.parquet")
    data = images(folder / "t.parquet")
    assert data.classes == ("1.0", "2.0")
    assert {s.file: s.reason for s in data.skipped} == {
        "a,b.png": "has no label",
        "sub/3.png": "has no label",
    }


def test_a_label_that_is_no_text_is_left_out(folder) -> None:
    rows = [{"path": "1.png", "label": "x"}, {"path": "2.png", "label": "y"}]
    rows += [{"path": "sub/3.png", "label": "a\ud800"}, {"path": "a,b.png", "label": "🐝"}]
    data = images(write(folder, "\n".join(map(json.dumps, rows)), "t.jsonl"))
    assert data.classes == ("x", "y", "🐝")
    assert [(s.file, s.reason) for s in data.skipped] == [
        ("sub/3.png", "its label is not valid Unicode")
    ]


def test_a_label_longer_than_a_class_name_may_be(folder) -> None:
    long = "x" * 400
    assert long in images(write(folder, f"path,label\n1.png,{long}\n2.png,y\n")).classes
    text = message(write(folder, f"path,label\n1.png,y\n2.png,{long}x\n"))
    assert "row 2 of" in text
    assert "label of 401 characters" in text
    assert "at most 400" in text
    with pytest.raises(DataError, match="item 1 of the list has a label of 401 characters"):
        images([(folder / "1.png", "y"), (folder / "2.png", long + "x")])
    pairs = [(folder / "1.png", "x"), (folder / "2.png", "y"), (folder / "a,b.png", "\ud800"),
             (folder / "sub/3.png", "")]  # fmt: skip
    assert sorted(s.reason for s in images(pairs).skipped) == [
        "has no label",
        "its label is not valid Unicode",
    ]


def test_parquet_without_pyarrow_names_the_extra(folder, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"regraft\[tables\]"):
        images(write(folder, b"PAR1", "t.parquet"))


HOSTILE = [
    ("/etc/passwd", "absolute"),
    ("../secret.png", "leads out"),
    ("sub/../../secret.png", "leads out"),
    ("sub\\..\\..\\secret.png", "leads out"),
    ("file:///etc/passwd", "URL"),
    ("http://169.254.169.254/x.png", "URL"),
    ("s3://bucket/x.png", "URL"),
    ("data:image/png;base64-AAAA", "URL"),
    ("~/x.png", "home folder"),
    ("\\\\server\\share\\x.png", "absolute"),
    ("C:\\x.png", "absolute"),
    ("/dev/zero", "absolute"),
    ("/proc/self/environ", "absolute"),
    ("out.png", "leads out"),
    ("zero.png", "leads out"),
    ("outdir/secret.png", "leads out"),
    ("sub", "a folder"),
    ("gone.png", "no such file"),
    ("x" * 300, "cannot be opened|no such file"),
    ("y" * 5000, "not a path"),
    ("nul\0.png", "not a path"),
    ("", "has no path"),
]


@pytest.mark.parametrize(("name", "reason"), HOSTILE)
def test_nothing_outside_the_folder_is_opened(folder, name: str, reason: str) -> None:
    inner = folder / "inner"
    for path in ("a.png", "b.png", "sub/c.png"):
        (inner / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(inner / path)
    Image.new("RGB", (4, 4)).save(folder / "secret.png")
    (inner / "out.png").symlink_to(folder / "secret.png")
    (inner / "zero.png").symlink_to("/dev/zero")
    (inner / "outdir").symlink_to(folder)
    data = images(write(inner, f"path,label\na.png,x\nb.png,y\n{name},x\n"))
    assert set(labels(data)) == {"a.png", "b.png"}
    (skip,) = data.skipped
    assert any(word in skip.reason for word in reason.split("|"))


@pytest.mark.skipif(sys.platform == "win32", reason="Unix files")
@pytest.mark.timeout(60)
def test_a_pipe_in_a_table_is_not_opened(folder) -> None:
    os.mkfifo(folder / "p.png")
    data = images(write(folder, "path,label\n1.png,x\n2.png,y\np.png,x\n"))
    assert [s.reason for s in data.skipped] == ["a pipe, not a file"]


def test_repeated_rows_are_reported(folder) -> None:
    data = images(write(folder, "path,label\n1.png,x\n2.png,y\n1.png,y\n./1.png,x\n"))
    assert labels(data) == {"1.png": "x", "2.png": "y"}
    assert [s.reason for s in data.skipped] == ["listed before, as 'x'"] * 2


def test_missing_column_names_the_close_one(folder) -> None:
    text = message(write(folder, "path,lable\n1.png,x\n"))
    assert "has no column 'label' for the label; it has 'path', 'lable': rename one" in text
    assert text.endswith("Did you mean 'lable'?")
    assert "no column 'path'" in message(write(folder, "Where,label\n1.png,x\n"))
    assert "no column at all" in message(write(folder, ""))


def test_tables_that_are_none(folder) -> None:
    assert "2 columns named 'label'" in message(write(folder, "path,label,label\n1.png,x,y\n"))
    assert "row 2 of" in message(write(folder, "path,label\n1.png,x\n2.png,y,z\n"))
    assert "is not UTF-8" in message(write(folder, "path,label\n1.png,\xe9\n".encode("latin-1")))
    assert "is not UTF-8" in message(write(folder, "path,label\n1.png,x\n".encode("utf-16")[:-1]))
    assert "no CSV table" in message(write(folder, 'path,label\n1.png,"x\n'))
    assert "line 2 of" in message(write(folder, '{"path": "1.png", "label": "x"}\n{', "t.jsonl"))
    assert "must be a JSON object" in message(write(folder, "[1]", "t.jsonl"))
    assert "is no JSON" in message(write(folder, "[" * 100_000, "t.jsonl"))
    assert "is no JSON" in message(write(folder, '{"label": ' + "9" * 6000 + "}", "t.jsonl"))
    assert "is no Parquet table" in message(write(folder, b"PAR1 or not", "t.parquet"))


def test_header_only_and_nothing_usable(folder) -> None:
    assert "none of the 0 rows" in message(write(folder, "path,label\n"))
    text = message(write(folder, "path,label\ngone.png,x\n"))
    assert "('gone.png': no such file); paths are relative" in text


def test_unknown_split(folder) -> None:
    text = message(write(folder, "path,label,split\n1.png,x,train\n2.png,y,holdout\n"))
    assert "row 2 of" in text
    assert "'holdout': train, val or test" in text
    assert "row 1 of" in message(write(folder, "path,label,split\n1.png,x,\n"))


def test_one_class(folder) -> None:
    assert "1 class to learn from ('x')" in message(write(folder, "path,label\n1.png,x\n"))
