"""The plans that have a name. A new plan is one function, and its place in `PLANS`.

    probe      head on frozen features          lpft     head solved, then the highest stages
    early      the same at an earlier stage     full     everything, with a fresh head
    finetune   head trained, then the stages    scratch  everything, from random weights
    gradual    stage group by stage group       lora, bitfit, norm   head solved, then an adapter

A cut in a plan may be spelled as places are (`regraft.plans.places`): 'auto', 'top:3', 'layer4'.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from regraft.errors import OptionError, did_you_mean
from regraft.plans.phase import Phase

Plan = tuple[Phase, ...]
Cut = int | str
#: In the place of a plan's name: the one that is advised.
AUTO = "auto"

#: Solves the head before anything else is trained (Kumar et al. 2022, arXiv:2202.10054).
SOLVED = Phase(solve=True)


def probe() -> Plan:
    """Feature extraction: the head is solved on frozen features, nothing else is trained."""
    return (SOLVED,)


def early() -> Plan:
    """Feature extraction from an earlier stage, and nothing above it is kept.

    Which one is measured, unless `at` names it.
    """
    return (SOLVED,)


def finetune(cut: Cut = "auto", epochs: int = 10, lr: float = 5e-5, **how: Any) -> Plan:
    """The tutorials' two steps: train the head, then the highest stages at a 20 times smaller rate.

    The head learns at 20 times `lr` for half as many epochs; `how` is for the second phase.
    """
    head = Phase(epochs=max(1, epochs // 2), lr=20 * lr)
    return (head, Phase(cut, epochs, lr, **how))


def gradual(steps: int = 3, epochs: int = 4, lr: float = 3e-4, **how: Any) -> Plan:
    """Unfreezing downwards: the head, then one more group of stages per phase.

    Each phase stops by itself when validation no longer gets better (Howard & Ruder 2018,
    arXiv:1801.06146).
    """
    own: dict[str, Any] = {"decay": 0.9, "patience": 2} | how
    head = {name: value for name, value in own.items() if name not in ABOVE}
    down = [Phase(f"group:{step + 1}", epochs, lr, **own) for step in range(steps)]
    return (Phase("end", epochs, lr, **head), *down)


def lpft(cut: Cut = "auto", epochs: int = 10, lr: float = 3e-4, **how: Any) -> Plan:
    """Linear probing, then fine-tuning: the head is solved, then the highest stages learn too.

    Kumar et al. 2022, arXiv:2202.10054.
    """
    return (SOLVED, Phase(cut, epochs, lr, **({"decay": 0.8} | how)))


def full(cut: Cut = 0, epochs: int = 10, lr: float = 1e-4, **how: Any) -> Plan:
    """Full fine-tuning as tutorials have it: a fresh head and every stage at once."""
    return (Phase(cut, epochs, lr, **how),)


def scratch(cut: Cut = 0, epochs: int = 30, lr: float = 1e-3, **how: Any) -> Plan:
    """Every stage from random weights, to see what the pretrained ones are worth."""
    return (Phase(cut, epochs, lr, **({"scratch": True, "patience": 10} | how)),)


def lora(cut: Cut = "auto", epochs: int = 10, lr: float = 1e-3, **how: Any) -> Plan:
    """The head is solved, then low-rank matrices beside the weights above the cut learn.

    Hu et al. 2022, arXiv:2106.09685.
    """
    return (SOLVED, Phase(cut, epochs, lr, **({"adapter": "lora"} | how)))


def bitfit(cut: Cut = "auto", epochs: int = 10, lr: float = 1e-3, **how: Any) -> Plan:
    """The head is solved, then only the biases above the cut learn.

    Ben Zaken et al. 2022, arXiv:2106.10199.
    """
    return (SOLVED, Phase(cut, epochs, lr, **({"adapter": "bitfit"} | how)))


def norm(cut: Cut = "auto", epochs: int = 10, lr: float = 1e-3, **how: Any) -> Plan:
    """The head is solved, then only scale and shift of the norms above the cut learn.

    Frankle et al. 2021, arXiv:2003.00152.
    """
    return (SOLVED, Phase(cut, epochs, lr, **({"adapter": "norm"} | how)))


PLANS: dict[str, Callable[..., Plan]] = {
    made.__name__: made
    for made in (
        probe, early, finetune, gradual, lpft, full, scratch, lora, bitfit, norm,
    )
}  # fmt: skip

#: What a plan begins with of the recipe, where nothing else is asked for.
BEGUN: dict[str, dict[str, Any]] = {"lpft": {"wise": "auto"}}

#: Fields of a phase that say something of stages, so nothing to a phase that trains the head alone.
ABOVE = ("cut", "decay", "only", "adapter", "rank", "scratch")


def named(name: str, own: Mapping[str, Any] | None = None) -> Plan:
    """The plan of that name.

    Args:
        name: one of `PLANS`.
        own: values for the function's own parameters, see `parameters`.

    Raises:
        OptionError: there is none of that name.
    """
    if name not in PLANS:
        raise OptionError(
            f"--plan must be one of {AUTO}, {', '.join(PLANS)}, or a file such as my.toml, got "
            f"'{name:.60}'." + did_you_mean(name, (AUTO, *PLANS))
        )
    return PLANS[name](**(own or {}))


def parameters(name: str) -> dict[str, Any]:
    """Names and defaults of what a plan takes that is no field of a phase: 'steps' of gradual."""
    taken = inspect.signature(PLANS[name]).parameters.values()
    fields = Phase.__dataclass_fields__
    return {
        one.name: one.default for one in taken if one.kind is not one.VAR_KEYWORD
        and one.name not in fields
    }  # fmt: skip


def told(name: str) -> str:
    """What a plan does, in one sentence."""
    return (inspect.getdoc(PLANS[name]) or "").partition("\n")[0]
