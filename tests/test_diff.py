"""Two bundles side by side: what differs is told with its interval, and drawn, the most different first."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from edgekit.apps import drawing
from edgekit.apps.bundles import open_bundles
from edgekit.comparing import pictures
from edgekit.comparing.pictures import Ran
from edgekit.console import Progress
from edgekit.program import graph
from edgekit.significance import Ratio
from edgekit.tasks import outcomes
from edgekit.tasks.detection import Detections
from edgekit.tasks.outcomes import Kept
from tests.apps import small
from tests.program import nets
from tests.rehash import rehash

Diff = Callable[..., Any]


@pytest.fixture
def two(world: Any, tmp_path: Path) -> tuple[Path, Path]:
    for name in ("old", "new"):
        shutil.copytree(world.bundle, tmp_path / name)
    return tmp_path / "old", tmp_path / "new"


@pytest.fixture
def diff(inside: Any, tmp_path: Path) -> Diff:
    def run(a: Path, b: Path, *options: object) -> Any:
        done = inside("diff", a, b, "--json", tmp_path / "diff.json", *options)
        assert done.code == 0, done.err
        return json.loads((tmp_path / "diff.json").read_text()), done.out

    return run


def change_report(bundle: Path, change: Callable[[dict[str, Any]], None]) -> None:
    report = json.loads((bundle / "report.json").read_text())
    change(report)
    (bundle / "report.json").write_text(json.dumps(report))
    rehash(bundle)


def keep(bundle: Path, **figures: Ratio) -> None:
    """The bundle as if its int8 ONNX had been measured on 200 pictures, with these contributions."""
    info = open_bundles([bundle]).bundles[0].info
    reference: list[Any] = [np.zeros(16, np.float32)] * 200
    kept = Kept([f"{k}.png" for k in range(200)], reference, {"int8.onnx": dict(figures)})
    outcomes.save(info, kept, bundle)
    values = {name: float(each.part.sum() / each.whole.sum()) for name, each in figures.items()}
    change_report(bundle, lambda report: report.update(metrics={"int8.onnx": values}, intervals={}))


def right(count: int) -> Ratio:
    return Ratio((np.arange(200) < count).astype(float), np.ones(200))


def by_name(rows: list[dict[str, Any]], *keys: str) -> dict[Any, dict[str, Any]]:
    return {tuple(row[key] for key in keys): row for row in rows}


def test_a_copy_is_the_same(diff: Diff, two: tuple[Path, Path], world: Any, tmp_path: Path) -> None:
    found, out = diff(*two, "--out", tmp_path / "drawn", "--data", world.pictures)
    assert found["same_pictures"] and found["pictures"] == []
    verdicts = {row["verdict"] for row in found["figures"]}
    assert verdicts <= {"identical", "equal", "not measured"} and "identical" in verdicts
    report = json.loads((two[0] / "report.json").read_text())
    costs = by_name(found["costs"], "what")
    for role in ("fp32.onnx", "int8.onnx", "fp32.nb", "int8.nb"):
        size = (two[0] / f"tiny.{role}").stat().st_size
        assert (costs[role,]["a"], costs[role,]["b"]) == (size, size)
    assert costs["MACs",]["a"] == report["model"]["macs"]
    assert len(found["gates"]) == len(report["gates"]) and all(row["b"]["passed"] for row in found["gates"])
    assert "On none of the pictures do they answer differently" in out
    assert "the same" in out and "none of" in out


def test_worse_is_only_what_is_beyond_the_interval(diff: Diff, two: tuple[Path, Path]) -> None:
    old, new = two
    distance = Ratio(np.linspace(0.1, 0.3, 200), np.ones(200))
    keep(old, top1_agreement=right(180), top5_agreement=right(180), kl_divergence=distance)
    doubled = Ratio(2 * distance.part, distance.whole)
    keep(new, top1_agreement=right(168), top5_agreement=right(177), kl_divergence=doubled)
    found, out = diff(old, new)
    rows = by_name(found["figures"], "target", "figure")
    row = rows["int8.onnx", "top1_agreement"]
    assert (row["a"], row["b"], row["verdict"]) == (0.9, 0.84, "worse")
    assert row["difference"]["value"] == pytest.approx(-0.06)
    assert row["difference"]["p"] == pytest.approx(2 / 2**12)  # twelve pictures, all the same way
    assert rows["int8.onnx", "top5_agreement"]["verdict"] == "within"  # three: p = 2 / 2 ** 3
    assert rows["int8.onnx", "kl_divergence"]["verdict"] == "worse"  # less would be better
    assert "-0.0600 [" in out and "n = 200" in out and "within the interval" in out
    found, _ = diff(new, old)
    verdicts = {row["figure"]: row["verdict"] for row in found["figures"]}
    assert verdicts == {"top1_agreement": "better", "top5_agreement": "within", "kl_divergence": "better"}


def test_without_contributions_the_recorded_intervals_serve(diff: Diff, two: tuple[Path, Path]) -> None:
    old, new = two
    keep(old, top1_agreement=right(180), top5_agreement=right(180))
    keep(new, top1_agreement=right(168), top5_agreement=right(168))
    interval = {"level": 0.95, "n": 200, "method": "Wilson"}
    change_report(
        old,
        lambda r: r.update(
            intervals={"int8.onnx": {"top1_agreement": {"low": 0.85, "high": 0.93, **interval}}}
        ),
    )
    change_report(
        new,
        lambda r: r.update(
            intervals={"int8.onnx": {"top1_agreement": {"low": 0.78, "high": 0.88, **interval}}}
        ),
    )
    (new / "outcomes.npz").unlink()
    manifest = json.loads((new / "manifest.json").read_text())
    manifest["files"] = [file for file in manifest["files"] if file["name"] != "outcomes.npz"]
    (new / "manifest.json").write_text(json.dumps(manifest))
    found, out = diff(old, new)
    assert not found["same_pictures"] and "note: B has no outcomes.npz" in out
    rows = by_name(found["figures"], "figure")
    change = rows["top1_agreement",]["difference"]
    assert change["method"] == "Newcombe"
    # Newcombe's square-and-add, by hand.
    assert change["low"] == pytest.approx(-0.06 - np.hypot(0.84 - 0.78, 0.93 - 0.9))
    assert change["high"] == pytest.approx(-0.06 + np.hypot(0.88 - 0.84, 0.9 - 0.85))
    assert rows["top1_agreement",]["verdict"] == "within"
    assert rows["top5_agreement",]["verdict"] == "no interval"


def test_the_float_original_of_a_pruned_bundle(diff: Diff, two: tuple[Path, Path]) -> None:
    """What is called fp32.paddle is the original in one and its pruned successor in the other."""
    old, new = two
    change_report(old, lambda r: r.update(metrics={"fp32.paddle": {"n": 6, "top1": 0.75}}, intervals={}))
    pruned = {"original": {"n": 6, "top1": 0.75}, "fp32.paddle": {"n": 6, "top1": 0.5}}
    change_report(new, lambda r: r.update(metrics=pruned, intervals={}))
    found, _ = diff(old, new)
    rows = by_name(found["figures"], "target", "figure")
    assert set(rows) == {("float", "top1"), ("pruned", "top1")}
    assert (rows["float", "top1"]["a"], rows["float", "top1"]["b"]) == (0.75, 0.75)
    row = rows["pruned", "top1"]
    assert (row["a"], row["b"], row["verdict"]) == (None, 0.5, "only in B")


def test_gates_and_layers(diff: Diff, two: tuple[Path, Path]) -> None:
    old, new = two
    named: list[str] = []

    def change(report: dict[str, Any]) -> None:
        first, second = report["analysis"]["layers"][:2]
        first["error"] += 0.25
        first["sqnr_output"] = 3.5
        second["error"] += 0.5
        named.extend((first["name"], second["name"]))
        report["gates"][0] |= {"measured": 0.1, "passed": False}
        report["verdict"] = "failed"

    change_report(new, change)
    found, out = diff(old, new)  # and yet 0: to judge is check's
    assert [row["layer"] for row in found["layers"][:2]] == named[::-1]
    first = found["layers"][1]
    assert first["b"]["error"] - first["a"]["error"] == pytest.approx(0.25)
    assert first["b"]["sqnr_db"] == 3.5 != first["a"]["sqnr_db"]
    assert f"layers (2 of {len(found['layers'])} differ" in out
    assert not found["gates"][0]["b"]["passed"] and found["gates"][0]["a"]["passed"]
    assert "0.1, does not hold" in out


def test_what_cannot_be_compared(inside: Any, two: tuple[Path, Path], diff: Diff, tmp_path: Path) -> None:
    old, new = two
    done = inside("diff", old, tmp_path / "none")
    assert done.code == 4 and "error EK401" in done.error()
    assert inside("diff", old, new, "--data", tmp_path).code == 2
    assert inside("diff", old, new, "--model", "int8").code == 2
    done = inside("diff", old, new, "--out", new)
    assert done.code == 2 and "error EK107" in done.error() and (new / "manifest.json").is_file()
    done = inside("diff", old, new, "--out", tmp_path)
    assert done.code == 2 and (new / "manifest.json").is_file()
    done = inside("diff", old, new, "--out", tmp_path / "drawn")
    assert done.code == 2 and "--data" in done.error()  # the pictures were the user's own

    rehash(new, lambda manifest: manifest.update(labels=[f"other {k}" for k in range(16)]))
    assert "The labels differ." in diff(old, new)[0]["notes"]
    done = inside("diff", old, new, "--out", tmp_path / "drawn")
    assert done.code == 4 and "error EK412" in done.error() and "labels" in done.error()

    done = inside("diff", old, small.bundle(tmp_path / "things", "things"))
    assert done.code == 4 and "error EK412" in done.error()
    assert "is for classification" in done.error() and "for detection" in done.error()

    parts = [small.bundle(tmp_path / name, name) for name in ("det", "rec")]
    assert inside("bundle", "pack", "--name", "whole", *parts, "--out", tmp_path / "whole").code == 0
    done = inside("diff", tmp_path / "whole", old)
    assert done.code == 2 and "error EK107" in done.error() and "combined" in done.error()

    (new / "tiny.int8.onnx").write_bytes(b"")
    done = inside("diff", old, new)
    assert done.code == 4 and "error EK402" in done.error()


def probabilities(file: Path, picture: Path) -> Any:
    """The tiny network's answer, prepared by hand."""
    pixels = cv2.resize(cv2.imread(str(picture)), (32, 32), interpolation=cv2.INTER_LINEAR)[:, :, ::-1]
    tensor = ((pixels / np.float32(255) - 0.5) / 0.25).transpose(2, 0, 1)[None].astype(np.float32)
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")  # or it saturates without VNNI
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: tensor})[0][0].astype(np.float64)


