"""Heads: from pooled features to calibrated probabilities.

A head is a class with two functions (`regraft.heads.fitted.Head`) and one line in `HEADS`; the
contract tests run over that table. Nothing is imported before it is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from regraft.errors import HeadError, did_you_mean

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from regraft.heads.fitted import FittedHead, Head
    from regraft.heads.rows import Rows

HEADS: dict[str, str] = {
    "ridge": "regraft.heads.ridge:Ridge",
    "logistic": "regraft.heads.logistic:Logistic",
    "mlp": "regraft.heads.mlp:Mlp",
    "prototypes": "regraft.heads.prototypes:Prototypes",
}


def head(name: str, **options: Any) -> Head:
    """A head by name, with options of its class.

    Raises:
        HeadError: there is no such head, or it has no such option.
    """
    if name not in HEADS:
        raise HeadError(
            f"There is no head '{name}'; there are {', '.join(HEADS)}.{did_you_mean(name, HEADS)}"
        )
    module, _, kind = HEADS[name].partition(":")
    try:
        made: Head = getattr(import_module(module), kind)(**options)
    except TypeError as problem:
        raise HeadError(f"The head '{name}' does not take these options: {problem}.") from problem
    return made


def settled(name: str, settings: Mapping[str, Any]) -> Head:
    """The head called `name` with the `settings` of a fitted one: it chooses none of them again.

    Raises:
        HeadError: there is no such head, or the settings are not those of one.
    """
    wanted = type(head(name)).SETTLED  # type: ignore[attr-defined]
    lacking = [key for key in wanted if key not in settings]
    if lacking:
        raise HeadError(f"The settings of the head '{name}' lack '{lacking[0]}'.")
    return head(name, **{key: settings[key] for key in wanted})


def fit(
    name: str,
    rows: Rows,
    labels: NDArray[Any],
    n_classes: int,
    *,
    seed: int = 0,
    groups: NDArray[Any] | None = None,
    validation: tuple[Rows, NDArray[Any]] | None = None,
    balance: float = 0.0,
    **options: Any,
) -> FittedHead:
    """Fit the head called `name`; see `regraft.heads.fitted.fit_head`."""
    from regraft.heads.fitted import fit_head

    made = head(name, **options)
    return fit_head(
        name,
        made,
        rows,
        labels,
        n_classes,
        seed=seed,
        groups=groups,
        validation=validation,
        balance=balance,
    )


def restore(config: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> FittedHead:
    """The fitted head that `FittedHead.config` and `FittedHead.arrays` describe."""
    from regraft.heads.fitted import FittedHead

    return FittedHead.from_arrays(config, arrays)
