"""What was asked for, what a source gives back, and the record that makes the next time quick."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from regraft import files
from regraft.backbones.info import BackboneInfo
from regraft.cachedir import cache_dir

if TYPE_CHECKING:
    from torch import nn

    from regraft.inputs import InputSpec

log = logging.getLogger("regraft")

FORMAT = 3  # raised whenever the same request may give other stages or other facts


@dataclass(frozen=True)
class Request:
    """One call of `backbone()`.

    Attributes:
        name: as the user wrote it.
        weights: None for the source's own, 'random', or the path of a file.
        revision: a commit, tag or branch of the hub's repository; None for its newest.
        size: (height, width) in pixels; None for the size that the backbone was trained with.
    """

    name: str
    weights: str | None = None
    revision: str | None = None
    size: tuple[int, int] | None = None

    def digest(self) -> str:
        """The name of this request's record."""
        path = self.weights
        if path not in (None, "random"):
            path = str(Path(path).expanduser().resolve())  # type: ignore[arg-type]
        return files.digest_of(asdict(self) | {"weights": path})


@dataclass
class Loaded:
    """A network with its facts, as a source gives it.

    Attributes:
        model: in eval mode, without a classifier: (B, 3, H, W) in, (B, D) out.
        input: what it expects.
        name: the full name.
        revision: package version or commit; '' where there is none.
        licence: of the weights; '' if unknown.
        mark: what tells later, without torch, whether the weights are still these; '' if nothing
            does.
        whole: makes the same network once more with its source's classifier, or None.
    """

    model: nn.Module
    input: InputSpec
    name: str
    revision: str = ""
    licence: str = ""
    mark: str = ""
    whole: Callable[[], nn.Module] | None = None


class Source(Protocol):
    """Where backbones come from: one module each."""

    def accepts(self, request: Request) -> bool:
        """Whether this source serves the request; the first one that does is taken."""

    def holds(self, request: Request, mark: str) -> bool:
        """Whether the weights are still those of `Loaded.mark`; found without torch."""

    def load(self, request: Request) -> Loaded:
        """The network."""


def versions() -> dict[str, Any]:
    """What a record depends on besides the weights."""
    return {"format": FORMAT} | {name: installed(name) for name in ("timm", "torch")}


def installed(package: str) -> str:
    """The version of an installed package, read from a folder's name.

    `importlib.metadata` says the same and costs a warm start more than everything else here.
    """
    spec = importlib.util.find_spec(package)
    beside = Path(spec.origin).parent.parent if spec and spec.origin else Path()
    found = [path.name for path in beside.glob(f"{package}-*.dist-info")]
    if len(found) == 1:
        return found[0].removesuffix(".dist-info").partition("-")[2]
    from importlib import metadata

    return metadata.version(package)


def record_path(request: Request) -> Path:
    return cache_dir() / "backbones" / f"{request.digest()}.json"


def read_record(request: Request, source: Source) -> BackboneInfo | None:
    """The facts that an earlier load wrote down, if they still hold."""
    path = record_path(request)
    try:
        body = files.unsealed(path.read_bytes())
    except OSError:
        return None
    except ValueError as problem:
        log.warning("cache entry %s is damaged (%s): making it again", path, problem)
        return None
    try:
        if body["versions"] != versions() or not source.holds(request, body["mark"]):
            return None
        return BackboneInfo.from_json(body["info"])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # written by another release: it is made again


def write_record(request: Request, mark: str, info: BackboneInfo) -> None:
    """Keep the facts for the next time; a cache that cannot be written is no reason to fail."""
    if not mark:
        return
    body = {"versions": versions(), "mark": mark, "info": info.json()}
    try:
        files.write_whole(record_path(request), files.sealed(body))
    except OSError:
        return
