"""Parquet tables: the columns that are needed, some rows at a time, and nothing else of them.

A file may hold any column besides (pictures, times, texts that are none) and may be small and
yet describe more than fits into memory, so nothing is read that was not asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from regraft.data.columns import resolved, used
from regraft.errors import DataError, need_extra

BATCH_ROWS = 4096
#: Rows that a table may have: a list of so many takes a few GB.
MOST_ROWS = 10_000_000
#: Bytes of text that a batch's needed columns may have once each text is written out once.
MOST_BYTES = 1 << 26


def rows_of(
    table: Path, shown: str, columns: Mapping[str, str]
) -> tuple[list[str], Iterator[Mapping[str, Any]]]:
    """The names of all columns, and rows of those that `columns` asks for.

    Where there is no column of labels, those that may be one 0/1 column per label are read too.

    Raises:
        DataError: it is no Parquet table, lacks a column, has too many rows, or a needed column
            holds no text and no numbers.
        MissingExtra: pyarrow is not installed.
    """
    need_extra("pyarrow", "tables", "reading a Parquet table")
    import pyarrow
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(table)
        names, count = list(file.schema_arrow.names), file.metadata.num_rows
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as problem:
        raise DataError(f"'{shown}' is no Parquet table: {_first(problem)}.") from problem
    if count > MOST_ROWS:
        raise DataError(f"'{shown}' has {count:,} rows; at most {MOST_ROWS:,} can be read.")
    needed = _needed(file.schema_arrow, names, columns, shown)
    for name in needed:
        _need_plain(file.schema_arrow.field(name).type, name, shown)
    texts = [name for name in needed if _is_text(file.schema_arrow.field(name).type)]
    # As codes into a list of different texts: one that is repeated costs no room.
    coded = parquet.ParquetFile(table, read_dictionary=texts)
    return names, _rows(coded, needed, shown)


def _needed(schema: Any, names: list[str], columns: Mapping[str, str], shown: str) -> list[str]:
    from pyarrow import types

    held, _ = resolved(names, columns, shown)
    wanted = [name for name in used(held) if name in names]
    if held["label"] not in names:
        kinds = (types.is_boolean, types.is_integer, types.is_floating)
        wanted += [
            n for n in names if names.count(n) == 1 and any(k(schema.field(n).type) for k in kinds)
        ]
    return list(dict.fromkeys(wanted))


def _rows(file: Any, needed: Sequence[str], shown: str) -> Iterator[Mapping[str, Any]]:
    import pyarrow

    try:
        for batch in file.iter_batches(BATCH_ROWS, columns=list(needed), use_threads=False):
            if batch.nbytes > MOST_BYTES:
                size = f"{batch.nbytes / 1e6:,.0f} MB in {batch.num_rows:,} rows"
                raise DataError(
                    f"the columns {', '.join(map(repr, needed))} of '{shown}' hold {size}: are "
                    "they the right ones?"
                )
            held = {name: _values(batch.column(name)) for name in batch.schema.names}
            for number in range(batch.num_rows):
                yield {name: values[number] for name, values in held.items()}
    except UnicodeDecodeError as problem:
        raise DataError(
            f"a text in the columns {', '.join(map(repr, needed))} of '{shown}' is not UTF-8."
        ) from problem
    except (pyarrow.ArrowException, OSError) as problem:
        raise DataError(f"'{shown}' cannot be read: {_first(problem)}.") from problem


def _values(column: Any) -> list[Any]:
    import pyarrow

    if not pyarrow.types.is_dictionary(column.type):
        return list(column.to_pylist())
    texts = column.dictionary.to_pylist()
    return [None if code is None else texts[code] for code in column.indices.to_pylist()]


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_string(kind) or types.is_large_string(kind))


def _need_plain(kind: Any, name: str, shown: str) -> None:
    """Refuse a column of times, tables or the like where text or numbers are needed."""
    from pyarrow import types

    inner = kind
    while types.is_dictionary(inner) or types.is_list(inner) or types.is_large_list(inner):
        inner = inner.value_type
    tests = (types.is_boolean, types.is_integer, types.is_floating, types.is_null, _is_text)
    if not any(test(inner) for test in tests):
        raise DataError(
            f"the column '{name}' of '{shown}' holds {kind} where text or numbers are needed; name "
            "another column, or write it as text."
        )


def _first(problem: BaseException) -> str:
    return (str(problem).splitlines() or [type(problem).__name__])[0][:120]
