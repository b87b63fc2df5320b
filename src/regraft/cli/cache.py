"""regraft cache: what is kept, how much of it, and whether it is sound."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer

from regraft import sizes
from regraft.cli import options
from regraft.cli.output import echo, print_json
from regraft.errors import OptionError

app = typer.Typer(help="Show, clear or verify the cache.", invoke_without_command=True)

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


@app.callback()
def status(context: typer.Context, json: options.Json = False) -> None:
    """Where the cache is and what it holds."""
    if context.invoked_subcommand is not None:
        return
    report = survey()
    if json:
        print_json(report)
        return
    echo(
        f"{report['folder']}: {sizes.told(report['bytes'])} of at most "
        f"{sizes.told(report['limit_bytes'])} of activations"
    )
    for kind, held in report["kinds"].items():
        echo(f"  {kind:12} {held['entries']:6} files  {sizes.told(held['bytes'])}")


@app.command()
def clear(
    older: Annotated[
        str | None, typer.Option(help="Only what was not used for so long: 30d, 12h, 15m.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Remove entries; they are computed again when they are needed."""
    from regraft import cache
    from regraft.cachedir import is_writable, named_dir

    if not is_writable(named_dir()):
        raise OptionError(
            f"the cache {named_dir()} cannot be written here, so nothing of it can be removed; "
            "point REGRAFT_CACHE at the one that you mean."
        )
    files, freed = cache.clear(seconds(older) if older else 0.0)
    if json:
        print_json({"removed": files, "bytes": freed})
    else:
        echo(f"removed {files} files, {sizes.told(freed)}")


@app.command()
def verify(json: options.Json = False) -> None:
    """Compare every entry with its checksum and name the damaged ones."""
    from regraft import cache
    from regraft.cachedir import cache_dir

    damaged = [str(path.relative_to(cache_dir())) for path in cache.verify()]
    if json:
        print_json({"damaged": damaged})
    else:
        echo("\n".join(f"damaged: {path}" for path in damaged) or "every entry is sound")
    if damaged:
        raise OptionError(
            f"{len(damaged)} cache entries are damaged; the next run computes them again."
        )


def survey() -> dict[str, Any]:
    """The cache as plain data."""
    from regraft import cache
    from regraft.cachedir import cache_dir

    root = cache_dir()
    kinds: dict[str, dict[str, int]] = {}
    for path, size, _ in cache.entries():
        held = kinds.setdefault(path.relative_to(root).parts[0], {"entries": 0, "bytes": 0})
        held["entries"] += 1
        held["bytes"] += size
    total = sum(held["bytes"] for held in kinds.values())
    return {
        "folder": str(root),
        "bytes": total,
        "limit_bytes": cache.limit_bytes(),
        "entries": sum(held["entries"] for held in kinds.values()),
        "kinds": kinds,
    }


def seconds(text: str) -> float:
    """'30d' as seconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text)
    if not match:
        raise OptionError(f"--older must be a number with s, m, h, d or w, like 30d, got '{text}'.")
    return float(match[1]) * _SECONDS[match[2]]
