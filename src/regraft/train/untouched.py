"""Trying something on a module without leaving a trace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def untouched(module: nn.Module) -> Iterator[None]:
    """Within the block the module computes with copies; after it all is as before, to the bit.

    What comes back: parameters and buffers with their memory and its order, gradients, what is in
    training mode, and torch's generators on every device.

    Args:
        module: its parameters stay the same objects, so an optimizer may hold them.
    """
    parameters = [(p, p.data, p.grad, p.requires_grad) for p in module.parameters()]
    buffers = [(m, dict(m._buffers), m.training) for m in module.modules()]
    tensors = {t: t.data for t in module.buffers()}
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        for parameter, data, _, _ in parameters:
            parameter.data, parameter.grad = data.clone(), None
        for buffer, data in tensors.items():
            buffer.data = data.clone()
        try:
            yield
        finally:
            for buffer, data in tensors.items():
                buffer.data = data
            for owner, held, training in buffers:
                owner._buffers.update(held)
                owner.training = training
            for parameter, data, grad, wanted in parameters:
                parameter.data = data
                parameter.grad = grad
                parameter.requires_grad_(wanted)