def test_pictures_are_those_with_the_largest_distance(
    inside: Any, diff: Diff, two: tuple[Path, Path], world: Any, tmp_path: Path
) -> None:
    old, new = two
    model = onnx.load(str(new / "tiny.fp32.onnx"))
    constants = [node.attribute[0].t for node in model.graph.node if node.op_type == "Constant"]
    weights = next(each for each in constants if len(each.dims) == 4)
    weights.CopyFrom(numpy_helper.from_array(1.5 * numpy_helper.to_array(weights), weights.name))
    onnx.save(model, str(new / "tiny.fp32.onnx"))
    rehash(new)
    drawn = tmp_path / "drawn"
    options = ("--out", drawn, "--data", world.pictures, "--model", "fp32")
    found, out = diff(old, new, *options)
    assert found["ran"]["a"] == found["ran"]["b"] == "fp32.onnx"

    wanted = {}
    for row in found["pictures"]:
        picture = world.pictures / "evaluation" / row["picture"]
        p, q = (probabilities(bundle / "tiny.fp32.onnx", picture) for bundle in two)
        wanted[row["picture"]] = max((p * np.log(p / q)).sum(), (q * np.log(q / p)).sum())
        assert row["a"]["top"][0]["class"] == p.argmax() and row["b"]["top"][0]["class"] == q.argmax()
        assert row["value"] == pytest.approx(wanted[row["picture"]], rel=1e-3, abs=1e-6)
    assert len(wanted) == 6 and list(wanted) == sorted(wanted, key=lambda name: -wanted[name])
    assert min(wanted.values()) > 0

    files = sorted(path.name for path in drawn.glob("*.png"))
    assert files == [f"{k}-{Path(row['picture']).stem}.png" for k, row in enumerate(found["pictures"], 1)]
    image = cv2.imread(found["pictures"][0]["file"])
    assert image.shape[1] >= 2 * drawing.SHORTEST, "side by side"
    assert files[0] in out

    diff(old, new, *options)  # its own folder is replaced
    (drawn / "mine.txt").write_text("mine")
    done = inside("diff", old, new, *options)
    assert done.code == 2 and "error EK106" in done.error() and (drawn / "mine.txt").is_file()


