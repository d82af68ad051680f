import itertools

import numpy as np
import pytest

from chainrule.lab.claims import minibatch_redundancy as lab


def test_the_foretold_noise_is_that_of_all_batches_there_are(monkeypatch):
    gradients = np.random.default_rng(3).normal(1.0, 2.0, (7, 4))
    sizes = np.array([1, 2, 4, 7])
    monkeypatch.setattr(lab, "SIZES", sizes)
    full = gradients.mean(0)
    for size, foretold in zip(sizes, lab.expected_noise(gradients), strict=True):
        batches = [gradients[list(rows)].mean(0) for rows in itertools.combinations(range(7), size)]
        square = np.mean([np.sum((batch - full) ** 2) for batch in batches])
        assert foretold == pytest.approx(np.sqrt(square) / np.linalg.norm(full), abs=1e-12)
