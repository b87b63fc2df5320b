"""The one image decoder: bytes in, (H, W, 3) uint8 out, for training, prediction and the rest.

    bytes ─► upright RGB (jpeg.py or pillow_modes.py) ─► central box ─► one resize ─► row

torch is not needed. What each kind of picture becomes is told in `pillow_modes`; which box of it
is looked at, in `box_of`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from regraft.data import decode_jpeg, pillow_modes
from regraft.errors import BadFile, OptionError
from regraft.inputs import ImageSpec, InputSpec, Row

if TYPE_CHECKING:
    from numpy.typing import NDArray

name = "image"
REVISION = 1  # raise it whenever any pixel may change: cached activations are then made anew

_PILLOW = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
# kornia_rs antialiases only these two; its bilinear leaves out pixels when it shrinks.
_KORNIA = ("bicubic", "lanczos")


def fingerprint(spec: InputSpec) -> dict[str, Any]:
    """Name, revision and the versions of every library that may touch a pixel."""
    from importlib.metadata import version

    packages = ["pillow", "simplejpeg"]
    if getattr(spec, "interpolation", None) in _KORNIA:
        packages.append("kornia_rs")
    return {"decoder": name, "revision": REVISION} | {p: version(p) for p in packages}


def decode(raw: bytes, spec: InputSpec) -> Row:
    """((H, W, 3) uint8,): upright, RGB, alpha on white, the part that `spec` looks at, resized.

    Raises:
        BadFile: not a whole image of a known kind, or too large; the reason in plain words.
        OptionError: `spec` is none of images or has an unknown interpolation or geometry.
    """
    if not isinstance(spec, ImageSpec):
        raise OptionError(f"the image decoder needs an ImageSpec, not {type(spec).__name__}.")
    if spec.interpolation not in _PILLOW or spec.geometry not in ("crop", "squash"):
        raise OptionError(
            f"interpolation must be one of {', '.join(_PILLOW)} and geometry 'crop' or 'squash', "
            f"not '{spec.interpolation}' and '{spec.geometry}'."
        )
    if not raw:
        raise BadFile("empty file")
    picture = decode_jpeg.decode(raw, needed_size(spec))
    if picture is None:
        picture = pillow_modes.decode(raw)
    top, left, bottom, right = box_of(picture.shape[0], picture.shape[1], spec)
    # A copy only where the box is narrower than the picture: resizers want whole rows.
    part = np.ascontiguousarray(picture[top:bottom, left:right])
    return (resize(part, spec.size, spec.interpolation),)


def box_of(height: int, width: int, spec: ImageSpec) -> tuple[int, int, int, int]:
    """(top, left, bottom, right) in source pixels of what the network sees.

    'crop' is the usual "resize the shorter side to size / crop, then cut the centre", done as one
    resize of the box that the cut keeps. The box is rounded to whole pixels and so at most half a
    pixel off on each side.
    """
    if spec.geometry == "squash":
        return 0, 0, height, width
    # Source pixels per pixel of the answer: the tighter side decides.
    scale = min(height / spec.size[0], width / spec.size[1]) * spec.crop
    tall = min(height, max(1, round(spec.size[0] * scale)))
    wide = min(width, max(1, round(spec.size[1] * scale)))
    top, left = (height - tall) // 2, (width - wide) // 2
    return top, left, top + tall, left + wide


def needed_size(spec: ImageSpec) -> tuple[int, int]:
    """(height, width) in pixels that a whole picture needs, so that its box has `spec.size`."""
    crop = spec.crop if spec.geometry == "crop" else 1.0
    return tuple(int(np.ceil(side / crop)) for side in spec.size)  # type: ignore[return-value]


def resize(
    picture: NDArray[np.uint8], size: tuple[int, int], interpolation: str
) -> NDArray[np.uint8]:
    """(h, w, 3) uint8, whole rows, to (*size, 3), antialiased when it shrinks."""
    if picture.shape[:2] == size:
        return picture
    if interpolation in _KORNIA:
        from kornia_rs import imgproc

        small: NDArray[np.uint8] = imgproc.resize(picture, size, interpolation, antialias=True)
        return small
    image = Image.fromarray(picture)
    return np.asarray(image.resize((size[1], size[0]), _PILLOW[interpolation]))
