"""Which examples belong together: a patient, a tile, a camera, named by a column or a pattern."""

from __future__ import annotations

import re
from dataclasses import replace

from regraft.data.dataset import Dataset
from regraft.errors import OptionError


def grouped(data: Dataset, by: str) -> Dataset:
    """The same data set, every example in its group.

    Args:
        data: a data set; where it is a table with a column `by`, its examples have groups already.
        by: else a regular expression that is searched in every example's id (its path below the
            root): the group is what the first parentheses match, or the whole match.

    Raises:
        OptionError: no pattern, an empty one, or one that some id does not match.
    """
    if not by:
        raise OptionError(
            "--group must be a column of a table or a pattern that every path matches, got an "
            "empty text; leave it away where nothing belongs together."
        )
    if any(example.group for example in data.examples):
        return data
    try:
        pattern = re.compile(by)
    except re.error as problem:
        raise OptionError(
            f"--group '{by}' is neither a column of '{data.root}' nor a pattern: {problem}."
        ) from problem
    examples = []
    for example in data.examples:
        found = pattern.search(example.id)
        name = next((part for part in found.groups() if part), found[0]) if found else ""
        if not name:
            raise OptionError(
                f"--group '{by}' must be a column of a table or a pattern that every path matches, "
                f"and '{example.id}' does not match; in class/patient7_scan2.png '(patient\\d+)' "
                "finds the patient."
            )
        examples.append(replace(example, group=name))
    return replace(data, examples=tuple(examples))
