"""What is forecast, from rates that are made up."""

from __future__ import annotations

from dataclasses import replace

from regraft import plans
from regraft.advising.forecast import BESIDES, MORE, PER_ROW, Rows, at_cut, flops, solved, trained
from regraft.advising.rates import Above, Rates
from regraft.train.candidates import WORTH
from tests.nets import small

NET = small()
LAST = len(NET) - 1
RATES = Rates(
    picture=0.01,
    opened=1.0,
    loaded=2.0,
    resident=10**9,
    above={2: Above(0.001, 0.004, 10**5)},
    threads=2,
)
ROWS = Rows(100, 20, 50)


def forecast(name: str, rows: Rows = ROWS, rates: Rates = RATES, **settings: object):
    planned = plans.planned(name, None, {"cut": 2} | settings)
    phases = planned.resolved(NET, LAST)
    return trained(phases, planned.recipe, NET.info, rows, rates, 0.5, 10.0)


def test_the_parts_add_up() -> None:
    found = forecast("full", epochs=2, patience=0, memory="contiguous")
    flows = 170 * 0.01
    epochs = 2 * (100 * 0.004 + 20 * 0.001)
    scores = 20 * 0.001 + 50 * 0.001
    assert (
        abs(found.seconds - (BESIDES + 170 * PER_ROW + 0.5 + 1 + 2 + flows + epochs + scores))
        < 0.011
    )
    assert found.peak_memory_bytes > RATES.resident


def test_more_epochs_rows_and_views_cost_more() -> None:
    base = forecast("lpft", epochs=4).seconds
    assert forecast("lpft", epochs=40).seconds > base
    assert forecast("lpft", replace(ROWS, learn=200), epochs=4).seconds > base
    assert forecast("lpft", epochs=4, augment="flip", views=4).seconds > base


def test_a_long_training_measures_more_before_it_begins() -> None:
    """8 batches of 32 rows at 0.004 seconds."""
    batches = 4  # of 32 rows, per epoch
    short = forecast("full", epochs=WORTH // batches - 1, patience=0).seconds
    long = forecast("full", epochs=WORTH // batches, patience=0).seconds
    epoch = 100 * 0.004 + 20 * 0.001
    assert abs(long - short - epoch - MORE * 32 * 0.004) < 0.021


def test_a_head_alone_costs_next_to_nothing() -> None:
    assert solved(ROWS, 0.3, 10**8, 10.0).seconds < forecast("lpft", epochs=1).seconds


def test_cuts_that_were_not_measured_go_by_multiply_adds() -> None:
    here, lower = at_cut(RATES, NET.info, 2), at_cut(RATES, NET.info, 1)
    assert here == RATES.above[2]
    scale = flops(NET.info, 1) / flops(NET.info, 2)
    assert lower.step == here.step * scale
    assert scale > 1


def test_energy_is_processor_time_times_watts() -> None:
    told = solved(Rows(0, 0, 0), 3600 - BESIDES, 0, 20.0).json()
    assert told["cpu_seconds"] == 3600
    assert told["energy_wh"] == 20.0
    assert told["watts"] == 20.0


def test_rates_are_kept_as_plain_data() -> None:
    assert Rates.read(RATES.json()) == RATES
