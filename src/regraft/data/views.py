"""Views: random versions of a picture, the same one for the same bytes, number and seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from regraft.data import augment
from regraft.errors import OptionError
from regraft.files import digest
from regraft.inputs import Row


@dataclass(frozen=True)
class View:
    """Which random version of every picture.

    Attributes:
        augment: what may happen to a picture, see `regraft.data.augment`.
        seed: of all views.
        number: which of them, from 0.
    """

    augment: str
    seed: int
    number: int

    def json(self) -> dict[str, Any]:
        """All that a view depends on but the decoded row and its digest: part of a cache key."""
        text = str(augment.parse(self.augment))
        return {"augment": text, "seed": self.seed, "number": self.number} | augment.fingerprint()

    def of(self, row: Row, key: str) -> Row:
        """The view of a decoded picture.

        Args:
            row: ((H, W, 3) uint8,), left as it is.
            key: digest of the file's bytes.

        Raises:
            OptionError: the row is no picture.
        """
        if len(row) != 1 or row[0].dtype != np.uint8 or row[0].ndim != 3:
            raise OptionError("--augment is for images; this backbone takes something else.")
        place = digest(f"{self.seed} {self.number} {key}".encode())
        random = np.random.Generator(np.random.PCG64(int(place, 16)))
        return (augment.parse(self.augment).apply(row[0], random),)
