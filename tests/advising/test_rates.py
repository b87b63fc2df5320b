"""What was measured of this machine is believed for a while."""

from __future__ import annotations

import os
import time

from regraft import files
from regraft.advising.rates import Above, Rates, known, record
from regraft.backbones.info import Tap
from regraft.pipeline import pipeline
from tests.nets import small

RATES = Rates(0.01, 1.0, 2.0, 10**9, {2: Above(0.001, 0.004, 10**5)}, 2)


def test_kept_rates_are_taken_while_they_are_fresh() -> None:
    net = small()
    pipe = pipeline(net, [Tap(len(net) - 1)], engine="reference")
    assert known(pipe, 2, [2]) is None
    path = record(pipe, 2, [2])
    files.write_whole(path, files.sealed(RATES.json()))
    assert known(pipe, 2, [2], 60.0) == known(pipe, 2, [2]) == RATES
    assert known(pipe, 2, [1, 2]) is None, "those of other cuts"
    now = time.time()
    for moved in (-120.0, 120.0):  # two minutes old; from a clock that was ahead
        os.utime(path, (now + moved, now + moved))
        assert known(pipe, 2, [2], 60.0) is None
        assert known(pipe, 2, [2]) == RATES, "a fit that follows advice takes them as they are"
    path.write_text("{}")
    assert known(pipe, 2, [2]) is None
