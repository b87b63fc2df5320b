"""What all image decoders share and numpy alone can do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from regraft.errors import BadFile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST = 64_000_000  # pixels; as RGB three bytes each


def check(width: int, height: int) -> None:
    """Refuse a picture by the size that its header claims, before memory is asked for.

    Raises:
        BadFile: no pixel, or more than `MOST`.
    """
    if width < 1 or height < 1:
        raise BadFile("no pixels: the header says that its width or height is 0")
    if width * height > MOST:
        raise BadFile(f"too large: {width} x {height} pixels, at most {MOST // 10**6} million")


def turned(picture: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """The stored picture as it is to be looked at: a view, nothing is copied."""
    if orientation >= 5:
        picture = picture.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        picture = picture[::-1]
    if orientation in (2, 3, 6, 7):
        picture = picture[:, ::-1]
    return picture
