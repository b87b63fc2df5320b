"""The page that a person looks at: `report.html` of a run or of a comparison.

    run folder ─► folder.collect ─► Material ─► page.html ─► one file
    fit        ─► collect.gather ─┘

`style` is the one place that decides what pictures look like, `charts` draws them, `sections` says
in which words and order they come. Nothing here is imported before a page is made.
"""