def test_what_only_one_is_sure_of_counts_whichever_it_is(tmp_path: Path) -> None:
    bundle = open_bundles([small.bundle(tmp_path / "things", "things")]).bundles[0]
    box = np.asarray([(10, 20, 60, 40)], np.float32)
    sure = Detections(box, np.asarray([0.9], np.float32), np.asarray([0]))
    nothing = sure.pick([])
    images = [[nothing, sure, sure], [sure, sure, nothing]]
    a, b = (Ran(name, bundle, "fp32", answers) for name, answers in zip("AB", images, strict=True))
    assert pictures.most_different(a, b) == [(0, 0.0), (2, 0.0)]

    page = small.page(100, 100)
    drawn = pictures._drawn(page, "0.png", [(a, nothing), (b, sure)], True, Progress())
    red = (drawn == drawing.DIFFERS[::-1]).all(axis=2)
    half = drawn.shape[1] // 2
    assert not red[:, :half].any() and red[:, half:].any()
    drawn = pictures._drawn(page, "1.png", [(a, sure), (b, sure)], True, Progress())
    green = (drawn == drawing.PLAIN[::-1]).all(axis=2)
    assert green[:, :half].any() and green[:, half:].any()
    assert not (drawn == drawing.DIFFERS[::-1]).all(axis=2).any()
    line = pictures._drawn(small.page(48, 320), "2.png", [(a, nothing), (b, nothing)], True, Progress())
    assert line.shape[1] < 2 * drawing.SHORTEST, "lines are drawn one below the other"


