"""One answer per backbone and sample: looked up, or measured and kept. No torch unless measured."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from regraft import files
from regraft.cachedir import cache_dir
from regraft.engine.process import settle
from regraft.similarity import scale
from regraft.similarity.answer import Similarity
from regraft.similarity.saying import ROUGH_BELOW, unknown

if TYPE_CHECKING:
    from regraft.backbones import Backbone
    from regraft.data import Example

log = logging.getLogger("regraft")

FORMAT = 2  # raised whenever the same pictures may get another answer
MOST, LEAST = 64, 16
#: Floating point operations that a sample may take: seconds on two cores.
WORK = 3e11


def measure(
    net: Backbone,
    examples: Sequence[Example],
    end: NDArray[np.float32],
    digests: Sequence[str],
    *,
    threads: int,
    say: Callable[[str], None] | None = None,
) -> Similarity:
    """How like the pictures are to what `net` was trained on, told without its training data.

    At most 64 pictures are looked at, fewer of a heavy backbone, spread over the classes. Figures
    are rounded, so that neither the number of threads nor the order of the examples changes them.

    Args:
        net: the backbone.
        examples: those to learn from.
        end: (N, D) pooled output of the last stage for each of them.
        digests: (N,) of their bytes.
        threads: of the processor, to decode and compute with.
        say: called with one line if something is computed.
    """
    sample = spread(examples, digests, _count(net))
    if reason := _nothing_learned(net, len(sample)):
        return unknown(reason, len(sample))
    seen = np.ascontiguousarray(np.asarray(end)[sample], np.float32)
    path = _place(net, [digests[i] for i in sample], seen)
    found = _read(path)
    if found is not None:
        return found
    if say:
        say(f"looking at {len(sample)} pictures as the backbone's training left it")
    settle(threads)  # before torch is imported
    from regraft.similarity.looking import look

    found = look(net, [examples[i] for i in sample], seen, threads)
    try:
        files.write_whole(path, files.sealed(found.json()))
    except OSError:  # a cache that cannot be written is no reason to fail
        log.debug("the cache does not take %s", path)
    return found


def spread(examples: Sequence[Example], digests: Sequence[str], most: int) -> list[int]:
    """Places of at most `most` examples of different content, the classes in turn.

    Which ones depends on contents and labels alone, not on names or order.
    """
    classes: dict[str, dict[str, int]] = {}
    for place, (example, digest) in enumerate(zip(examples, digests, strict=True)):
        classes.setdefault(example.label or "", {}).setdefault(digest, place)
    turns = [
        (turn, label, held[digest])
        for label, held in classes.items()
        for turn, digest in enumerate(sorted(held))
    ]
    return [place for *_, place in sorted(turns)[:most]]


def _count(net: Backbone) -> int:
    work = sum(stage.flops for stage in net.info.stages)
    return int(np.clip(WORK // max(work, 1), LEAST, MOST))


def _nothing_learned(net: Backbone, pictures: int) -> str:
    """Why there is no answer whatever the pictures are like; '' if there may be one."""
    if not pictures:
        return "There are no pictures to compare."
    if net.info.source == "random":
        return "The backbone has random weights: it was trained on nothing that could be like this."
    return ""


def _place(net: Backbone, digests: Sequence[str], seen: NDArray[np.float32]) -> Path:
    """Where the answer is kept; all that it depends on is in the name."""
    key = {
        "format": FORMAT,
        "scale": scale.numbers(),
        "backbone": [net.info.digest, net.info.network, net.info.base],
        "input": net.info.input.json(),
        "pictures": list(digests),
        "end": files.digest(seen.tobytes()),
        "rough below": ROUGH_BELOW,
    }
    return cache_dir() / "similarity" / f"{files.digest_of(key)}.json"


def _read(path: Path) -> Similarity | None:
    try:
        held: dict[str, Any] = files.unsealed(path.read_bytes())
        found = Similarity.from_json(held)
    except OSError:
        return None
    except (ValueError, KeyError, TypeError) as problem:
        log.warning("cache entry %s is damaged (%s): measuring again", path, problem)
        return None
    files.touch(path)
    return found
