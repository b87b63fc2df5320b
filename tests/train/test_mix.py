"""Rows of a batch mixed in pairs."""

from __future__ import annotations

import pytest
import torch

from regraft.errors import OptionError
from regraft.train.mix import mix

LABELS = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])


def rows(*shape: int) -> torch.Tensor:
    """Row i is i everywhere, so that each number tells where it is from."""
    index = torch.arange(len(LABELS), dtype=torch.float32)
    return index.view(-1, *[1] * len(shape)).expand(-1, *shape).contiguous()


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC", "NLC", "NC"])
def test_mixup_averages_two_rows_and_their_classes(layout: str) -> None:
    shape = {"NCHW": (3, 4, 4), "NHWC": (4, 4, 3), "NLC": (5, 3), "NC": (6,)}[layout]
    x = rows(*shape)
    for seed in range(5):
        mixed, target = mix(x, LABELS, 4, seeded(seed), layout, mixup=0.4)
        assert mixed.shape == x.shape
        assert target.shape == (8, 4)
        torch.testing.assert_close(target.sum(1), torch.ones(8))
        flat = mixed.flatten(1)
        torch.testing.assert_close(flat, flat[:, :1].expand_as(flat))
        # the numbers of the rows mix in the same shares as all rows together: the mean stays
        torch.testing.assert_close(flat[:, 0].mean(), x.flatten(1)[:, 0].mean())


def test_shares_of_classes_are_those_of_the_rows() -> None:
    labels = torch.arange(8)
    mixed, target = mix(rows(3, 4, 4), labels, 8, seeded(1), "NCHW", mixup=1.0)
    torch.testing.assert_close(target @ torch.arange(8.0), mixed[:, 0, 0, 0])


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_cutmix_shares_are_areas(layout: str) -> None:
    x = rows(3, 9, 7) if layout == "NCHW" else rows(9, 7, 3)
    labels = torch.arange(8)
    cut = 0
    for seed in range(20):
        mixed, target = mix(x, labels, 8, seeded(seed), layout, cutmix=1.0)
        own = torch.arange(8.0).view(8, 1, 1, 1)
        kept = (mixed == own).float().mean((1, 2, 3))
        places = torch.arange(8)
        other = target.clone()
        other[places, places] = 0.0
        alone = other.sum(1) == 0  # a row whose partner is itself
        torch.testing.assert_close(kept[~alone], target[places, places][~alone])
        channels = mixed if layout == "NCHW" else mixed.permute(0, 3, 1, 2)
        assert torch.equal(channels, channels[:, :1].expand_as(channels))
        cut += bool((kept < 1).any())
    assert cut > 10


def test_the_cut_is_one_rectangle() -> None:
    for seed in range(20):
        mixed, _ = mix(rows(1, 9, 7), LABELS, 3, seeded(seed), "NCHW", cutmix=1.0)
        changed = mixed[:, 0] != torch.arange(8.0).view(8, 1, 1)
        for row in changed:
            if row.any():
                high, wide = row.any(1), row.any(0)
                assert torch.equal(row, high[:, None] & wide[None, :])
                for line in (high, wide):
                    found = line.nonzero().flatten()
                    assert int(found[-1] - found[0]) + 1 == len(found)


def test_both_are_used_if_both_are_asked_for() -> None:
    kinds = set()
    for seed in range(30):
        mixed, _ = mix(rows(1, 8, 8), LABELS, 3, seeded(seed), "NCHW", mixup=0.8, cutmix=0.8)
        whole = bool((mixed == mixed.round()).all())
        kinds.add("cut" if whole else "mean")
    assert kinds == {"cut", "mean"}


def test_chance_comes_from_the_generator_alone() -> None:
    before = torch.get_rng_state()
    first = mix(rows(3, 4, 4), LABELS, 3, seeded(3), "NCHW", 0.5, 0.5)
    torch.rand(5)
    second = mix(rows(3, 4, 4), LABELS, 3, seeded(3), "NCHW", 0.5, 0.5)
    other = mix(rows(3, 4, 4), LABELS, 3, seeded(4), "NCHW", 0.5, 0.5)
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert not torch.equal(first[0], other[0])
    torch.set_rng_state(before)
    mix(rows(3, 4, 4), LABELS, 3, seeded(3), "NCHW", 0.5, 0.5)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("kinds", [(0.5, 0.0), (0.0, 0.5)])
def test_the_flow_itself_stays_and_so_does_its_order_in_memory(
    kinds: tuple[float, float],
) -> None:
    x = rows(3, 4, 4).to(memory_format=torch.channels_last)
    was = x.clone()
    mixed, _ = mix(x, LABELS, 3, seeded(), "NCHW", *kinds)
    assert torch.equal(x, was)
    assert not torch.equal(mixed, x)
    assert mixed.is_contiguous(memory_format=torch.channels_last)


def test_masked_tokens_count_as_nothing() -> None:
    x = torch.full((2, 3, 1), 4.0)
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    for seed in range(10):
        (mixed, where), target = mix(
            (x, mask), torch.tensor([0, 1]), 2, seeded(seed), "NLC+mask", mixup=1.0
        )
        assert where.dtype == mask.dtype
        if target[0, 0] == 1.0:
            continue
        assert where.tolist() == [[1, 1, 0], [1, 1, 0]]
        torch.testing.assert_close(mixed[0, 1, 0], 4.0 * target[0, 0])
        torch.testing.assert_close(mixed[0, 0, 0], torch.tensor(4.0))
        return
    pytest.fail("no seed mixed the two rows")


def test_cutmix_is_refused_where_nothing_is_spatial() -> None:
    with pytest.raises(OptionError, match="'NLC': use mixup"):
        mix(rows(5, 3), LABELS, 3, seeded(), "NLC", cutmix=1.0)


def test_whole_numbers_are_refused() -> None:
    with pytest.raises(OptionError, match=r"torch\.int64: choose a cut above 0"):
        mix((torch.ones(8, 5, dtype=torch.int64), None), LABELS, 3, seeded(), "NLC+mask", 1.0)


def test_without_either_the_classes_are_certain() -> None:
    x = rows(3, 4, 4)
    mixed, target = mix(x, LABELS, 3, seeded(), "NCHW")
    assert mixed is x
    assert torch.equal(target.argmax(1), LABELS)
    assert set(target.unique().tolist()) == {0.0, 1.0}


def test_a_batch_of_one_row_mixes_with_itself() -> None:
    x = rows(3, 4, 4)[1:2]
    for kinds in ((1.0, 0.0), (0.0, 1.0)):
        mixed, target = mix(x, LABELS[1:2], 3, seeded(), "NCHW", *kinds)
        torch.testing.assert_close(mixed, x)
        torch.testing.assert_close(target, torch.tensor([[0.0, 1.0, 0.0]]))
