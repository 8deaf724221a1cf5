"""The table of groups: who makes channels, who reads them, and why some may not go."""

from __future__ import annotations

from typing import Any

import pytest

from edgekit.errors import EdgekitError
from edgekit.program.graph import Program
from edgekit.pruning import explain, search
from edgekit.recipe import Prune
from tests.pruning import nets
from tests.pruning.small import Net


def network() -> Program:
    """A residual, a small layer, a depthwise layer, two outputs."""
    net = Net(3, 8, 8)
    stem = net.relu(net.conv("stem", "x", 3, 16, 3, pad=1))
    inner = net.relu(net.conv("inner", stem, 16, 3))
    total = net.add(stem, net.conv("back", inner, 3, 16))
    deep = net.conv("deep", total, 16, 16, 3, pad=1, groups=16)
    wide = net.relu(net.conv("wide", deep, 16, 32))
    return net.done(net.conv("head", wide, 32, 4), net.linear("fc", net.pooled(wide, 32), 32, 5))


def rows(**section: Any) -> dict[str, dict[str, Any]]:
    return {row["group"]: row for row in explain.rows(nets.traced(network()), Prune(**section))}


def test_makers_readers_and_reasons() -> None:
    found = rows(multiple=8, most=0.6)
    assert list(found) == ["stem", "inner", "wide", "head", "fc"]
    assert found["stem"] == {
        "group": "stem",
        "channels": 16,
        "most": 8,  # steps of four, as 16 channels are few: 12 and 8 may stay
        "made_by": ["stem", "back"],
        "read_by": ["inner", "wide"],
        "why": "",
    }
    assert found["inner"]["why"] == "too small for steps of 8"
    assert found["inner"]["most"] == 0 and found["inner"]["read_by"] == ["back"]
    assert found["wide"]["most"] == 16 and found["wide"]["read_by"] == ["head", "fc"]
    for name, count in (("head", 4), ("fc", 5)):
        assert found[name]["most"] == 0 and found[name]["channels"] == count
        assert found[name]["why"] == "an output of the network" and found[name]["read_by"] == []


def test_other_steps() -> None:
    found = rows(multiple=1, most=0.9)
    assert {name: row["most"] for name, row in found.items()} == {
        "stem": 14, "inner": 2, "wide": 28, "head": 0, "fc": 0,
    }  # fmt: skip
    assert found["inner"]["why"] == ""


@pytest.mark.parametrize("pattern", ["back", "b*", "stem"])
def test_a_layer_that_is_skipped_keeps_its_whole_group(pattern: str) -> None:
    found = rows(skip=[pattern, "head"])
    assert found["stem"]["most"] == 0 and found["stem"]["why"] == f"prune.skip: {pattern}"
    assert found["head"]["why"] == "prune.skip: head"
    assert found["wide"]["most"] > 0 and found["wide"]["why"] == ""


def test_the_table_says_what_pruning_does() -> None:
    """Its free rows are the groups that are pruned; a pattern that fits nothing is a mistake."""
    found = nets.traced(network())
    for section in (Prune(), Prune(skip=["wide"]), Prune(multiple=1), Prune(skip=["deep*", "i*"])):
        if any(pattern.startswith("deep") for pattern in section.skip):
            with pytest.raises(EdgekitError, match="'deep\\*' matches no group") as caught:
                search.prunable(found, section)
            assert caught.value.code == "EK105"
            continue
        table = {row["group"]: row["most"] for row in explain.rows(found, section) if row["most"]}
        assert table == {
            group.name: search.steps(group, section)[-1] * group.width
            for group in search.prunable(found, section)
        }


def test_part_of_a_group_must_stay() -> None:
    """Two of eight channels are an answer of the network: six may go, and what holds the others is told."""
    net = Net(3, 8, 8)
    a = net.relu(net.conv("a", "x", 3, 8))
    part = net.op("slice", {"Input": a}, {"axes": [1], "starts": [0], "ends": [2], "decrease_axis": []})
    found = nets.traced(net.done(part, net.conv("b", a, 8, 4)))
    (row, _) = explain.rows(found, Prune(multiple=1, most=0.9))
    assert row["channels"] == 8 and row["most"] == 6
    assert row["why"] == "an output of the network"


def test_lines_for_a_person() -> None:
    found = rows(skip=["wide"])
    told = explain.lines(list(found.values()), 7)
    assert len(told) == 7
    column = told[0].index("made by")
    for line, row in zip(told[1:-1], found.values(), strict=True):
        assert line[:column].split() == [row["group"], str(row["channels"]), str(row["most"])]
        assert line[column:].startswith(", ".join(row["made_by"]) + " / ")
    by_name = {line.split()[0]: line for line in told[1:-1]}
    assert by_name["stem"].split("  ")[-1] == "stem, back / inner, wide"
    assert by_name["head"].endswith("head / nobody / an output of the network")
    assert by_name["wide"].endswith("wide / head, fc / prune.skip: wide")
    assert told[-1] == "1 of 5 groups can be pruned; 7 dead channels go first."


def test_many_names_are_cut_short() -> None:
    net = Net(3, 4, 4)
    a = net.relu(net.conv("a", "x", 3, 8))
    program = net.done(*(net.conv(f"b{k}", a, 8, 2) for k in range(6)))
    told = explain.lines(explain.rows(nets.traced(program), Prune()), 0)
    assert told[1].endswith("a / b0, b1, b2, b3 and 2 more")