def test_two_models_by_hand(diff: Diff, inside: Any, tmp_path: Path) -> None:
    """One layer's weights are off by a hundredth of each, one layer has another shape."""
    folder = nets.export(nets.make(nets.Mixed), tmp_path / "a")
    program = graph.load(folder)
    (tmp_path / "b").mkdir()
    name = next(n for n in program.params if n.endswith(".w_0") and program.params[n].ndim == 4)
    made = program.copy()
    made.set_param(name, made.params[name] * np.float32(1.01))
    graph.write(made, tmp_path / "b")
    found, out = diff(folder, tmp_path / "b")
    first, *others = found["layers"]
    assert first["layer"] == name.removesuffix(".w_0") and "1 of" in out
    assert first["sqnr_db"] == pytest.approx(40, abs=1e-2)  # 20 log10(100)
    assert all(row["sqnr_db"] is None and row["a"] == row["b"] for row in others)
    assert {row["what"]: row["a"] == row["b"] for row in found["costs"]}["MACs"]
    other = nets.export(nets.make(nets.Uneven), tmp_path / "c")
    found, _ = diff(folder, other)
    shapes = {row["layer"]: (row["a"], row["b"]) for row in found["layers"]}
    assert any(None in pair for pair in shapes.values())
    assert all(row["sqnr_db"] is None for row in found["layers"] if None in (row["a"], row["b"]))
    assert inside("diff", folder, other, "--out", tmp_path / "d").code == 2
    assert inside("diff", folder, tmp_path / "nothing").code == 4
