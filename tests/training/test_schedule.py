"""The learning rate, the order of pictures, and what is held out."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgekit.training import schedule


def test_the_rate_rises_and_falls() -> None:
    at = [schedule.rate(done, 2.0, 0.1) for done in (0, 0.05, 0.1, 0.55, 1)]
    assert at == pytest.approx([0, 1, 2, 1, 0], abs=1e-9)
    assert schedule.rate(0, 2.0, 0) == 2.0
    assert schedule.rate(0.25, 1.0, 0) == pytest.approx((1 + math.cos(math.pi / 4)) / 2)


def test_every_epoch_takes_every_picture_in_an_order_of_its_own() -> None:
    epochs = [np.concatenate([schedule.rows(4 * e + k, 12, 3, seed=7) for k in range(4)]) for e in range(3)]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert not np.array_equal(schedule.rows(0, 12, 3, seed=7), schedule.rows(0, 12, 3, seed=8))


def test_batches_are_full_and_no_picture_is_left_out_for_ever() -> None:
    taken = [schedule.rows(step, 10, 4, seed=0) for step in range(40)]
    assert {len(rows) for rows in taken} == {4}
    assert set(np.concatenate(taken)) == set(range(10))
    assert sorted(schedule.rows(3, 5, 8, seed=0)) == list(range(5))  # fewer pictures than a batch


@pytest.mark.parametrize(("count", "held_out"), [(100, 10), (2, 1), (5, 1), (3, 1)])
def test_split(count: int, held_out: int) -> None:
    learn, hold = schedule.split(count, 0.1, seed=1)
    assert len(hold) == held_out and sorted(learn + hold) == list(range(count))
    assert schedule.split(count, 0.1, seed=1) == (learn, hold)
    assert count < 5 or schedule.split(100, 0.1, seed=2) != schedule.split(100, 0.1, seed=1)
