"""What a plan will cost here: time and memory, from rates that were measured on this machine.

seconds = flows below the cuts + speed trials + epochs · (learning + validation) + WiSE-FT + test
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from regraft.advising.rates import Above, Rates
from regraft.backbones.info import BackboneInfo
from regraft.plans import Phase, Recipe
from regraft.train.candidates import BATCHES, WARM_UPS, WORTH, steps_of

#: Early stopping ends a phase before its last epoch: share that ran, of phases with patience; the
#: mean over 16 fits of bench/arms.py.
RUN_SHARE = 0.8
#: Memory formats of which a training measures a few batches before it begins.
FORMATS = 2
#: Batches more in a long training, which measures threads and allocator too.
MORE = 8
ALPHAS = 11
#: Seconds that a fit takes besides, and for each picture whose features are kept: finding files,
#: hashing them, reading rows, scores; fitted to warm fits of 175 to 1,500 pictures.
BESIDES, PER_ROW = 0.13, 0.00012
#: Bytes per number that is trained: it, its gradient, two moments, the best so far.
TRAINED_BYTES = 4 * 5
#: Watts of a busy processor, where nothing else is stated: a laptop's or a server's core.
WATTS = 10.0


@dataclass(frozen=True)
class Rows:
    """How many there are.

    Attributes:
        learn: to learn from, validation rows not counted.
        val: to validate on, where stages are trained.
        test: to score.
    """

    learn: int
    val: int
    test: int

    @property
    def all(self) -> int:
        return self.learn + self.val + self.test


@dataclass(frozen=True)
class Forecast:
    """What a fit is expected to cost, once the features are there.

    Attributes:
        seconds: of its wall time.
        peak_memory_bytes: that the process holds at most.
        cpu_seconds: of all processors.
        watts: per busy processor, an assumption.
    """

    seconds: float
    peak_memory_bytes: int
    cpu_seconds: float
    watts: float = WATTS

    def json(self) -> dict[str, Any]:
        """Plain data, with the energy in watt hours: an estimate, processor time x watts."""
        energy = self.cpu_seconds * self.watts / 3600
        return asdict(self) | {"energy_wh": round(energy, 3)}


def solved(rows: Rows, head_seconds: float, resident: int, watts: float) -> Forecast:
    """Of a plan that trains nothing: features are kept, a head is solved."""
    seconds = BESIDES + PER_ROW * rows.all + head_seconds
    return Forecast(round(seconds, 2), resident, round(seconds, 2), watts)


def trained(
    phases: Sequence[Phase],
    recipe: Recipe,
    info: BackboneInfo,
    rows: Rows,
    rates: Rates,
    head_seconds: float,
    watts: float,
) -> Forecast:
    """Of a plan that trains.

    Args:
        phases: their cuts as numbers.
        recipe: of the plan.
        info: of the backbone.
        rows: how many there are.
        rates: of this machine.
        head_seconds: that solving the head took a moment ago.
        watts: per busy processor.
    """
    learning = [phase for phase in phases if not phase.solve]
    cuts = sorted({int(phase.cut) for phase in learning})
    views = recipe.views if recipe.augment else 0
    seconds = solved(rows, head_seconds, 0, watts).seconds + rates.opened + rates.loaded
    # Views of one picture are decoded once, so this is an upper bound where there are any.
    seconds += rates.picture * (rows.all + views * rows.learn)
    batch = min(recipe.batch, max(rows.learn, 1))
    first = at_cut(rates, info, int(learning[0].cut))
    tried = (WARM_UPS + BATCHES) * FORMATS * (recipe.memory == "auto")
    tried += MORE * (steps_of((p.epochs for p in learning), rows.learn, batch) >= WORTH)
    seconds += tried * batch * first.step
    for phase in learning:
        here = at_cut(rates, info, int(phase.cut))
        share = RUN_SHARE if phase.patience and phase.epochs > phase.patience else 1.0
        each = rows.learn * here.step + rows.val * here.forward
        seconds += max(1.0, phase.epochs * share) * each
    lowest = at_cut(rates, info, cuts[0])
    seconds += rows.val * lowest.forward * (ALPHAS if recipe.wise == "auto" else 1)
    seconds += rows.test * lowest.forward
    numbers = sum(stage.parameters for stage in info.stages[cuts[0] :])
    held = max(at_cut(rates, info, cut).row_bytes for cut in cuts) * batch
    memory = rates.resident + int(held) + TRAINED_BYTES * numbers
    return Forecast(round(seconds, 2), memory, round(seconds * rates.threads * 0.9, 2), watts)


def at_cut(rates: Rates, info: BackboneInfo, cut: int) -> Above:
    """The rates at a cut: as measured, or between (or beyond) those that were by multiply-adds."""
    if cut in rates.above:
        return rates.above[cut]
    work = {held: flops(info, held) for held in rates.above}
    here = flops(info, cut)
    near = min(work, key=lambda held: (abs(work[held] - here), held))
    scale = here / work[near] if work[near] else 0.0
    one = rates.above[near]
    return Above(one.forward * scale, one.step * scale, one.row_bytes * scale)


def flops(info: BackboneInfo, cut: int) -> int:
    """Multiply-adds times two of one row in the stages from `cut` up."""
    return sum(stage.flops for stage in info.stages[cut:])
