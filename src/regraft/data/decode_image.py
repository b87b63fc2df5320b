"""The one image decoder: bytes in, (H, W, 3) uint8 out, for training, prediction and the rest.

    bytes ─► upright RGB (decode_jpeg or pillow_modes) ─► the part seen (geometry) ─► resize ─► row

torch is not needed, and Pillow not for a plain JPEG. What each kind of picture becomes is told in
`pillow_modes`, which part of it is looked at in `geometry`. Heavy steps leave Python's lock, so
threads decode side by side.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from regraft.data import decode_jpeg
from regraft.data.geometry import needed, spans
from regraft.errors import BadFile, DataError, OptionError
from regraft.inputs import ImageSpec, InputSpec, Row

if TYPE_CHECKING:
    from numpy.typing import NDArray

name = "image"
REVISION = 1  # raise it whenever any pixel may change: cached activations are then made anew

_INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")
# kornia_rs antialiases only these two; its bilinear leaves out pixels when it shrinks.
_KORNIA = ("bicubic", "lanczos")
_pool_of = 0  # the process that has started kornia_rs's threads


def fingerprint(spec: InputSpec) -> dict[str, Any]:
    """Name, revision and the versions of every library that may touch a pixel."""
    import PIL
    import simplejpeg

    versions = {"pillow": PIL.__version__, "simplejpeg": simplejpeg.__version__}
    if getattr(spec, "interpolation", None) in _KORNIA:
        import kornia_rs

        versions["kornia_rs"] = kornia_rs.__version__
    return {"decoder": name, "revision": REVISION} | versions


def decode(raw: bytes, spec: InputSpec) -> Row:
    """((H, W, 3) uint8,): upright, RGB, alpha on white, the part that `spec` looks at, resized.

    Raises:
        BadFile: not a whole image of a known kind, or too large; the reason in plain words.
        OptionError: `spec` is none of images or has an unknown interpolation or geometry.
    """
    if not isinstance(spec, ImageSpec):
        raise OptionError(f"the image decoder needs an ImageSpec, not {type(spec).__name__}.")
    if spec.interpolation not in _INTERPOLATIONS or spec.geometry not in ("crop", "squash"):
        raise OptionError(
            f"interpolation must be one of {', '.join(_INTERPOLATIONS)} and geometry 'crop' or "
            f"'squash', not '{spec.interpolation}' and '{spec.geometry}'."
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
    tall, wide = spans(picture.shape[0], picture.shape[1], spec)
    # A copy only where the part is narrower than the picture: resizers want whole rows.
    part = np.ascontiguousarray(picture[tall.start : tall.stop, wide.start : wide.stop])
    small = resize(part, (tall.size, wide.size), spec.interpolation)
    bottom, right = tall.offset + spec.size[0], wide.offset + spec.size[1]
    return np.ascontiguousarray(small[tall.offset : bottom, wide.offset : right])


def resize(
    picture: NDArray[np.uint8], size: tuple[int, int], interpolation: str
) -> NDArray[np.uint8]:
    """(h, w, 3) uint8, whole rows, to (*size, 3), antialiased when it shrinks."""
    if picture.shape[:2] == size:
        return picture
    if interpolation in _KORNIA:
        from kornia_rs import imgproc

        _stay_in_process()
        return np.asarray(imgproc.resize(picture, size, interpolation, antialias=True), np.uint8)
    from regraft.data import pillow_modes

    return pillow_modes.resize(picture, size, interpolation)


def _stay_in_process() -> None:
    """kornia_rs keeps threads, which a forked child does not inherit: it would wait for ever."""
    global _pool_of
    if _pool_of not in (0, os.getpid()):
        raise DataError(
            "images cannot be decoded in a forked process after its parent has decoded some: "
            "use threads, or start processes by spawn."
        )
    _pool_of = os.getpid()
