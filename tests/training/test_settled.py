"""Only what lies between a change and the outputs is trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgekit.program.graph import Program, inputs
from edgekit.training import settled, trainable
from tests.program import nets
from tests.training import worlds

PICTURES = [feed["x"][0] for feed in nets.pictures(2, 3)]


def filters(program: Program) -> dict[str, str]:
    """Weights of Branches by what they are."""
    shapes = {
        (16, 3, 3, 3): "stem", (16, 1, 5, 5): "depthwise", (16, 8, 3, 3): "grouped",
        (32 * (nets.SIDE // 4) ** 2, 20): "head",
    }  # fmt: skip
    return {name: shapes.get(value.shape, "other") for name, value in program.params.items()}


def changed(program: Program, what: str) -> Program:
    made, names = program.copy(), filters(program)
    for name, value in program.params.items():
        if names[name] == what:
            made.params[name] = value * np.float32(1.1)
    return made


def trained(program: Program, what: str) -> list[str]:
    return settled.unsettled(changed(program, what), program, PICTURES)


def test_a_late_change_leaves_early_layers_alone(tmp_path: Path) -> None:
    program = worlds.program(worlds.Branches, tmp_path)
    names = filters(program)
    got = [names[name] for name in trained(program, "grouped") if program.params[name].ndim > 1]
    assert got == ["grouped", "head"]


def test_a_change_in_the_first_layer_reaches_all(tmp_path: Path) -> None:
    program = worlds.program(worlds.Branches, tmp_path)
    assert trained(program, "stem") == trainable.weights(program)


def test_behind_a_depthwise_change_all_but_the_stem_is_trained(tmp_path: Path) -> None:
    program = worlds.program(worlds.Branches, tmp_path)
    names = filters(program)
    (stem,) = [name for name, what in names.items() if what == "stem"]
    (add,) = [op for op in program.block.ops if op.type == "elementwise_add"][:1]
    left = set(trainable.weights(program)) - set(trained(program, "depthwise"))
    assert left == {stem, inputs(add, "Y")[0]}


def test_where_nothing_differs_all_is_trained(tmp_path: Path) -> None:
    program = worlds.program(worlds.Branches, tmp_path)
    assert settled.unsettled(program, program, PICTURES) == trainable.weights(program)
