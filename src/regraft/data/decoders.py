"""Which module turns bytes of a modality into rows. A new modality is one file and one line here.

A decoder module has a `name`, `fingerprint(spec)` and `decode(raw, spec)`; it is imported when it
is first asked for. The same decoder serves training, prediction and everything later. One that can
tell near duplicates has `decode_with_look(raw, spec)` and `LOOK` too; see `data.look`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

from regraft.errors import OptionError, did_you_mean
from regraft.inputs import InputSpec, Row

if TYPE_CHECKING:
    import numpy as np

DECODERS: dict[str, str] = {
    "image": "regraft.data.decode_image",
}


class Decoder(Protocol):
    """What a decoder module offers; the module itself is the object."""

    name: str

    def fingerprint(self, spec: InputSpec) -> dict[str, Any]:
        """What decides the rows besides bytes and `spec`, as plain data: part of the cache key."""

    def decode(self, raw: bytes, spec: InputSpec) -> Row:
        """One row. Raises `BadFile` with the reason if `raw` is not a whole, readable example."""


class Looker(Protocol):
    """What a decoder module offers beside that if it can tell near duplicates."""

    LOOK: int  #: the revision of its looks: part of every cache key

    def decode_with_look(self, raw: bytes, spec: InputSpec) -> tuple[Row, np.ndarray]:
        """The row as `decode` gives it, and its look, (numbers,) float32."""


def looker(modality: str) -> Looker | None:
    """The decoder of `modality` if it gives looks."""
    found = decoder(modality)
    return cast(Looker, found) if hasattr(found, "decode_with_look") else None


def decoder(modality: str) -> Decoder:
    """The decoder of `modality`.

    Raises:
        OptionError: no decoder is known for it.
    """
    if modality not in DECODERS:
        known = ", ".join(sorted(DECODERS))
        raise OptionError(
            f"modality must be one of {known}, not '{modality}'.{did_you_mean(modality, DECODERS)}"
        )
    return cast(Decoder, import_module(DECODERS[modality]))
