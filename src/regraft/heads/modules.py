"""A fitted head as a torch module, for training above the cut and for export."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from regraft.heads.calibrate import Calibration
from regraft.heads.layers import TINY, Affine, Layers, Relu, Scale, Signs, affine


class Shifted(nn.Module):
    """(x - shift) @ weight.T + bias: (B, D) to (B, M); weight as torch keeps it, (M, D)."""

    shift: torch.Tensor

    def __init__(self, layer: Affine) -> None:
        super().__init__()
        self.register_buffer("shift", torch.from_numpy(layer.shift.copy()))
        self.linear = nn.Linear(*layer.weight.shape)
        with torch.no_grad():
            self.linear.weight.copy_(torch.from_numpy(layer.weight.T.copy()))
            self.linear.bias.copy_(torch.from_numpy(layer.bias.copy()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.linear(x - self.shift)
        return out


class Scaled(nn.Module):
    """(x - shift) * factor: (B, D) to (B, D)."""

    shift: torch.Tensor
    factor: torch.Tensor

    def __init__(self, layer: Scale) -> None:
        super().__init__()
        self.register_buffer("shift", torch.from_numpy(layer.shift.copy()))
        self.register_buffer("factor", torch.from_numpy(layer.factor.copy()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - self.shift) * self.factor


class Unit(nn.Module):
    """Every row of (B, D) divided by its Euclidean length."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.normalize(x, dim=1, eps=TINY)


class Logits(nn.Module):
    """sharpness · scores + bias: (B, K) to (B, K)."""

    sharpness: torch.Tensor
    bias: torch.Tensor

    def __init__(self, calibration: Calibration) -> None:
        super().__init__()
        sharpness = torch.tensor(calibration.sharpness, dtype=torch.float32)
        self.register_buffer("sharpness", sharpness)
        self.register_buffer("bias", torch.from_numpy(calibration.bias).float())

    def forward(self, scores: torch.Tensor) -> torch.Tensor:
        return scores * self.sharpness + self.bias


def _signs(layer: Signs) -> nn.Linear:
    """The product with fixed signs; they are not trained."""
    before, after = layer.weight.shape
    linear = nn.Linear(before, after, bias=False)
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(layer.weight.T.copy()))
    return linear.requires_grad_(False)


def build(layers: Layers, calibration: Calibration) -> nn.Sequential:
    """(B, D) features to (B, K) calibrated logits, in eval mode."""
    return nn.Sequential(*chain_module(layers), Logits(calibration)).eval()


def chain_module(layers: Layers) -> nn.Sequential:
    """(B, D) features to (B, K) scores: one module per layer, in order, in eval mode."""
    steps: list[nn.Module] = []
    for layer in layers.chain:
        if isinstance(layer, Affine):
            steps.append(Shifted(layer))
        elif isinstance(layer, Scale):
            steps.append(Scaled(layer))
        elif isinstance(layer, Signs):
            steps.append(_signs(layer))
        else:
            steps.append(nn.ReLU() if isinstance(layer, Relu) else Unit())
    return nn.Sequential(*steps).eval()


def layers_of(module: nn.Sequential, layers: Layers) -> Layers:
    """`layers` with the numbers that `module`, made of them by `chain_module`, has by now."""
    chain = [
        affine(layer.shift, _numpy(step.linear.weight).T, _numpy(step.linear.bias))
        if isinstance(layer, Affine) and isinstance(step, Shifted)
        else layer
        for layer, step in zip(layers.chain, module, strict=True)
    ]
    return Layers(tuple(chain))


def _numpy(tensor: torch.Tensor) -> NDArray[np.float32]:
    return np.asarray(tensor.detach().float().cpu().numpy())
