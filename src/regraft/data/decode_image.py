"""The one image decoder: bytes in, (H, W, 3) uint8 out, for training, prediction and the rest.

    bytes ─► upright RGB (decode_jpeg or pillow_modes) ─► the part seen (geometry) ─► resize ─► row

torch is not needed. What each kind of picture becomes is told in `pillow_modes`, which part of it
is looked at in `geometry`. Heavy steps leave Python's lock, so threads decode side by side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from regraft.data import decode_jpeg
from regraft.data import resize as resizing
from regraft.data.geometry import box_of, inside, needed
from regraft.errors import BadFile, OptionError
from regraft.inputs import GEOMETRIES, ImageSpec, InputSpec, Row

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

name = "image"
REVISION = 3  # raise it whenever any pixel may change: cached activations are then made anew
LOOK = 3  # likewise for looks


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
    checked = _checked(spec)
    return (fitted(_upright(raw, needed(checked), checked.white)[0], checked),)


def decode_with_look(raw: bytes, spec: InputSpec) -> tuple[Row, NDArray[np.float32]]:
    """The row, as `decode` gives it, and its look (see `data.look`). Raises as `decode` does."""
    from regraft.data.look import look

    checked = _checked(spec)
    picture, (height, width) = _upright(raw, needed(checked), checked.white)
    return (fitted(picture, checked),), look(picture, height, width)


def _checked(spec: InputSpec) -> ImageSpec:
    if not isinstance(spec, ImageSpec):
        raise OptionError(f"the image decoder needs an ImageSpec, not {type(spec).__name__}.")
    known = resizing.INTERPOLATIONS
    if spec.interpolation not in known or spec.geometry not in GEOMETRIES:
        raise OptionError(
            f"interpolation must be one of {', '.join(known)} and geometry one of "
            f"{', '.join(GEOMETRIES)}, not '{spec.interpolation}' and '{spec.geometry}'."
        )
    return spec


def _upright(
    raw: bytes, least: tuple[int, int], white: float
) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """(h, w, 3) uint8, shrunk down to `least` at most, and (height, width) as stored."""
    if not raw:
        raise BadFile("empty file")
    decoded = decode_jpeg.decode(raw, least)
    if decoded is None:
        from regraft.data import pillow_modes

        picture = pillow_modes.decode(raw, white)
        decoded = picture, (picture.shape[0], picture.shape[1])
    return decoded


def fitted(picture: NDArray[np.uint8], spec: ImageSpec) -> NDArray[np.uint8]:
    """(h, w, 3) uint8 to (*spec.size, 3): the part that `spec` looks at, resized once."""
    height, width = picture.shape[:2]
    box = box_of(height, width, spec)
    if spec.geometry != "pad":
        return resizing.resize(picture, box, spec.size, spec.interpolation)
    return padded(
        resizing.resize(picture, box, inside(height, width, spec), spec.interpolation), spec
    )


def padded(picture: NDArray[np.uint8], spec: ImageSpec) -> NDArray[np.uint8]:
    """(h, w, 3) uint8 to (*spec.size, 3): in the middle of margins that the network sees as 0."""
    import numpy as np

    mean = [min(255, max(0, round(255 * value))) for value in spec.mean]
    out = np.empty((*spec.size, 3), np.uint8)
    out[:] = mean
    top, left = ((whole - side) // 2 for whole, side in zip(spec.size, picture.shape, strict=False))
    out[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return out
