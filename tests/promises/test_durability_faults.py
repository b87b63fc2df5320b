"""Every call that writes fails once: what is on disk is whole, or not there, and said so.

After SQLite's own tests: make the first write fail, then the second, … until nothing failed any
more, and look at what is left each time.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import regraft
from regraft.cache import verify
from regraft.embed import embed
from regraft.engine.precision import decide, recorded
from regraft.errors import RegraftError
from regraft.files import digest, is_part
from tests.faults import Disk, failing
from tests.nets import small
from tests.pictures import write_folder

ERRORS = (errno.ENOSPC, errno.EIO)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("faults") / "data", 3)


@pytest.fixture(scope="module")
def net():
    return small()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, data: Path, net):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGRAFT_CACHE", str(tmp_path_factory.mktemp("faults-cache")))
        return regraft.fit(data, net, head="ridge", plan="probe")


def tree(folder: Path) -> dict[str, str]:
    return {
        p.relative_to(folder).as_posix(): digest(p.read_bytes())
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def until_clean(below: Path, job: Callable[[], object], error: int) -> Iterator[str | None]:
    """Run `job` with call 1, 2, … failing; gives what was said, None if it did not mind."""
    number = 1
    while True:
        with failing(Disk(below, number, error)) as disk:
            said = None
            try:
                job()
            except RegraftError as problem:
                said = str(problem)
        assert not [p for p in below.rglob("*") if is_part(p)], number
        if disk.count < number:  # nothing failed: a clean run
            assert said is None
            return
        if said is not None:
            assert "\n" not in said
            assert os.strerror(error) in said, said
        yield said
        number += 1


@pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.get)
@pytest.mark.parametrize("standalone", [False, True], ids=["head", "standalone"])
def test_a_bundle(standalone: bool, error: int, run, net, tmp_path: Path) -> None:
    home = tmp_path / "disk"
    good = run.model.save(home / "good", standalone=standalone)
    truth = tree(good)
    failures = 0
    new = home / "new"
    for said in until_clean(home, lambda: run.model.save(new, standalone=standalone), error):
        if said is not None:
            assert "MB" in said
            assert str(new) in said
            failures += 1
        if said is None or new.exists():  # only the parent's own fsync came after the rename
            assert tree(new) == truth
            shutil.rmtree(new)
        assert tree(good) == truth
    assert failures > 15
    assert tree(new) == truth
    assert regraft.load(new, backbone=net).classes == run.model.classes


@pytest.mark.slow
@pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.get)
def test_a_run_folder(error: int, run, tmp_path: Path) -> None:
    home = tmp_path / "disk"
    run.save(home / "good")
    truth = tree(home / "good" / "bundle")
    failures = 0
    new = home / "new"
    for said in until_clean(home, lambda: run.save(new), error):
        if said is not None:
            assert "MB" in said
            failures += 1
        if said is None or new.exists():
            assert tree(new / "bundle") == truth
            shutil.rmtree(new)
        assert tree(home / "good" / "bundle") == truth
    assert failures > 30


@pytest.mark.slow
@pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.get)
def test_the_cache_while_it_is_filled(error: int, data: Path, net, run, own_cache: Path) -> None:
    """Activations and the compiled trunk, from empty, each time a little further."""
    truth = run.model.predict(data)
    shutil.rmtree(own_cache)
    failures = 0
    for said in until_clean(own_cache, lambda: run.model.predict(data), error):
        failures += said is not None
        assert verify() == []
    assert failures >= 8
    assert run.model.predict(data) == truth


@pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.get)
def test_the_record_of_a_precision(error: int, tmp_path: Path) -> None:
    import numpy as np

    class Same:
        built = False

        def run(self, rows):
            return iter([(np.ones(3, np.float32) * float(row[0]),) for row in rows])

    path = tmp_path / "disk" / "record.json"
    rows = [(np.float32(n),) for n in range(8)]
    failures = 0
    for said in until_clean(
        path.parent, lambda: decide(path, ("f32", "bf16"), lambda name: Same(), rows), error
    ):
        assert said is None or "REGRAFT_CACHE" in said
        assert recorded(path, ("f32", "bf16")) in (None, "f32", "bf16")
        path.unlink(missing_ok=True)
        failures += said is not None
    assert failures >= 4
    assert recorded(path, ("f32", "bf16")) is not None


def test_the_record_of_a_backbone(tmp_path: Path, own_cache: Path) -> None:
    """A cache that cannot be written is no reason to fail; the next time just takes longer."""
    for said in until_clean(
        own_cache, lambda: regraft.backbone("test_vit", weights="random", size=32), errno.ENOSPC
    ):
        assert said is None
        shutil.rmtree(own_cache / "backbones", ignore_errors=True)
    assert len(list(own_cache.glob("backbones/*.json"))) == 1
    assert verify() == []


@pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.get)
def test_a_table_of_features(error: int, data: Path, net, tmp_path: Path, own_cache: Path) -> None:
    pytest.importorskip("pyarrow")
    home = tmp_path / "disk"
    home.mkdir()
    embed(data, tmp_path / "warm.parquet", net)
    failures = 0
    for said in until_clean(home, lambda: embed(data, home / "f.parquet", net), error):
        (home / "f.parquet").unlink(missing_ok=True)
        failures += said is not None
    assert failures >= 4
    assert (home / "f.parquet").read_bytes() == (tmp_path / "warm.parquet").read_bytes()


def in_order(log: list[tuple[str, str]], final: Path) -> None:
    """Assert write, fsync of each file, rename, fsync of the folder, in this order."""
    place = next(
        i for i, (k, p) in enumerate(log) if k in ("rename", "replace") and p == str(final)
    )
    before, after = log[:place], log[place + 1 :]
    written = {p for k, p in before if k in ("write", "create") and is_part(Path(p).parent)}
    written |= {p for k, p in before if k in ("write", "create") and is_part(Path(p))}
    assert written
    for path in written:
        last = max(i for i, (k, p) in enumerate(before) if k in ("write", "create") and p == path)
        assert ("fsync", path) in before[last:], path
    assert after[0] == ("fsync", str(final.parent))


def test_what_is_written_is_on_disk_before_it_has_its_name(
    run, data: Path, net, tmp_path: Path, own_cache: Path
) -> None:
    home = tmp_path / "disk"
    home.mkdir()
    with failing(Disk(home)) as disk:
        run.save(home / "run")
    in_order(disk.log, home / "run")
    with failing(Disk(home)) as disk:
        run.model.save(home / "bundle")
    in_order(disk.log, home / "bundle")
    with failing(Disk(own_cache)) as disk:
        run.model.predict(data)
        regraft.backbone("test_vit", weights="random", size=32)
    (segment,) = own_cache.glob("activations/*/*.safetensors")
    in_order(disk.log, segment)
    (trunk,) = own_cache.glob("trunks/*")
    in_order(disk.log, trunk)
    (record,) = own_cache.glob("backbones/*.json")
    in_order(disk.log, record)
