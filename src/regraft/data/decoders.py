"""Which module turns bytes of a modality into rows. A new modality is one file and one line here.

A decoder module has a `name`, `fingerprint(spec)` and `decode(raw, spec)`; it is imported when it
is first asked for. The same decoder serves training, prediction and everything later.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Protocol, cast

from regraft.errors import OptionError, did_you_mean
from regraft.inputs import InputSpec, Row

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
