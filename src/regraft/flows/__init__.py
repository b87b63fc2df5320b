"""What training reads: the flows of a list of examples at a cut, kept on disk or made anew.

    Features of one pass ─► kept flows of the plain pictures ──┐
         └► one more pass for K augmented views ───────────────┴► batches at each cut
    or nothing kept: decode, change, run the frozen stages for each batch   (live)

At cut 0 what flows is the decoded row; augmented views of it are always made live.
"""

from regraft.flows.choosing import KEEP, Keeping, choose, flow_name, widened
from regraft.flows.contract import ANY_VIEW, PLAIN, Batch, Flows
from regraft.flows.make import Made, flows

__all__ = [
    "ANY_VIEW",
    "KEEP",
    "PLAIN",
    "Batch",
    "Flows",
    "Keeping",
    "Made",
    "choose",
    "flow_name",
    "flows",
    "widened",
]
