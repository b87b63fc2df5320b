"""The page that a person looks at: `report.html` of a run or of a comparison.

    run folder ─► folder.collect ─┐
    fit        ─► beside ─────────┴► Material ─► page.of_run ─► one file

`style` is the one place that decides what pictures look like, `charts` draws them, `sections` says
in which words and order they come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regraft.report.fitted import beside as beside
    from regraft.report.versus import comparison_html as comparison_html
    from regraft.report.written import write as write

#: Public name -> its module; nothing of it is imported before it is asked for.
_PLACES = {
    "beside": "regraft.report.fitted",
    "comparison_html": "regraft.report.versus",
    "write": "regraft.report.written",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'regraft.report' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(_PLACES[name]), name)
