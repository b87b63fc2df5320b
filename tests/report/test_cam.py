"""What spoke for an answer: the planted patch, and other weights another map."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from regraft import heads
from regraft.backbones import Backbone, from_module
from regraft.backbones.info import StageInfo
from regraft.backbones.resolve import resolve
from regraft.inputs import ImageSpec
from regraft.model import Model
from regraft.report.cam import grid, heats, spatial
from regraft.report.pictures import coloured, overlay, thumbnail
from tests.nets import small

SIDE, PATCH = 96, 24
COLOURS = np.array([[230, 40, 30], [30, 60, 230]])


def planted(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Noise with a patch somewhere whose colour is the class: rows, classes, corners."""
    draw = np.random.default_rng(seed)
    rows = draw.integers(90, 160, (count, SIDE, SIDE, 3)).astype(np.uint8)
    classes = np.arange(count) % 2
    corners = draw.integers(0, SIDE - PATCH, (count, 2))
    for row, label, (y, x) in zip(rows, classes, corners, strict=True):
        row[y : y + PATCH, x : x + PATCH] = COLOURS[label]
    return rows, classes, corners


def inside(heat: np.ndarray, corner: np.ndarray) -> float:
    """The share of a map's mass that lies on the patch, the map stretched over the picture."""
    y = (np.arange(SIDE) * heat.shape[0] // SIDE).clip(max=heat.shape[0] - 1)
    x = (np.arange(SIDE) * heat.shape[1] // SIDE).clip(max=heat.shape[1] - 1)
    large = heat[np.ix_(y, x)]
    part = large[corner[0] : corner[0] + PATCH, corner[1] : corner[1] + PATCH]
    return float(part.sum() / large.sum())


def adapted(net: Backbone, at: tuple[str, ...], head: str = "ridge") -> Model:
    """A model that tells the two patches apart."""
    rows, classes, _ = planted(60, 1)
    with torch.inference_mode():
        flow = net.input.preamble()(torch.from_numpy(rows))
        pooled = []
        for stage in net.stages:
            flow = stage.eval()(flow)
            if stage.info.name in at:
                places = tuple(range(2, flow.ndim)) if stage.info.layout == "NCHW" else (1,)
                many = flow.ndim > 2
                pooled.append((flow.mean(places) if many else flow).numpy())
    features = np.concatenate(pooled, axis=1)
    fitted = heads.fit(head, features, classes.astype(np.int64), 2, seed=0)
    assert (fitted.probabilities(features).argmax(1) == classes).mean() > 0.95
    return Model(net, at, fitted, ("blue", "red"), {}, {})


def found(model: Model, count: int = 12) -> float:
    """The mean share of the maps' mass on the patches of new pictures."""
    rows, classes, corners = planted(count, 2)
    maps = heats(model, list(rows), classes.tolist())
    assert maps is not None
    shares = [inside(heat, corner) for heat, corner in zip(maps, corners, strict=True)
              if heat is not None]  # fmt: skip
    assert len(shares) >= count // 2
    return float(np.mean(shares))


CHANCE = (PATCH / SIDE) ** 2


@pytest.mark.parametrize(
    ("at", "head"),
    [(("top",), "ridge"), (("top",), "logistic"), (("top",), "prototypes"), (("pool",), "ridge"),
     (("middle", "top"), "ridge"), (("middle",), "ridge")],
)  # fmt: skip
def test_a_planted_patch_is_found(at: tuple[str, ...], head: str) -> None:
    net = small(0, SIDE)
    names = [stage.name for stage in net.info.stages]
    real = tuple(next(n for n in names if n.startswith(part) or (part == "pool" and n == names[-1]))
                 for part in at)  # fmt: skip
    assert found(adapted(net, real, head)) > 5 * CHANCE


def test_with_a_linear_head_on_the_mean_it_is_the_class_activation_map() -> None:
    net = small(0, SIDE)
    name = next(s.name for s in reversed(net.info.stages) if s.layout == "NCHW")
    model = adapted(net, (name,))
    rows, classes, _ = planted(4, 3)
    made = heats(model, list(rows), classes.tolist())
    assert made is not None
    features = np.random.default_rng(0).normal(size=(2, model.head.dim)).astype(np.float32)
    base = model.head.layers(np.zeros((1, model.head.dim), np.float32))
    weight = np.stack(
        [
            (model.head.layers(row[None]) - base)[0]
            for row in np.eye(model.head.dim, dtype=np.float32)
        ]
    )
    assert np.allclose(model.head.layers(features), features @ weight + base, atol=1e-3)
    with torch.inference_mode():
        flow = net[: net.index(name) + 1](net.input.preamble()(torch.from_numpy(rows))).numpy()
    for number, label in enumerate(classes):
        heat = np.einsum("chw,c->hw", flow[number], weight[:, label]).clip(min=0)
        assert made[number] is not None
        assert np.allclose(made[number], heat / heat.max(), atol=1e-3)


def test_other_weights_give_another_map() -> None:
    model = adapted(small(0, SIDE), (small(0, SIDE).info.stages[-1].name,))
    other = Model(small(7, SIDE), model.at, model.head, model.classes, {}, {})
    rows, classes, _ = planted(12, 2)
    one, two = (heats(m, list(rows), classes.tolist()) for m in (model, other))
    assert one is not None
    assert two is not None
    alike = [
        np.corrcoef(a.ravel(), b.ravel())[0, 1]
        for a, b in zip(one, two, strict=True)
        if a is not None and b is not None and a.std() > 0 and b.std() > 0
    ]
    again = heats(model, list(rows), classes.tolist())
    assert again is not None
    assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True) if a is not None)
    assert not alike or np.mean(alike) < 0.7
    assert found(other) < 0.7 * found(model)


