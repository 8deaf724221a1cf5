"""Losses against their formulas in numpy, and the logits behind an output."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import paddle
import pytest

from edgekit.errors import EdgekitError
from edgekit.program.graph import inputs, make_op
from edgekit.training import losses, trainable
from edgekit.training.losses import Answer, Moments
from tests.program import nets
from tests.training import worlds
from tests.training.worlds import Floats

RNG = np.random.default_rng(1)


def value(
    name: str, student: Floats, teacher: Floats, confidence: Floats | None = None, **more: object
) -> float:
    """What the named loss is for these arrays."""
    main, feed = paddle.static.Program(), {"s": student, "t": teacher}
    with trainable.static_mode(1), paddle.static.program_guard(main):
        s, t = (paddle.static.data(n, feed[n].shape) for n in ("s", "t"))
        if confidence is not None:
            feed["c"] = confidence
            more["confidence"] = paddle.static.data("c", confidence.shape)
        moments = Moments(float(teacher.mean()), float(teacher.var()))
        loss = losses.LOSSES[name](Answer(s, t, moments, **more))  # type: ignore[arg-type]
        (found,) = paddle.static.Executor(paddle.CPUPlace()).run(main, feed=feed, fetch_list=[loss])
    return float(np.ravel(found)[0])


def some(*shape: int) -> Floats:
    return RNG.normal(size=shape).astype(np.float32)


def sigmoid(x: Floats) -> Floats:
    return 1 / (1 + np.exp(-x))


def softmax(x: Floats) -> Floats:
    e = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True), np.float32)


def test_mse_is_relative_to_the_teachers_variance() -> None:
    s, t = some(4, 3, 5), 7 * some(4, 3, 5)
    assert value("mse", s, t) == pytest.approx(np.square(s - t).mean() / t.var(), rel=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_kl(temperature: float) -> None:
    s, t = some(6, 9), 3 * some(6, 9)
    p, q = softmax(t / temperature), softmax(s / temperature)
    expected = temperature**2 * (p * np.log(p / q)).sum(-1).mean()
    assert value("kl", s, t, temperature=temperature) == pytest.approx(expected, rel=1e-4)


def test_bce_from_logits_and_from_probabilities() -> None:
    logits, p = some(4, 8, 3), sigmoid(some(4, 8, 3) - 2).astype(np.float32)
    q = sigmoid(logits)
    expected = (p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))).mean() / p.mean()
    assert value("bce", logits, p, ending="sigmoid") == pytest.approx(expected, rel=1e-4)
    assert value("bce", q, p) == pytest.approx(expected, rel=1e-4)


def test_bce_stays_finite_at_zero_and_one() -> None:
    ends = np.asarray([[0, 0, 1, 1]], np.float32)
    assert value("bce", ends, ends) == pytest.approx(0, abs=1e-6)
    assert 1 < value("bce", 1 - ends, ends) < 100


def test_boxes_count_by_the_square_of_the_teachers_confidence() -> None:
    s, t, c = some(2, 5, 4), some(2, 5, 4), sigmoid(some(2, 5))
    expected = (c**2 * np.abs(s - t).mean(-1)).sum() / (c**2).sum()
    assert value("boxes", s, t, c) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", list(losses.LOSSES))
def test_equal_answers_cost_nothing(name: str) -> None:
    same = sigmoid(some(3, 5, 4))
    assert value(name, same, same, same.max(-1)) == pytest.approx(0, abs=1e-6)


def test_the_logits_are_found_behind_a_softmax_and_a_multiplication_by_one(tmp_path: Path) -> None:
    program = worlds.program(worlds.Branches, tmp_path)
    logits = nets.output_of(program, "elementwise_add", -1)
    assert inputs(nets.first(program, "softmax"), "X") == [logits]
    assert losses.ending(program, program.fetches[0]) == (logits, "softmax")
    # and behind a sigmoid, with a scale by 1 after it
    nets.first(program, "softmax").type = "sigmoid"
    ended = program.copy()
    ended.add_var("end", [-1, 20])
    scale = make_op("scale", {"X": [program.fetches[0]]}, {"Out": ["end"]}, {"scale": 1.0, "bias": 0.0})
    ended.replace_ops([*ended.ops, scale])
    assert losses.ending(ended, "end") == (logits, "sigmoid")
    next(a for a in ended.ops[-1].attrs if a.name == "scale").f = 2.0
    assert losses.ending(ended, "end") == ("end", "")
    assert losses.ending(program, logits) == (logits, "")


def test_wrong_names_are_refused(tmp_path: Path) -> None:
    program = worlds.program(worlds.Branches, tmp_path)
    output = program.fetches[0]
    for wanted, word in (
        ({output: "l1"}, "no loss 'l1'"),
        ({"scores": "mse"}, "no output 'scores'"),
        ({output: "boxes"}, "needs the loss bce"),
    ):
        with pytest.raises(EdgekitError, match=word) as error:
            losses.check(wanted, program)
        assert error.value.code == "EK103"
