"""Where PaddleSlim can follow (no concat, split or shuffle) it groups as we do and picks the same filters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgekit.program.graph import Program, inputs, outputs
from edgekit.pruning import groups, scores
from edgekit.pruning.trace import Trace
from tests.program import nets as shared
from tests.pruning import nets

FOLLOWED = ("Chain", "Biases", "Residuals", "Squeezed", "Flattened", "Transposed", "Shared", "MobileV3")


@pytest.fixture(scope="module")
def pruner() -> Any:
    import logging

    from paddleslim.dygraph import FPGMFilterPruner

    logging.getLogger("paddleslim").setLevel(logging.ERROR)
    return FPGMFilterPruner


def originals(program: Program) -> dict[str, str]:
    """What an exported reshape makes of a convolution's bias -> the bias."""
    return {
        outputs(op, "Out")[0]: inputs(op, "X")[0]
        for op in program.ops
        if op.type == "reshape2" and inputs(op, "X")[0] in program.params
    }


def axes_of(group: groups.Group, found: Trace, names: dict[str, str]) -> set[tuple[str, int]]:
    """The parameters that lose something with this group, and along which axis."""
    return {
        (names.get(piece.parameter, piece.parameter), piece.axis)
        for piece in found.slices
        if np.isin(piece.atoms, group.atoms).any()
    }


@pytest.mark.parametrize("name", FOLLOWED)
def test_fpgm(name: str, pruner: Any) -> None:
    saved = nets.exported(name)
    program = nets.variant(saved, "plain")
    found, names = nets.traced(program), originals(saved)
    evidence = scores.Evidence(program, found, {}, {})
    net = shared.make(nets.SMALL[name])
    slim = pruner(net, [1, 3, nets.SIDE, nets.SIDE])
    parameters = {tensor.name for tensor in net.state_dict().values()}
    compared = 0
    for group in groups.groups(found):
        master = group.producers[0]
        for ratio in (0.25, 0.5) if len(group.atoms) else ():
            plan = slim.prune_var(master, 0, ratio, apply=None)
            if plan is None or not plan.masks:  # a linear layer, a transposed one, or the last convolution
                assert "linear" in master or "transpose" in master or group.consumers == ["linear_0.w_0"]
                continue
            compared += 1
            theirs = {(n, mask.dims) for n, masks in plan.masks.items() for mask in masks if n in parameters}
            assert theirs == axes_of(group, found, names)

            (mask,) = (mask.mask for mask in plan.masks[master] if mask.dims == 0)
            gone = set(np.flatnonzero(np.asarray(mask) == 0))
            assert len(gone) == round(ratio * group.size)
            filters = program.params[master].reshape(group.size, -1).astype(np.float64)
            order = np.argsort(scores.fpgm(filters), kind="stable")
            assert set(order[: len(gone)]) == gone
            if len(group.producers) == 1:  # PaddleSlim looks at the first alone
                ranking = scores.ranking("fpgm-weights", group, evidence)
                places = {int(atom): k for k, atom in enumerate(found.of(master, "out").atoms)}
                assert {places[atom] for atom in ranking[: len(gone)]} == gone
    assert compared >= 2


def test_distances_by_hand() -> None:
    """Three points on a line and one beside it: the middle one is nearest to all."""
    points = np.array([[0.0, 0.0], [1.0, 0.0], [3.0, 0.0], [1.0, 4.0]])
    by_hand = [1 + 3 + 17**0.5, 1 + 2 + 4, 3 + 2 + 20**0.5, 17**0.5 + 4 + 20**0.5]
    np.testing.assert_allclose(scores.fpgm(points), by_hand)
