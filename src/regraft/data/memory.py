"""Pictures in memory as the bytes of a file, so that they go the way of all pictures."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from regraft.errors import BadFile, DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Source = Callable[[], bytes]
#: What PNG holds as it is; other modes of Pillow go into TIFF.
_PNG_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16"})
#: What no file holds as it is, or not to the bit, and what the decoder would make of it.
_CONVERTED = {"La": "LA", "RGBa": "RGBA", "PA": "RGBA", "HSV": "RGB", "YCbCr": "RGB", "RGBX": "RGB"}
_loading = threading.Lock()


def in_memory(item: Any, name: str) -> list[Source] | None:
    """What makes the bytes of the picture, or of each of several; None if `item` is no picture.

    Args:
        item: bytes, an open file, a Pillow image, or uint8 pixels: (H, W), (H, W, 1), (H, W, 3),
            (H, W, 4), or several pictures (N, H, W, 3).
        name: of the item, for errors.

    Raises:
        BadFile: a file that cannot be read.
        DataError: an array that is none of these, or a tensor.
    """
    kind = _kind(item)
    if kind == "bytes":
        return [partial(bytes, bytes(item))]
    if kind == "file":
        return [_content(item, name)]
    if kind == "image":
        return [partial(encode, item)]
    if kind == "pixels":
        return [partial(netpbm, one) for one in _pictures(item, name)]
    if kind == "tensor":
        raise DataError(
            f"{name} is a tensor: give uint8 pixels as an array, (H, W, 3) from 0 to 255, so that "
            "they are resized and normalised as in training."
        )
    return None


def is_picture(item: Any) -> bool:
    """Whether `item` is what `in_memory` takes or refuses, and not a list of pictures."""
    return bool(_kind(item))


def _kind(item: Any) -> str:
    if isinstance(item, bytes | bytearray | memoryview):
        return "bytes"
    package = type(item).__module__.partition(".")[0]
    if package == "torch":
        return "tensor"
    if package == "numpy" and hasattr(item, "dtype"):
        return "pixels" if item.dtype.kind in "biufc" else ""
    if hasattr(item, "tobytes") and hasattr(item, "getexif"):  # a class of Pillow's
        return "image"
    return "file" if callable(getattr(item, "read", None)) else ""


def bytes_of(item: Any) -> int:
    """How much memory a picture takes, about; 0 for what is a file's name."""
    kind = _kind(item)
    if kind == "bytes":
        return memoryview(item).nbytes
    if kind == "image":
        return 4 * int(item.size[0]) * int(item.size[1])
    return int(item.nbytes) if kind == "pixels" else 0


def _content(file: Any, name: str) -> Source:
    """The bytes of an open file, read now: it may be closed or moved on before they are needed.

    Raises:
        BadFile: it cannot be read.
        DataError: what it gives is no bytes.
    """
    try:
        if callable(getattr(file, "seekable", None)) and file.seekable():
            file.seek(0)  # as after writing to it; Pillow does likewise
        content = file.read()
    except (OSError, ValueError) as problem:  # closed, or its other end is gone
        raise BadFile(f"cannot be read: {problem}") from problem
    if hasattr(content, "__await__"):
        content.close()
        raise DataError(f"{name} is read by waiting for it: give 'await file.read()', its bytes.")
    if not isinstance(content, bytes):
        raise DataError(f"{name} is a file that was opened as text: open it with mode 'rb'.")
    return partial(bytes, content)


def encode(image: Any) -> bytes:
    """A Pillow image without loss, with the orientation that its camera noted.

    Raises:
        BadFile: its pixels cannot be had.
    """
    from regraft.data.pillow_modes import ORIENTATION, orientation_of

    try:
        with _loading:  # one image may be asked for twice, and be loaded by two threads
            image.load()
        exif = image.getexif().__class__()
        exif[ORIENTATION] = orientation_of(image)
        made = image.convert(_CONVERTED[image.mode]) if image.mode in _CONVERTED else image
        out = io.BytesIO()
        if made.mode in _PNG_MODES:
            made.save(out, "PNG", exif=exif, icc_profile=None, compress_level=1)
        else:
            made.save(out, "TIFF", exif=exif, icc_profile=None, compression="raw")
    except Exception as problem:  # Pillow's plugins raise nearly everything
        raise BadFile(f"no picture can be had of it: {problem}") from problem
    return out.getvalue()


def _pictures(pixels: NDArray[Any], name: str) -> list[NDArray[np.uint8]]:
    shape = pixels.shape
    if pixels.dtype.name != "uint8":
        raise DataError(
            f"{name} must hold uint8 pixels from 0 to 255, its type is {pixels.dtype.name}: "
            "convert it as your training pictures were, e.g. (255 * x).astype('uint8') for x from "
            "0 to 1."
        )
    if len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4)):
        return [pixels.copy()]
    if len(shape) == 4 and shape[3] in (1, 3, 4):
        return list(pixels.copy())
    raise DataError(
        f"{name} must be pixels (H, W), (H, W, 3) or (N, H, W, 3), its shape is {shape}; give "
        "several grey pictures as a list."
    )


def netpbm(pixels: NDArray[np.uint8]) -> bytes:
    """(H, W) or (H, W, 1, 3 or 4) as the bytes of a picture.

    Raises:
        BadFile: there is no pixel.
    """
    if not pixels.size:
        raise BadFile(f"no pixels: its shape is {pixels.shape}")
    height, width = pixels.shape[:2]
    depth = 1 if pixels.ndim == 2 else pixels.shape[2]
    if depth == 4:
        from PIL import Image

        return encode(Image.fromarray(pixels))
    return b"%s %d %d 255\n" % (b"P5" if depth == 1 else b"P6", width, height) + pixels.tobytes()
