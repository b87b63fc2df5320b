"""What add, remove and merge say of the run that they changed."""

from __future__ import annotations

from typing import Any

from regraft import sizes
from regraft.cli.output import echo, percent
from regraft.files import visible


def show(report: dict[str, Any]) -> None:
    """The last change of a run for people, on stdout."""
    change = report["changes"][-1]
    echo(_did(change))
    if change["rows"] == change["test"] == 0:
        return
    for key, told in (("classes_added", "new classes"), ("classes_removed", "classes gone")):
        if change[key]:
            echo(f"{told:11} {', '.join(map(visible, change[key]))}")
    echo(f"trained on  {report['train']['n']} images of {len(report['classes'])} classes")
    validation, test = report["validation"], report["test"]
    if validation and validation["n"]:
        echo(
            f"validation  {percent(validation['accuracy'])} ({validation['kind']}, "
            f"{validation['n']} images)"
        )
    else:
        echo("validation  not measured")
    if test and test["n"]:
        low, high = test["accuracy_ci95"]
        echo(
            f"test        {percent(test['accuracy'])} of {test['n']} images, 95 % interval "
            f"{percent(low)} to {percent(high)}"
        )
    if change["rows"]:
        echo(
            "exact       the weights equal a fit on these rows at the same settings; calibration "
            + ("made again" if change["recalibrated"] else "not made again")
        )
    for note in change["notes"]:
        echo(f"note        {note}")
    if "proof" in change:
        proof = change["proof"]
        echo(
            f"no trace    {proof['files_searched']} files, {sizes.told(proof['bytes_searched'])} "
            f"searched for {proof['patterns']} digests, names and rows: {proof['found']} found"
        )
    echo(f"cost        {change['seconds']:.1f} s")
    echo(f"bundle      {report['bundle']}")


def _did(change: dict[str, Any]) -> str:
    """The first line."""
    images = f"{change['rows']} images to learn from and {change['test']} to test on"
    if change["kind"] == "merge":
        twice = f", {change['twice']} of them in more than one run" if change["twice"] else ""
        return f"merged      {len(change['runs'])} runs: {images}{twice}"
    if change["kind"] == "remove":
        copies = (
            f", {change['copies']} of them copies under other names" if change["copies"] else ""
        )
        return f"removed     {images}{copies}"
    said = [
        f"{len(change[key])} {told}"
        for key, told in (
            ("already", "that the run has already"),
            ("tested_on", "that it tests on"),
            ("skipped", "that cannot be used"),
        )
        if change[key]
    ]
    return f"added       {images}" + (f"; left out {', '.join(said)}" if said else "")
