"""A repair that makes the error larger is undone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paddle
import pytest

from edgekit.console import Progress
from edgekit.program import edit, graph
from edgekit.quantization import rule
from edgekit.recipe import Quantize
from edgekit.stages import quantize
from tests.program import nets
from tests.quantization.test_repair import PICTURES as MORE
from tests.quantization.test_repair import Steep

PICTURES = [feed["x"][0] for feed in nets.pictures(8, seed=4)]


class Scripted:
    """A judge that says what it was told to."""

    def __init__(self, errors: list[float]) -> None:
        self.errors: Iterator[float] = iter(errors)

    def error(self, program: Any, *, optimise: bool) -> float:
        return next(self.errors)


# The last two are of rounded weights, with biases and without.
@pytest.mark.parametrize("told", ([1.0, 0.5, 0.4, 0.45], [1.0, 2.0, 0.6, 0.4], [1.0, 0.5, 0.6, 0.7]))
def test_what_is_worse_is_undone(told: list[float], tmp_path: Path) -> None:
    errors = [*told[:2], min(told[2:])]
    paddle.disable_static()
    program = edit.lite_ready(edit.fold_batch_norm(graph.load(nets.export(nets.make(nets.Plain), tmp_path))))
    layers, progress = rule.layers(program, []), Progress()
    found = quantize.calibrate(program, layers, PICTURES, progress)
    section = Quantize(repair=["thresholds", "gptq"])
    judge: Any = Scripted(told)
    info: Any = None
    agreement: Any = None
    steps = list(
        quantize.repaired(info, program, layers, found, section, 8, PICTURES, judge, agreement, progress)
    )
    assert [(how, error) for how, _, error, _ in steps] == list(
        zip(["kl", "thresholds", "gptq"], errors, strict=True)
    )
    (_, plain, _, _), (_, better, _, _), (_, rounded, _, _) = steps
    assert plain is not None
    assert (better is None) == (errors[1] > errors[0])
    if rounded is None:
        assert errors[2] > min(errors[:2])
        return
    # What comes after starts from what was kept.
    kept = plain if better is None else better
    assert rounded.table.activations == kept.table.activations
    if better is not None:
        assert better.table.activations != plain.table.activations


# Of rounded weights with hard swishes from levels, twice, and, where these are worse, without levels, twice.
@pytest.mark.parametrize("told", ([0.3, 0.2], [0.7, 0.6, 0.4, 0.3], [0.7, 0.6, 0.9, 0.8]))
def test_weights_are_rounded_again_without_levels_before_that_is_undone(
    told: list[float], tmp_path: Path
) -> None:
    paddle.disable_static()
    net = nets.export(nets.make(Steep), tmp_path)
    program = edit.lite_ready(edit.fold_batch_norm(graph.load(net)))
    layers, progress = rule.layers(program, []), Progress()
    found = quantize.calibrate(program, layers, MORE, progress)
    section = Quantize(repair=["equalise", "gptq"])
    judge: Any = Scripted([1.0, 0.5, *told])
    nothing: Any = None
    _, (_, evened, _, _), (_, rounded, error, _) = quantize.repaired(
        nothing, program, layers, found, section, 24, MORE, judge, nothing, progress
    )
    assert evened is not None and evened.table.products
    assert error == min(told[-2:])
    if min(told[-2:]) > 0.5:
        assert rounded is None
        return
    assert rounded is not None
    assert bool(rounded.table.products) == (len(told) == 2)
    assert next(judge.errors, None) is None  # nothing is judged that nobody asked for
