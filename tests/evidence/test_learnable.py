import numpy as np

from regraft.evidence import learnable
from regraft.heads.contract import clusters


def test_labels_that_go_with_the_rows_are_told_from_shuffled_ones():
    rows, labels = clusters(60, 20, 3, apart=2.0)
    told = learnable({"end": rows}, labels, 3)
    assert told.learnable
    assert told.p_value == 1 / 300
    assert told.accuracy > 0.6 > told.chance
    mixed = np.random.default_rng(0).permutation(labels)
    other = learnable({"end": rows}, mixed, 3)
    assert not other.learnable
    assert other.enough
    assert other.p_value > 0.02
    assert "Nothing can be learned here" in other.why