@pytest.mark.slow
def test_the_packaged_network_finds_it_and_a_random_one_does_not() -> None:
    trained, fresh = (resolve(None, size=SIDE, weights=w) for w in (None, "random"))
    place = next(s.name for s in trained.info.stages if s.shape[-1] == SIDE // 16)
    model = adapted(trained, (place,))
    share = found(model)
    assert share > 4 * CHANCE
    other = Model(fresh, model.at, model.head, model.classes, {}, {})
    assert found(other) < share / 2


def test_explaining_leaves_the_network_as_it_is() -> None:
    net = small(0, SIDE)
    before = {name: tensor.clone() for name, tensor in net.stages.tensors().items()}
    found(adapted(net, (net.info.stages[-1].name,)))
    after = net.stages.tensors()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert all(tensor.grad is None for tensor in after.values())


class Tokens(nn.Module):
    """Patches as tokens after a class token that mixes with them in the last block."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 12, stride=12)
        self.token = nn.Parameter(torch.zeros(1, 1, 16))
        self.first = nn.Sequential(nn.Linear(16, 16), nn.GELU())
        self.last = nn.Sequential(nn.Linear(16, 24), nn.GELU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        return self.last(self.first(x))


def test_patches_of_a_transformer_are_places_too() -> None:
    torch.manual_seed(0)
    net = from_module(Tokens().eval(), input=ImageSpec((SIDE, SIDE)), name="tokens")
    last = net.info.stages[-1]
    assert last.layout == "NLC"
    assert found(adapted(net, (last.name,))) > 4 * CHANCE


@pytest.mark.parametrize(
    ("layout", "shape", "prefix", "places"),
    [
        ("NCHW", (8, 7, 5), 0, (7, 5)),
        ("NHWC", (7, 5, 8), 0, (7, 5)),
        ("NLC", (197, 8), 1, (14, 14)),
        ("NLC", (196, 8), 1, None),
        ("NC", (8,), 0, None),
        ("NCHW", (8, 1, 1), 0, None),
        ("NLC+mask", (64, 8), 0, None),
    ],
)
def test_where_a_stage_has_places(
    layout: str, shape: tuple[int, ...], prefix: int, places: tuple[int, int] | None
) -> None:
    assert grid(StageInfo(0, "a", "A", 0, shape, layout, prefix), (224, 224)) == places


def test_tokens_of_a_picture_that_is_not_square() -> None:
    assert grid(StageInfo(0, "a", "A", 0, (33, 8), "NLC", 1), (64, 128)) == (4, 8)


def test_the_highest_stage_with_places_through_which_all_goes() -> None:
    net = small(0, SIDE)
    last = len(net) - 1
    assert next(s.index for s in spatial(net, [last])) == max(
        s.index for s in net.info.stages if s.layout == "NCHW" and s.shape[-1] > 1
    )
    assert spatial(net, [0, last])[0].index == 0


def test_an_overlay_is_a_small_picture_in_the_colours_of_the_scale() -> None:
    import io

    from PIL import Image

    row = np.full((200, 300, 3), 120, np.uint8)
    heat = np.zeros((4, 6), np.float32)
    heat[:, :2] = 1.0
    for data in (thumbnail(row), overlay(row, heat)):
        with Image.open(io.BytesIO(data)) as made:
            assert made.format == "JPEG"
            assert max(made.size) <= 224
            pixels = np.asarray(made.convert("RGB")).astype(int)
        assert len(data) < 12_000
    left, right = pixels[:, 5].mean(axis=0), pixels[:, -5].mean(axis=0)
    assert left[0] > left[2] + 40
    assert right[2] > right[1]
    steps = coloured(np.linspace(0, 1, 50)) @ np.array([0.299, 0.587, 0.114])
    assert (np.diff(steps) > 0).all()
