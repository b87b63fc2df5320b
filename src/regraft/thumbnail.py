"""A small picture of a file, for a notebook."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from regraft.errors import RegraftError

SIDE = 96  # pixels


def thumbnail(path: Path) -> str:
    """HTML: a small picture, '' where it cannot be read (any more) or never was a file."""
    try:
        from PIL import Image

        from regraft.data.decode_image import decode
        from regraft.inputs import ImageSpec

        spec = ImageSpec((SIDE, SIDE), crop=1.0, geometry="pad")
        out = io.BytesIO()
        Image.fromarray(decode(path.read_bytes(), spec)[0]).save(out, "JPEG", quality=80)
    except (OSError, ValueError, RegraftError):
        return ""
    data = base64.b64encode(out.getvalue()).decode()
    return f"<img alt='' width={SIDE} height={SIDE} src='data:image/jpeg;base64,{data}'>"
