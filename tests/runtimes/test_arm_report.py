"""What emulated ARM cores say, in a bundle's reports, and in `check --arm` and `validate --arm`."""

from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgekit.apps import arm, bundles
from edgekit.backends.arm import counting, emulated
from edgekit.bundle import write_testable
from edgekit.folder import ModelFolder
from edgekit.report.schema import Instructions
from tests.apps import small
from tests.conftest import Ended, World


class Emulator:
    """Stands for the emulated cores. `differs`: the model and core on which a golden vector differs; `more`:
    how many times the instructions."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.differs: tuple[str, str] | None = None
        self.more = 1.0
        self.tested: list[Path] = []
        monkeypatch.setattr(emulated, "self_test", self.self_test)
        monkeypatch.setattr(counting, "inference", self.inference)

    def self_test(self, bundle: Path, cpu: str, kind: str | None, log: object) -> list[dict[str, Any]]:
        assert (bundle / "manifest.json").is_file() and (bundle / "golden/0/picture.png").is_file()
        self.tested.append(bundle)
        failed = None
        if (kind, cpu) == self.differs:
            failed = {"stage": "inference", "where": "golden/1/x.npy", "why": "3.0 dB"}
        golden = [{"sqnr_db": {"x": 101.5}, "least_db": {"x": 100.0}}] * 2
        return [{"bundle": "tiny", "model": f"{kind}.onnx", "failed": failed, "golden": golden}]

    def inference(self, bundle: Path, cpu: str, kind: str, log: object) -> dict[str, int]:
        dots = {"fp32": 0, "int8": 200 if cpu == "a76" else 900}[kind]
        counts = dict.fromkeys(counting.KINDS, 0) | {"dot": dots, "fp": 1000 - dots, "load": 1000}
        if kind == "int8":
            counts["fp"] = 0
        return {name: round(count * self.more) for name, count in counts.items()}


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Emulator:
    return Emulator(monkeypatch)


@pytest.fixture
def bundle(world: World, tmp_path: Path) -> Path:
    return Path(shutil.copytree(world.bundle, tmp_path / "bundle"))


def check(world: World, bundle: Path) -> list[object]:
    return ["check", bundle, "--data", world.pictures]


def read(bundle: Path, name: str) -> Any:
    return json.loads((bundle / name).read_text(encoding="utf-8"))


def test_all_reports_of_a_bundle_say_the_same(
    world: World, bundle: Path, emulator: Emulator, inside: Callable[..., Ended]
) -> None:
    before = read(bundle, "report.json")
    done = inside("arm", "report", bundle)
    assert done.code == 0, done.err
    bundles.open_bundles([bundle])  # every hash is right
    report, manifest = read(bundle, "report.json"), read(bundle, "manifest.json")
    assert report["arm"] == manifest["arm"]
    assert {k: v for k, v in report.items() if k != "arm"} == {k: v for k, v in before.items() if k != "arm"}
    costs = [(row["cpu"], row["model"], sum(row["counts"].values())) for row in report["arm"]["costs"]]
    assert costs == [
        ("a53", "fp32", 2000),
        ("a53", "int8", 1900),
        ("a76", "fp32", 2000),
        ("a76", "int8", 1200),
    ]
    tests = [(row["cpu"], row["model"], row["sqnr_db"]) for row in report["arm"]["self_tests"]]
    assert tests == [(cpu, f"{kind}.onnx", 101.5) for cpu in ("a53", "a76") for kind in ("fp32", "int8")]
    page = (bundle / "report.html").read_text()
    assert '<data value="0.6">' in page and '<data value="1200">' in page
    junit = ET.parse(bundle / "junit.xml").getroot()
    cases = [case.get("name", "") for case in junit.iter("testcase")]
    assert junit.get("tests") == str(len(cases)) == str(len(report["gates"]) + 4)
    assert "int8.onnx: golden vectors on an emulated a76" in cases
    assert inside(*check(world, bundle)).code == 0  # its files say the same of each other


def test_what_differs_on_arm_fails_the_bundle(
    bundle: Path, emulator: Emulator, inside: Callable[..., Ended]
) -> None:
    emulator.differs = ("int8", "a53")
    done = inside("arm", "report", bundle)
    assert done.code == 3
    assert (
        "EK304" in done.error() and "int8.onnx on an emulated a53, inference: golden/1/x.npy" in done.error()
    )
    assert read(bundle, "report.json")["verdict"] == read(bundle, "manifest.json")["verdict"] == "failed"
    junit = ET.parse(bundle / "junit.xml").getroot()
    assert junit.get("failures") == "1"
    assert "On an emulated a53 int8.onnx differs" in (bundle / "report.html").read_text()
    emulator.differs = None
    assert inside("arm", "report", bundle).code == 0
    assert read(bundle, "report.json")["verdict"] == "passed"


def test_check_is_red_for_a_golden_difference_and_for_more_instructions(
    world: World, bundle: Path, emulator: Emulator, inside: Callable[..., Ended]
) -> None:
    assert inside(*check(world, bundle), "--arm").code == 0  # nothing is recorded yet
    assert inside("arm", "report", bundle).code == 0
    emulator.more = 1.005
    assert inside(*check(world, bundle), "--arm").code == 0
    emulator.more, emulator.differs = 1.02, ("fp32", "a76")
    done = inside(*check(world, bundle), "--arm")
    assert done.code == 3
    for told in (
        "arm: fp32.onnx on a76: inference: golden/1/x.npy, 3.0 dB",
        "arm: instructions of int8 on a76: 0.00 M an inference, recorded are 0.00 M",
    ):
        assert told in done.error() or told.split(": ")[1] in done.out
    emulator.tested.clear()
    assert inside(*check(world, bundle)).code == 0 and emulator.tested == []


def test_a_combined_bundle_keeps_its_hashes(
    tmp_path: Path, emulator: Emulator, inside: Callable[..., Ended]
) -> None:
    bundles.pack("page", [small.bundle(tmp_path / name, name) for name in ("det", "rec")], tmp_path / "both")
    done = inside("arm", "report", tmp_path / "both")
    assert done.code == 2 and "EK107" in done.error()
    bundles.open_bundles([tmp_path / "both"])
    done = inside("arm", "cost", tmp_path / "det", tmp_path / "rec", "--original", "x.onnx")
    assert done.code == 2 and "EK107" in done.error()


def test_validate_takes_arm_for_a_gate(
    world: World, emulator: Emulator, inside: Callable[..., Ended], tmp_path: Path
) -> None:
    words = ["validate", world.bundle, "--recipe", world.recipe, "--json", tmp_path / "found.json"]
    done = inside(*words, "--arm")
    assert done.code == 0, done.err
    found = read(tmp_path, "found.json")
    assert len(found["arm"]["self_tests"]) == 4 and len(found["arm"]["costs"]) == 4
    emulator.differs = ("int8", "a76")
    done = inside(*words, "--arm")
    assert done.code == 3 and "int8.onnx on an emulated a76, inference" in done.error()
    assert read(tmp_path, "found.json")["verdict"] == "failed"
    emulator.tested.clear()
    assert inside(*words).code == 0 and emulator.tested == []


def test_a_pruned_model_is_held_against_the_float_original() -> None:
    def row(model: str, cpu: str, count: int) -> Instructions:
        return Instructions(model=model, cpu=cpu, counts=dict.fromkeys(counting.KINDS, 0) | {"fp": count})

    rows = [
        row("original", "a76", 200),
        row("fp32", "a76", 150),
        row("int8", "a76", 50),
        row("fp32", "a53", 150),
    ]
    told = [line.split() for line in arm.cost_lines(rows, pruned=True)[1:]]
    assert [(line[1], line[3]) for line in told[:3]] == [
        ("original", "1.000"),
        ("fp32", "0.750"),
        ("int8", "0.250"),
    ]
    assert [entry["of_float"] for entry in arm.cost_rows(rows, pruned=True)] == [1, 0.75, 0.25, None]


@pytest.mark.slow
def test_a_real_count_is_repeatable_and_tells_the_cores_apart(world: World, tmp_path: Path) -> None:
    found = {
        (kind, cpu): counting.inference(world.bundle, cpu, kind, print)
        for kind in ("fp32", "int8")
        for cpu in ("a53", "a76")
    }
    again = counting.inference(world.bundle, "a76", "int8", print)
    # A busy machine adds some hundred instructions to a count of any size: 747 to this one were seen.
    assert sum(again.values()) == pytest.approx(sum(found["int8", "a76"].values()), abs=2000)
    assert {key: counts["dot"] > 0 for key, counts in found.items()} == {
        ("fp32", "a53"): False, ("fp32", "a76"): False, ("int8", "a53"): False, ("int8", "a76"): True,
    }  # fmt: skip
    # At least a multiply-accumulate for each four of the network's, of which an fmla does four.
    macs = read(world.bundle, "report.json")["model"]["macs"]
    assert found["fp32", "a76"]["fp"] > macs / 4

    # Another float network as the original: the bundle's own gives the same count.
    result = arm.cost([world.bundle], ["a76"], ["int8"], world.bundle / "tiny.fp32.onnx", print)
    rows = {row["model"]: row for row in result.values["costs"]}
    assert rows["original"]["total"] == pytest.approx(sum(found["fp32", "a76"].values()), abs=2000)

    # What validate --arm tests.
    info = ModelFolder.open(world.stage("export")).info
    write_testable(tmp_path / "testable", info, world.stage("convert"), world.stage("validate"))
    (passed,) = emulated.self_test(tmp_path / "testable", "a76", "int8", print)
    assert passed["failed"] is None and len(passed["golden"]) > 1
