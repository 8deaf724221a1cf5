"""Which layers belong together, told by hand for every net; and why channels must stay."""

from __future__ import annotations

import pytest

from edgekit.pruning.groups import Group
from tests.pruning import nets

OUTPUT = "an output of the network"

# The layers of each group, with how many channels each atom has in every one of them where it is not one.
# A number k stands for conv2d_k; the last group of each net, which makes its answers, is left out.
EXPECTED: dict[str, list[tuple[int | str, ...]]] = {
    # 1 is depthwise, 3 has a multiplier of 2: both follow the layer before.
    "Chain": [(0,), (2,), (4,)],
    "Biases": [(0,), (1,)],
    # Everything that is added: the shortcut and the last layer of both blocks.
    "Residuals": [(0,), (1, 3, 5), (2,), (4,)],
    # The excitation (3) makes as many channels as it weighs.
    "Squeezed": [(0, 3), (2,), (4,)],
    # conv2d_9 follows the concat of 2 and 7. In a block of stride 1 the left half goes straight on, and the
    # right half's layers are the pair (10, with SE's 13) and 14.
    "Shuffled": [
        (0,), (3, 6), (5,), (7,), (2,), (9,), (10, 13), (12,), (14,), (15, 18), (17,), (19,), (20,),
    ],
    # A concat ties nothing: laterals 2 and 3, the CSP stage 4 to 7, outwards 8, downwards 10.
    "Neck": [(0,), (2,), (1,), (3,), (4,), (5,), (7,), (8,), (10,)],
    "Grouped": [(0, "x4"), (1, "x4"), (2,)],
    "Transposed": [(0,), ("conv2d_transpose_0",)],
    "Flattened": [(0,), (1,), ("linear_0",)],
    "Reshaped": [(0,), (1,), ("linear_0",)],
    "Reshaped, to the rest": [(0,), (1,), ("linear_0",)],
    "Sliced": [(0,), (1,), (2,)],
    "Averaged": [(0, 1), (2,)],
    "Tokens": [(0,), ("linear_0",)],
    "Attention": [(0,), ("linear_2",)],
    "Prelus": [(0,), (1,)],
    # The tower reads both levels with one weight.
    "Shared": [(0, 1), (2,)],
    "Gated": [(0, 1), (3,)],
    "Matmuls": [(0,), ("linear_0",)],
    "Consumers": [(0,), (1,), (3,)],
    "Crossed": [(0, 1)],
    "Stopped": [(0,), (7, 8, 9, 10, 11, 12)],
    "Siamese": [],
    "Nhwc": [(0, "linear_1"), ("linear_0",)],
    "Doubled": [(0,), (1,), (3,)],
    # Channels k and k + 6 meet in the maximum.
    "Folds": [(0, "x2"), (1,), ("linear_0",)],
    # Four groups tie 0 and 3 in fours; the shuffle of two groups, read by four, ties 1 in eights.
    "ShuffledGroups": [(0, 3, "x4"), (1, "x8")],
    "Sequence": [(0,)],
    "Vectors": [(0, "linear_0"), (1,)],
    "Places": [(0,), (1,)],
    "Twice": [],
    "MobileV3": [
        (0,), (1, 4), (3,), (5,), (6,), (8, 11), (9,), (12, 15), (14,), (16, 21), (17, 20), (19,), (22,),
        (23,),
    ],
}  # fmt: skip

EXPECTED["Shuffled, plain shapes"] = EXPECTED["Shuffled"]

