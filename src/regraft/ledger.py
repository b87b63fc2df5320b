"""What a run learned from and was scored on, row by row: `trained.json` beside the bundle.

It tells who was in the data, so it stays with the run and is no part of the bundle.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from regraft.errors import BundleError
from regraft.files import digest

FILE = "trained.json"
FORMAT = 1
MOST_BYTES = 4 * 2**30
TRAIN, VAL, TEST, COPY = PARTS = ("train", "val", "test", "copy")
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Row(NamedTuple):
    """One file of a run.

    Attributes:
        id: as it was found: the path below the data's root, or a table's row.
        digest: blake2b-256 of its bytes.
        label: its class.
        part: 'train' and 'val' were learned from, 'test' was scored on, 'copy' was neither, since
            its bytes are those of a file that was learned from.
        group: what it must not be divided from, '' for nothing.
        source: the number of the data set that it came from.
        kin: rows of one number were left out together when heads were compared; -1 for none.
    """

    id: str
    digest: str
    label: str
    part: str
    group: str = ""
    source: int = 0
    kin: int = -1


@dataclass(frozen=True)
class Ledger:
    """Every row of a run, in the order in which they were found.

    Attributes:
        rows: of all parts.
        sources: the data sets, as the user named them.
        whole: False where an older regraft wrote digests of the learned rows and nothing else.
    """

    rows: tuple[Row, ...] = ()
    sources: tuple[str, ...] = ()
    whole: bool = True

    @property
    def learned(self) -> tuple[Row, ...]:
        """The rows that the head was fitted on: 'train', then 'val'."""
        return self.part(TRAIN) + self.part(VAL)

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels of the learned rows, sorted."""
        return tuple(sorted({row.label for row in self.rows if row.part in (TRAIN, VAL)}))

    def part(self, name: str) -> tuple[Row, ...]:
        """The rows of one part, in their order."""
        return tuple(row for row in self.rows if row.part == name)

    def digests(self, *parts: str) -> frozenset[str]:
        """The contents of some parts."""
        return frozenset(row.digest for row in self.rows if row.part in parts)

    def groups(self, *parts: str) -> frozenset[str]:
        """The groups that some parts have rows of."""
        return frozenset(row.group for row in self.rows if row.group and row.part in parts)

    def labels(self) -> dict[str, set[str]]:
        """The classes of each content that is learned from; several where they contradict."""
        found: dict[str, set[str]] = {}
        for row in self.learned:
            found.setdefault(row.digest, set()).add(row.label)
        return found

    def apart(self) -> Ledger:
        """The same, with nothing on both sides.

        Test rows whose content or group is learned from, or whose content was found to be nearly
        that, are copies; validation rows whose group is trained on are for training too.
        """
        known, trained = self.digests(TRAIN, VAL, COPY), self.groups(TRAIN)
        kin = self.groups(TRAIN, VAL)

        def part(row: Row) -> str:
            if row.part == TEST and (row.digest in known or row.group in kin):
                return COPY
            return TRAIN if row.part == VAL and row.group in trained else row.part

        return replace(self, rows=tuple(row._replace(part=part(row)) for row in self.rows))

    def without(self, digests: Collection[str]) -> Ledger:
        """The rows of other contents, and the data sets that still have one."""
        return self.only(row for row in self.rows if row.digest not in digests)

    def only(self, rows: Iterable[Row]) -> Ledger:
        """These rows, and the data sets that still have one."""
        kept = tuple(rows)
        used = sorted({row.source for row in kept})
        place = {old: new for new, old in enumerate(used)}
        return replace(
            self,
            rows=tuple(row._replace(source=place[row.source]) for row in kept),
            sources=tuple(self.sources[old] for old in used),
        )

    def plus(self, other: Ledger) -> Ledger:
        """The rows of both, this one's first."""
        sources = tuple(dict.fromkeys((*self.sources, *other.sources)))
        place = {name: number for number, name in enumerate(sources)}
        first = 1 + max((row.kin for row in self.rows), default=-1)
        mine = (row._replace(source=place[self.sources[row.source]]) for row in self.rows)
        more = (
            row._replace(
                source=place[other.sources[row.source]],
                kin=row.kin + first if row.kin >= 0 else -1,
            )
            for row in other.rows
        )
        return replace(self, rows=(*mine, *more), sources=sources)

    def text(self) -> bytes:
        """What `read` takes back: JSON, a line per row, and a checksum of them."""
        head = {"format": FORMAT, "digest": self.seal(), "sources": list(self.sources)}
        start = json.dumps(head, ensure_ascii=False)[:-1].encode("utf-8", "surrogatepass")
        return start + b', "rows": [\n' + self._body() + b"\n]}\n"

    def seal(self) -> str:
        """The digest of the rows: one flipped bit could let a learned file be scored."""
        return digest(self._body())

    def _body(self) -> bytes:
        rows = ",\n".join(json.dumps(list(row), ensure_ascii=False) for row in self.rows)
        return rows.encode("utf-8", "surrogatepass")


def read(path: Path) -> Ledger | None:
    """The ledger in a run folder, None if there is none. Nothing in it is trusted.

    Raises:
        BundleError: the file is there and is no ledger.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError("it is too large")
        data = json.loads(path.read_bytes().decode("utf-8", "surrogatepass"))
        return _older(data) if isinstance(data, list) else _parsed(data)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, RecursionError) as problem:
        raise BundleError(
            f"{path} must be the list of rows that the run learned from ({problem}); fit again."
        ) from problem


def _older(digests: list[Any]) -> Ledger:
    for one in digests:
        if not isinstance(one, str) or not _DIGEST.fullmatch(one):
            raise ValueError("an entry is no digest")
    return Ledger(tuple(Row("", one, "", TRAIN) for one in digests), ("",), whole=False)


def _parsed(data: Any) -> Ledger:
    if not isinstance(data, dict) or set(data) != {"format", "digest", "sources", "rows"}:
        raise ValueError("it has the wrong keys")
    if data["format"] != FORMAT:
        raise ValueError(f"its format is {data['format']!r:.20}, this regraft reads {FORMAT}")
    sources, rows = data["sources"], data["rows"]
    if not isinstance(sources, list) or not all(isinstance(one, str) for one in sources):
        raise ValueError("'sources' must be a list of texts")
    if not isinstance(rows, list):
        raise ValueError("'rows' must be a list")
    made = Ledger(tuple(_row(n, row, len(sources)) for n, row in enumerate(rows)), tuple(sources))
    if made.seal() != data["digest"]:
        raise ValueError("the checksum does not match")
    return made


def _row(number: int, row: Any, sources: int) -> Row:
    if not isinstance(row, list) or [type(one) for one in row] != [str] * 5 + [int] * 2:
        raise ValueError(f"row {number} is no list of five texts and two numbers")
    made = Row(*row)
    if not _DIGEST.fullmatch(made.digest):
        raise ValueError(f"row {number} has no digest")
    if made.part not in PARTS or not 0 <= made.source < sources or made.kin < -1:
        raise ValueError(f"row {number} has a part, source or kin that cannot be")
    return made
