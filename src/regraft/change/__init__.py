"""A run whose data change: rows come, rows go, runs become one, and nothing else moves.

    run ─► ledger, sums ─► rows added, removed, merged ─► solved at the same penalty ─► run

A ridge head needs only the run's sums, so the change is exact whether or not the other rows are
still at hand. Calibration and validation need rows; they are made again where the cache still has
all of them, and the report says so where it has not.
"""

from regraft.change.add import add
from regraft.change.merge import merge
from regraft.change.remove import remove

__all__ = ["add", "merge", "remove"]
