"""Training above the cut: flows in, an adapted upper part and its head out.

flows (kept activations at the cut) ─► above (stages, pool, head) ─► loop, phase by phase ─► best
"""
