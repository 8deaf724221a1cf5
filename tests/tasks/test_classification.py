import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgekit.tasks import classification as c

REFERENCE = np.array([[0.7, 0.2, 0.1], [0.4, 0.35, 0.25], [0.1, 0.1, 0.8]], np.float32)
GOT = np.array([[0.6, 0.3, 0.1], [0.3, 0.4, 0.3], [0.1, 0.2, 0.7]], np.float32)


def test_topk_is_sorted_and_the_lower_class_wins_a_tie():
    classes, values = c.topk(np.array([[0.25, 0.5, 0.25]]), 2)
    assert classes.tolist() == [[1, 0]] and values.tolist() == [[0.5, 0.25]]
    assert c.topk(GOT, 9)[0].shape == (3, 3)


def test_agreement_by_hand():
    assert c.top1_agreement(REFERENCE, GOT) == pytest.approx(2 / 3)
    assert c.top1_agreement_sure(REFERENCE, GOT) == (1.0, 2)
    assert c.top5_agreement(REFERENCE, GOT) == 1.0


def test_top5_agreement_counts_the_references_best_class_only():
    reference, got = np.eye(7)[[0, 0]], np.stack([np.arange(7, 0, -1), np.arange(7)])
    assert c.top5_agreement(reference, got) == 0.5


def test_kl_by_hand():
    p, q = np.array([[0.5, 0.5]]), np.array([[0.9, 0.1]])
    expected = 0.5 * np.log(0.5 / 0.9) + 0.5 * np.log(0.5 / 0.1)
    assert c.kl_divergence(p, q) == pytest.approx(expected)
    certain = np.array([[1.0, 0.0]])
    assert c.kl_divergence(certain, certain) == 0
    assert np.isfinite(c.kl_divergence(certain, certain[:, ::-1]))


def test_accuracy_by_hand():
    assert c.topk_accuracy(GOT, np.array([0, 0, 2]), 1) == pytest.approx(2 / 3)
    assert c.topk_accuracy(GOT, np.array([0, 0, 2]), 2) == 1.0


def test_no_pictures_is_not_measurable():
    none = np.zeros((0, 3), np.float32)
    assert c.top1_agreement(none, none) is None
    assert c.top5_agreement(none, none) is None
    assert c.kl_divergence(none, none) is None
    assert c.top1_agreement_sure(none, none) == (None, 0)
    hesitant = np.full((2, 3), 1 / 3)
    assert c.top1_agreement_sure(hesitant, hesitant) == (None, 0)


rows = hnp.arrays(np.float32, (4, 6), elements=st.floats(0, 1, width=32)).map(
    lambda a: (a + 1e-3) / (a + 1e-3).sum(1, keepdims=True)
)


@given(rows, rows)
def test_bounds(p, q):
    assert c.top1_agreement(p, p) == c.top5_agreement(p, p) == 1
    assert c.kl_divergence(p, p) == pytest.approx(0, abs=1e-12)
    assert c.kl_divergence(p, q) >= 0
    assert c.top1_agreement(p, q) <= c.top5_agreement(p, q)
