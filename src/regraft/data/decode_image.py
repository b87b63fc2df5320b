"""The one image decoder: bytes in, (H, W, 3) uint8 out, for training, prediction and the rest.

    bytes ─► upright RGB (decode_jpeg or pillow_modes) ─► the part seen (geometry) ─► resize ─► row

torch is not needed. What each kind of picture becomes is told in `pillow_modes`, which part of it
is looked at in `geometry`. Heavy steps leave Python's lock, so threads decode side by side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from regraft.data import decode_jpeg
from regraft.data import resize as resizing
from regraft.data.geometry import box_of, needed
from regraft.errors import BadFile, OptionError
from regraft.inputs import ImageSpec, InputSpec, Row

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

name = "image"
REVISION = 1  # raise it whenever any pixel may change: cached activations are then made anew


def fingerprint(spec: InputSpec) -> dict[str, Any]:
    """Name, revision and the versions of every library that may touch a pixel."""
    import PIL
    import simplejpeg

    versions = {"pillow": PIL.__version__, "simplejpeg": simplejpeg.__version__}
    versions |= resizing.fingerprint(getattr(spec, "interpolation", ""))
    return {"decoder": name, "revision": REVISION} | versions


def decode(raw: bytes, spec: InputSpec) -> Row:
    """((H, W, 3) uint8,): upright, RGB, alpha on white, the part that `spec` looks at, resized.

    Raises:
        BadFile: not a whole image of a known kind, or too large; the reason in plain words.
        OptionError: `spec` is none of images or has an unknown interpolation or geometry.
    """
    if not isinstance(spec, ImageSpec):
        raise OptionError(f"the image decoder needs an ImageSpec, not {type(spec).__name__}.")
    known = resizing.INTERPOLATIONS
    if spec.interpolation not in known or spec.geometry not in ("crop", "squash"):
        raise OptionError(
            f"interpolation must be one of {', '.join(known)} and geometry 'crop' or 'squash', "
            f"not '{spec.interpolation}' and '{spec.geometry}'."
        )
    if not raw:
        raise BadFile("empty file")
    picture = decode_jpeg.decode(raw, needed(spec))
    if picture is None:
        from regraft.data import pillow_modes

        picture = pillow_modes.decode(raw)
    return (fitted(picture, spec),)


def fitted(picture: NDArray[np.uint8], spec: ImageSpec) -> NDArray[np.uint8]:
    """(h, w, 3) uint8 to (*spec.size, 3): the part that `spec` looks at, resized once."""
    box = box_of(picture.shape[0], picture.shape[1], spec)
    return resizing.resize(picture, box, spec.size, spec.interpolation)