# Groups that must stay, besides the outputs.
PROTECTED: dict[str, dict[str, set[str]]] = {
    "Tokens": {"conv2d_1": {"layer_norm normalises over them"}},
    "Attention": {
        "conv2d_1": {"layer_norm normalises over them"},
        "linear_0": {"matmul_v2 of two computed tensors"},
    },
    "Gated": {"conv2d_2": {"elementwise_mul spreads it over other channels"}},
    "Stopped": {
        "conv2d_1": {"cumsum is not followed"},
        "conv2d_2": {"softmax normalises over them"},
        "conv2d_3": {"group_norm is not followed"},
        "conv2d_4": {"pixel_shuffle is not followed"},
        "conv2d_5": {"reduce_mean runs over them"},
        "conv2d_6": {"stack is not followed"},
    },
    "Siamese": {
        "conv2d_0": {
            f"batch_norm reads batch_norm2d_0.{which} as a whole" for which in ("w_0", "b_0", "w_1", "w_2")
        },
        "conv2d_2": {"reduce_sum runs over them", "prelu with mode 'channel' is not followed"},
        "conv2d_3": {"sigmoid reads siamese_0.w_0 as a whole"},
        "conv2d_5": {"transpose2 reads siamese_0.w_1 as a whole"},
        "siamese_0.w_1": {
            "matmul_v2 of two computed tensors", "transpose2 reads siamese_0.w_1 as a whole",
        },
    },
    "Sequence": {"conv2d_1": {"conv2d with a computed filter"}},
}  # fmt: skip


def groups(name: str) -> dict[str, Group]:
    return nets.groups(nets.variant(nets.exported(name), "plain"))


def layer(weight: int | str) -> str:
    return f"conv2d_{weight}.w_0" if isinstance(weight, int) else f"{weight}.w_0"


@pytest.mark.parametrize("name", nets.SMALL)
def test_the_layers_of_a_group(name: str) -> None:
    wanted = []
    for members in EXPECTED[name]:
        width = next((int(m[1:]) for m in members if isinstance(m, str) and m[0] == "x"), 1)
        weights = {layer(m) for m in members if isinstance(m, int) or m[0] != "x"}
        wanted.append((frozenset(weights), width))
    found = groups(name).values()
    free = [group for group in found if len(group.atoms)]
    assert [(frozenset(group.producers), group.width) for group in free] == wanted
    for group in free:
        assert not group.reasons and len(group.atoms) * group.width == group.size


@pytest.mark.parametrize("name", PROTECTED)
def test_why_channels_must_stay(name: str) -> None:
    found = groups(name)
    for group, reasons in PROTECTED[name].items():
        assert set(found[group].reasons) == reasons and not len(found[group].atoms)


@pytest.mark.parametrize("name", nets.SMALL)
def test_outputs_stay(name: str) -> None:
    found = groups(name)
    last = [group for group in found.values() if OUTPUT in group.reasons]
    if name == "Sequence":  # a softmax stands before the output
        last = [found["linear_0"]]
        assert last[0].reasons == ["softmax normalises over them"]
    assert last and not any(len(group.atoms) for group in last)


@pytest.mark.parametrize(
    ("name", "group", "consumers"),
    [
        ("Chain", "conv2d_2", [4]),
        ("Residuals", "conv2d_1", [4, "linear_0"]),
        ("Squeezed", "conv2d_0", [2, 4]),
        ("Neck", "conv2d_3", [4, 5, 12]),
        ("Consumers", "conv2d_0", [1, 3, 2]),
        ("Shared", "conv2d_0", [1, 2]),
        ("Flattened", "conv2d_1", ["linear_0"]),
        # What was left of the split is shuffled under the answers of 14, and half of that under those of 19.
        ("Shuffled", "conv2d_9", [20, 15, 10]),
        ("Shuffled", "conv2d_14", [20, 15]),
    ],
)
def test_who_reads_a_group(name: str, group: str, consumers: list[int | str]) -> None:
    assert set(groups(name)[group].consumers) == {layer(consumer) for consumer in consumers}


def test_an_exported_bias_of_a_convolution_protects_its_layer() -> None:
    """Paddle saves it as a reshape that runs for every picture; `edit.fold_batch_norm` makes it plain."""
    found = nets.groups(nets.exported("Biases"))
    assert found["conv2d_0"].reasons == ["elementwise_add with reshape2_0.tmp_0, whose channels are fixed"]
    assert not len(found["conv2d_0"].atoms)
