"""What is on record: the audit of the data, what it cost, and how to do it again."""

from __future__ import annotations

from shlex import quote
from typing import Any

from regraft import sizes
from regraft.report.figures import count, number
from regraft.report.markup import (
    Html,
    bullets,
    details,
    join,
    lines,
    paragraph,
    table,
    tag,
    text,
)
from regraft.report.material import Material
from regraft.report.sections.plan import settings_of

#: Parts of the data in the order in which they are told.
PARTS = ("train", "val", "test", "unsplit")
#: Findings of one kind that are listed.
MOST_LISTED = 200


def audit(material: Material) -> Html | None:
    """What is wrong with the data, and what was done about it."""
    found = material.report.get("audit")
    if not found:
        return None
    skipped, leaks = found.get("skipped") or [], found.get("leaks") or []
    conflicts, duplicates = found.get("conflicts") or [], found.get("duplicates") or []
    told = [
        f"{count(found.get('used', 0), 'picture')} used of {count(found.get('seen', 0), 'file')}."
    ]
    if found.get("ignored"):
        told.append(f"{count(found['ignored'], 'other file')} ignored: no pictures, or set aside.")
    said = [paragraph(" ".join(told))]
    clean = not (skipped or leaks or conflicts or duplicates or found.get("notes"))
    if clean:
        said.append(paragraph("No problems found.", kind="fine"))
    said += [bullets(map(text, found["notes"]))] if found.get("notes") else []
    said += _listed(
        "Left out",
        ("file", "why"),
        [(one["file"], one["reason"]) for one in skipped],
        "left out: what cannot be used",
    )
    said += _listed(
        "Not scored",
        ("file", "part", "is", "of", "in"),
        [(o["file"], o["part"], o["kind"], o["like"], o["like_part"]) for o in leaks],
        "not scored: known from training, so that a score on them would be a lie",
    )
    said += _listed(
        "Contradictions",
        ("files", "labels"),
        [(", ".join(one["files"]), ", ".join(one.get("labels") or [])) for one in conflicts],
        "of more than one label",
    )
    said += _listed(
        "Copies",
        ("kind", "files"),
        [(one["kind"], ", ".join(one["files"])) for one in duplicates],
        "there more than once; all copies of one stay on one side of every split",
    )
    return join([*said, *_counts(found.get("classes") or {})])


def _listed(title: str, head: Any, rows: list[Any], what: str) -> list[Html]:
    if not rows:
        return []
    kept = rows[:MOST_LISTED]
    left = f", of which {len(kept)} are listed" if len(rows) > len(kept) else ""
    listing = Html(table(head, kept, title).replace("<table>", '<table class="words">', 1))
    return [
        tag("h3", title),
        paragraph(f"{count(len(rows), 'picture')} {what}{left}."),
        details("Which", listing),
    ]


def _counts(classes: dict[str, dict[str, int]]) -> list[Html]:
    if not classes:
        return []
    there = {part for held in classes.values() for part in held}
    parts = [part for part in PARTS if part in there]
    rows = [
        (name, *(held.get(part, 0) for part in parts)) for name, held in sorted(classes.items())
    ]
    sizes = [sum(held.values()) for held in classes.values()]
    told = (
        f"{count(len(classes), 'class', 'classes')} with {min(sizes):,} to {max(sizes):,} pictures."
        if min(sizes) != max(sizes)
        else f"{count(len(classes), 'class', 'classes')} with {count(sizes[0], 'picture')} each."
    )
    return [paragraph(told), details("How many of each", table(("class", *parts), rows))]


def cost(material: Material) -> Html | None:
    """Seconds, memory, and what the cache spared."""
    report = material.report
    seconds = report.get("seconds") or {}
    if not seconds:
        return None
    total = seconds.get("total", 0.0)
    laps = [(lap, took) for lap, took in seconds.items() if lap != "total"]
    laps.sort(key=lambda one: -one[1])
    rows = [
        (lap, f"{took:.1f} s", f"{100 * took / total:.0f} %" if total else "–")
        for lap, took in laps
    ]
    rows.append(("all", f"{total:.1f} s", ""))
    cache = report.get("cache") or {}
    facts: list[tuple[str, str]] = []
    if report.get("peak_memory_bytes"):
        facts.append(("most memory", sizes.told(report["peak_memory_bytes"])))
    if report.get("images_per_second"):
        facts.append(("features", f"{number(report['images_per_second'], 0)} pictures a second"))
    if cache:
        facts.append(
            ("cache", f"{cache.get('state')}: {cache.get('hits', 0):,} found, "
                      f"{cache.get('misses', 0):,} computed")
        )  # fmt: skip
    return join([table(("lap", "time", "share"), rows, "What took how long"), definitions(facts)])


def again(material: Material) -> Html | None:
    """Everything that repeats the run."""
    report, settings = material.report, settings_of(material)
    run = str(report.get("run") or "RUN")
    facts: list[tuple[str, Any]] = [
        ("backbone", report.get("backbone", "")),
        ("licence of its weights", material.licence or "unknown: ask who published them"),
        ("digest of its weights", material.digest),
    ]
    for kind, held in sorted(material.facts.items()):
        if isinstance(held, dict):
            facts.append((kind, ", ".join(f"{key} {value}" for key, value in sorted(held.items()))))
    said: list[Html] = []
    if settings.get("changed") is True:
        said.append(
            paragraph("The run was changed since by add, remove or merge, so its run.toml says "
                      "how it began and does not repeat it.", kind="warning")
        )  # fmt: skip
    elif material.settings:
        said += [
            paragraph("On one machine type with the same versions this gives the same model, byte "
                      "for byte:"),
            tag("pre", tag("code", f"regraft fit {quote(run)}/run.toml")),
        ]  # fmt: skip
    said.append(definitions(facts))
    if material.settings:
        said.append(details("run.toml", tag("pre", tag("code", lines(material.settings)))))
    return join(said)


def definitions(facts: list[tuple[Any, Any]]) -> Html:
    """Names and what they are."""
    if not facts:
        return Html("")
    return tag("dl", *(part for k, v in facts for part in (tag("dt", k), tag("dd", v))))
