"""The card of a bundle, in words."""

from __future__ import annotations

import json

from regraft.bundle import CONFIG
from regraft.card import card, code
from tests.promises.hostile import TRAINED


def test_the_card_says_what_was_trained() -> None:
    text = (TRAINED / "tuned" / "README.md").read_text()
    for told in (
        "trained further; licence of the weights before: Apache-2.0",
        "stages from `blocks.6.0` up (`blocks.6.0`, `bn2`)",
        "12,928 of 3,371,008 parameters, by the plan `finetune`",
        "Weights before: blake2b `0f614576",
        "base_model_relation: finetune",
    ):
        assert told in text
    config = json.loads((TRAINED / "tuned" / CONFIG).read_text())
    metrics = json.loads((TRAINED / "tuned" / "metrics.json").read_text())
    assert card(config, metrics) == text
    del config["plan"]
    assert "parameters, before this model was made" in card(config, metrics)


def test_names_stand_letter_for_letter_whatever_is_in_them() -> None:
    assert code("dots") == "`dots`"
    assert code("a`b") == "`` a`b ``"
    assert code("``") == "``` `` ```"
    assert code("[x](javascript:1)\n# h") == "`[x](javascript:1)\\n# h`"
    assert code("\x1b[2J\u202e") == "`\\x1b[2J\\u202e`"
