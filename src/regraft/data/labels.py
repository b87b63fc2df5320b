"""Labels that are nearly one: made one where that is sure, asked about where it is not.

Sure are Unicode forms of one text, blanks at its ends, and `1` beside `1.0` where every label is a
number. Case, and blanks against `_` and `-`, may be meant: those are named (`regraft.data.notes`).
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from regraft.data.dataset import Dataset, Example
from regraft.errors import DataError
from regraft.files import visible

_NUMBER = re.compile(r"([+-]?\d+)(\.0*)?")
_INVISIBLE = "\ufeff\u200b\u200c\u200d\u2060"
MOST_NAMED = 3


def united(examples: Sequence[Example]) -> tuple[list[Example], tuple[str, ...]]:
    """(the examples with one spelling for each class, what to say of that).

    Only classes that are spelled in several ways are touched; any other keeps its name verbatim.
    """
    counts = Counter(e.label for e in examples if e.label is not None)
    numbers = _all_numbers(counts)
    spellings: dict[str, list[str]] = {}
    for label in sorted(counts):
        spellings.setdefault(_sure(label, numbers), []).append(label)
    to = {
        label: one for one, many in spellings.items() if len(many) > 1 for label in many
    }  # the sure form itself, whether or not it is among the spellings
    changed = {label: counts[label] for label, one in to.items() if label != one}
    if not changed:
        return list(examples), ()
    told = [_changed(label, to[label], number) for label, number in changed.items()]
    return _relabelled(examples, to), (_spelled(told),)


def as_known(data: Dataset, classes: Iterable[str]) -> Dataset:
    """The same data with labels spelled as `classes` spell them, where they are surely the same.

    Args:
        data: to test on, or to add.
        classes: what is known of before: the training part's labels, a model's classes.
    """
    known = set(classes)
    counts = Counter(e.label for e in data.examples if e.label is not None)
    foreign = sorted(counts.keys() - known)
    if not foreign:
        return data
    numbers = _all_numbers({*known, *foreign})
    forms: dict[str, str] = {_sure(label, numbers): label for label in sorted(known, reverse=True)}
    to = {label: forms[form] for label in foreign if (form := _sure(label, numbers)) in forms}
    if not to:
        return data
    told = [_changed(label, one, counts[label]) for label, one in to.items()]
    made = data.only(tuple(_relabelled(data.examples, to)))
    return replace(made, notes=(*made.notes, _spelled(told)))


def trained_labels(data: Dataset) -> set[str]:
    """The labels that can be learned: of the training part, of all if nothing is divided."""
    return {e.label for e in data.examples if e.label is not None and e.split in ("train", None)}


def need_known(labels: Iterable[str | None], known: Iterable[str], shown: str) -> None:
    """Refuse labels of which none is known.

    Args:
        labels: of what is to be scored.
        known: the classes of the model, or those to learn.
        shown: what holds the labels, for the message.

    Raises:
        DataError: they have no class in common.
    """
    counts, classes = Counter(label for label in labels if label is not None), sorted(set(known))
    if counts.keys() & set(classes) or not counts:
        return
    near = ((label, resembling(label, classes)) for label in sorted(counts))
    pair = next(((label, name) for label, name in near if name), None)
    hint = f" (is '{visible(pair[0])}' the class '{visible(pair[1])}'?)" if pair else ""
    raise DataError(
        f"'{shown}' has no class in common with what is learned, so nothing can be scored: it has "
        f"{_listing(sorted(counts))}, learned are {_listing(classes)}{hint}; name the classes "
        "alike, or name other data."
    )


def nearly(counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Pairs of classes whose names are nearly one, each as a clause for people.

    Args:
        counts: for each class how many of its pictures are in which part.
    """
    groups: dict[str, list[str]] = {}
    for label in counts:
        groups.setdefault(_loose(label), []).append(label)
    pairs = ((many[0], other) for many in groups.values() for other in many[1:])
    return [f"{_where(a, counts)} and {_where(b, counts)} {_differ(a, b)}" for a, b in pairs]


def resembling(label: str, classes: Iterable[str]) -> str:
    """The class whose name is nearly `label`; an empty text if there is none."""
    form = _loose(label)
    return next((name for name in sorted(classes) if name != label and _loose(name) == form), "")


def _sure(label: str, numbers: bool) -> str:
    """A form that surely equal labels share."""
    text = unicodedata.normalize("NFC", label)
    while text != (text := text.strip().strip(_INVISIBLE)):
        pass
    match = _NUMBER.fullmatch(text) if numbers else None
    return (match.group(1) if match else text) or label


def _loose(label: str) -> str:
    """A form that labels share which may or may not be the same."""
    text = unicodedata.normalize("NFKC", _sure(label, True)).casefold()
    return re.sub(r"(?<=[^\W_])[\s_\-]+(?=[^\W_])", " ", text)


def _all_numbers(labels: Iterable[str]) -> bool:
    return all(_NUMBER.fullmatch(label.strip()) for label in labels)


def _relabelled(examples: Sequence[Example], to: Mapping[str, str]) -> list[Example]:
    return [replace(e, label=to.get(e.label or "", e.label)) for e in examples]


def _changed(label: str, one: str, count: int) -> str:
    images = f"{count} images" if count > 1 else "1 image"
    return f"'{visible(label)}' ({images}) is '{visible(one)}'{_how(label, one)}"


def _how(label: str, one: str) -> str:
    if _sure(label, False) == _sure(one, False):
        return ", without the blanks" if label.strip() != label else ", in another Unicode form"
    return ", the same number"


def _spelled(told: Sequence[str]) -> str:
    more = f"; and {len(told) - MOST_NAMED} more" if len(told) > MOST_NAMED else ""
    return (
        "labels that are one class spelled in several ways were made one: "
        f"{'; '.join(told[:MOST_NAMED])}{more}."
    )


def _listing(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(f"'{visible(name)}'" for name in names[:MOST_NAMED]) + more


def _where(label: str, counts: Mapping[str, Mapping[str, int]]) -> str:
    there = [(part, number) for part, number in counts[label].items() if number]
    told = " and ".join(f"{n} images" if p == "unsplit" else f"{n} in {p}" for p, n in there)
    return f"'{visible(label)}' ({told or 'none readable'})"


def _differ(a: str, b: str) -> str:
    if a.casefold() == b.casefold():
        return "differ only in case"
    if re.sub(r"[\s_\-]+", " ", a) == re.sub(r"[\s_\-]+", " ", b):
        return "differ only in blanks, '_' and '-'"
    return "differ only in how they are spelled"
