import copy
import json
import math
import re
import xml.etree.ElementTree as ET
from typing import Any

import pytest
from pydantic import ValidationError

from edgekit.quantization.analysis import Analysis, LayerFigures
from edgekit.report import text
from edgekit.report.plots import plots
from edgekit.report.schema import Report
from edgekit.report.write import write_analysis, write_html, write_json, write_junit
from tests.report.examples import ANALYSIS, FULL, JPEG, LAYER, REPORT
from tests.report.page import Page


def html(tmp_path, report=REPORT):
    write_html(report, tmp_path / "report.html")
    source = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page(source)
    assert page.stack == [], "a tag is not closed"
    return source, page


def changed(**changes):
    return {**copy.deepcopy(REPORT), **changes}


def test_json_is_the_report(tmp_path):
    write_json(FULL, tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text()) == FULL


def test_the_three_files_say_the_same(tmp_path):
    write_json(REPORT, tmp_path / "report.json")
    write_junit(REPORT, tmp_path / "junit.xml")
    page = html(tmp_path)[1]
    data = json.loads((tmp_path / "report.json").read_text())
    cases = ET.parse(tmp_path / "junit.xml").getroot().findall("testsuite/testcase")
    rows = page.tables["gates"][1:]
    assert len(cases) == len(rows) == len(data["gates"])
    for gate, case, row in zip(data["gates"], cases, rows, strict=True):
        properties = {item.get("name"): item.get("value") for item in case.find("properties")}
        measured = None if properties["measured"] == "" else float(properties["measured"])
        assert (properties["target"], properties["metric"], properties["bound"]) == (
            gate["target"], gate["metric"], gate["bound"],
        )  # fmt: skip
        assert measured == gate["measured"]
        assert (case.find("failure") is None) == gate["passed"]
        assert row[0].endswith("passed" if gate["passed"] else "failed")
        assert row[1:3] == [gate["target"], gate["metric"]] and row[4:] == [gate["bound"], gate["note"]]
        assert row[3] == "not measured" if gate["measured"] is None else float(row[3]) == gate["measured"]
    assert page.metrics() == {
        target: {key: "not measured" if value is None else str(value) for key, value in values.items()}
        for target, values in data["metrics"].items()
    }
    assert {(row[0], row[1], int(row[2]), row[3]) for row in page.tables["files"][1:]} == {
        tuple(file.values()) for file in data["files"]
    }
    assert page.tables["outputs"][1][2:] == ["0.998", "23.4567", "0.31", "287840"]


def test_junit_counts_and_messages(tmp_path):
    write_junit(REPORT, tmp_path / "junit.xml")
    root = ET.parse(tmp_path / "junit.xml").getroot()
    suite = root.find("testsuite")
    for element in (root, suite):
        assert [element.get(key) for key in ("tests", "failures", "errors", "skipped")] == [
            "4",
            "2",
            "0",
            "1",
        ]
    messages = [item.get("message") for item in suite.iter("failure")]
    assert messages == [
        "int8.onnx: agreement_ap is 0.9376, must be >= 0.95",
        "int8.nb: same_class is not measured, must be >= 0.9 (no boxes)",
    ]
    assert [item.get("message") for item in suite.iter("skipped")] == ["no VNNI"]
    facts = {item.get("name"): item.get("value") for item in suite.find("properties")}
    assert facts["verdict"] == "failed" and facts["version.paddlepaddle"] == "2.6.2"
    assert facts["sha256.p.int8.onnx"] == "b" * 64


def test_the_page_is_one_file_that_loads_nothing(tmp_path):
    source, page = html(tmp_path, FULL)
    assert not {"script", "link", "img", "iframe", "object", "form"} & set(page.tags)
    assert not [item for item in page.attributes if item[1] in ("src", "style") or item[1].startswith("on")]
    targets = [value for _, key, value in page.attributes if key == "href"]
    inside = {f"#{value}" for _, key, value in page.attributes if key == "id"}
    assert [t for t in targets if t.startswith("data:")] == [f"data:image/jpeg;base64,{JPEG}"] * 2
    assert {t for t in targets if not t.startswith("data:")} <= inside
    assert "url(" not in source and "@import" not in source
    # The one "http" left is the name of the header that forbids every load.
    assert re.findall(r"http[^ ]*", source) == ['http-equiv="Content-Security-Policy"']
    assert "default-src 'none'" in source


def said(tmp_path, report):
    return " ".join(" ".join(html(tmp_path, report)[1].words).split())


def test_the_first_screen_answers_what_anybody_asks(tmp_path):
    words = said(tmp_path, REPORT)
    assert (
        "✗ Failed 2 of 4 gates do not hold: int8.onnx: agreement_ap is 0.9376, must be >= 0.95; int8.nb: "
        "same_class is not measured, must be >= 0.9 (no boxes). "
        "How much smaller? 3.3 × smaller ONNX file: 4.4 MB → 1.32 MB, 30.0 % of it "
        "How much faster? 2.50 × as fast 20.5 ms → 8.2 ms a picture, ONNX Runtime 1.23.2, one thread, a CPU "
        "How much worse? 93.8 % as before agreement with the float model: AP 0.9376; accuracy was not "
        "measured: the pictures have no labels"
    ) in words
    assert words.index("How much worse?") < words.index("What the recipe promises")
    assert words.index("What the recipe promises") < words.index("All metrics")
    assert words.index("All metrics") < words.index("edgekit 0.1.0")
    assert "kernels all INT8; not executed here" in words and "97.1 % of the MACs" in words
    assert "error too large" in words and "add_3.tmp_0" in words and "Nothing." in words


def test_a_pruned_model_is_told_against_its_original(tmp_path):
    words = said(tmp_path, FULL)
    assert (
        "✓ Passed All 2 gates hold. "
        "How much smaller? 4.2 × smaller ONNX file: 5.5 MB → 1.32 MB, 24.0 % of it "
        "How much faster? 3.00 × as fast 24.6 ms → 8.2 ms a picture, ONNX Runtime 1.23.2, one thread, a CPU "
        "How much worse? AP −0.02 AP 0.5 → 0.48 on 200 pictures; agreement with float 0.9376 (1: same)"
    ) in words
    assert "original 24.6 ms → float 20.5 ms → int8 8.2 ms" in words
    assert "25.0 % of the multiply-accumulates and 20.0 % of the parameters less than the original's" in words


def test_slower_and_better_are_said(tmp_path):
    report = changed(latency={**REPORT["latency"], "float_ms": 8.2, "int8_ms": 20.5, "speedup": 0.4})
    assert "2.50 × slower" in said(tmp_path, report)
    report = copy.deepcopy(FULL)
    report["metrics"]["int8.onnx"] |= {"ap": 0.51, "ap_drop": -0.01}
    assert "How much worse? AP +0.01 AP 0.5 → 0.51" in said(tmp_path, report)
    report["metrics"]["int8.onnx"] |= {"ap": 0.5, "ap_drop": 0.0}
    assert "How much worse? no loss" in said(tmp_path, report)


def test_every_figure_of_the_steps(tmp_path):
    rows = html(tmp_path, FULL)[1].tables["step-by-step"][1:]
    assert rows == [
        ["float", "the original", "640000000", "none", "1412500", "5500000", "6000000", "24.6", "0.5",
         "reference"],
        ["pruned", "FPGM", "480000000", "none", "1130000", "4400000", "4800000", "20.5", "0.49", "0.97"],
        ["int8", "KL, repaired, PACT", "480000000", "0.971", "1130000", "1320000", "1500000", "8.2", "0.48",
         "0.93761234"],
    ]  # fmt: skip


def test_what_was_measured_on_arm(tmp_path):
    page = html(tmp_path, FULL)[1]
    head, *rows = page.tables["instructions"]
    assert head[4:] == ["dot", "fp", "load"]
    assert rows == [
        ["a76", "original", "200000000", "1.0", "0", "150000000", "50000000"],
        ["a76", "int8", "80000000", "0.4", "50000000", "0", "30000000"],
        ["a53", "int8", "3", "not measured", "0", "1", "2"],  # the float original's is not known there
    ]
    assert [row[1:6] for row in page.tables["arm-self-tests"][1:]] == [
        ["a53", "fp32.onnx", "3", "101.5", "50.0"],
        ["a76", "int8.onnx", "3", "bit for bit", ""],
    ]
    assert page.tables["board-1"][1:] == [["int8.onnx", "2", "1.5", "1.75", "2.25", "0.5", "0.25", "40.5"]]
    words = " ".join(" ".join(page.words).split())
    assert "Board <1> (aarch64, ssh)" in words and "on the cores 2, 3" in words
    assert "Times on ARM were not measured" not in words
    assert not {"arm", "boards"} & {
        value for _, key, value in html(tmp_path, REPORT)[1].attributes if key == "id"
    }


def test_what_was_tried(tmp_path):
    page = html(tmp_path, FULL)[1]
    assert page.tables["alternatives"][1:] == [
        ["0", "none", "0.02", "0.01", "0.0", ""],
        ["1", "conv_2", "0.004", "0.05", "0.02", "✓ chosen"],
    ]
    words = " ".join(" ".join(page.words).split())
    assert "kl: 0.7" in words and "equalise (undone): 0.9" in words and "prune removed: 0.1" in words
    assert "1 layer, 5.0 % of the multiply-accumulates, 2.0 % of the weights, predicted error 0.004" in words
    assert [row[:3] + row[4:] for row in page.tables["groups"][1:]] == [
        ["conv_7", "48", "24", "16 + 8", "0.2 at −50.0 %"],  # the most cut first
        ["conv_3", "32", "32", "0 + 0", ""],
    ]
    assert "56 of 80 channels are left" in words


def test_the_backends_with_one_another(tmp_path):
    head, *rows = html(tmp_path, FULL)[1].tables["matrix"]
    assert head[1:] == ["original", "int8.onnx"]
    assert rows == [["original", "–", "0.93761234"], ["int8.onnx", "0.91", "–"]]


def test_pictures_have_both_answers(tmp_path):
    source, page = html(tmp_path, FULL)
    words = " ".join(" ".join(page.words).split())
    assert "a.jpg agreement_ap on this picture alone 0.25 float original" in words
    assert "≠ cow 0.61" in words and "b.jpg" in words and "(nothing) 0.00" in words
    # The first is drawn over, and its pixels are in the page once; the second has no places to draw.
    assert source.count('href="#picture-0"') == 1 and source.count('id="picture-0"') == 1
    assert source.count('<polygon class="differs"') == 2 and source.count('<polygon class="agrees"') == 2
    assert source.count("<image") == 2 and "#picture-1" not in source


def analysed(tmp_path, analysis=ANALYSIS):
    write_analysis(Analysis.model_validate(analysis), tmp_path / "analysis.html")
    source = (tmp_path / "analysis.html").read_text(encoding="utf-8")
    page = Page(source)
    assert page.stack == [], "a tag is not closed"
    return source, page


@pytest.mark.parametrize("made", [lambda p: html(p, changed(analysis=ANALYSIS)), analysed], ids=["a", "b"])
def test_the_analysis_says_what_was_measured(tmp_path, made):
    source, page = made(tmp_path)
    rows = {row[0]: row[1:] for row in page.tables["analysis"][1:]}
    assert list(rows) == ["conv_2", "conv_1"]
    sentence = LAYER["sentence"]
    wanted = [
        "depthwise_conv2d",
        "float",
        "0.61512345",
        "0.2",
        sentence,
        "21.3456",
        "exact",
        "4.5678",
        "31.75",
    ]
    assert rows["conv_2"] == [*wanted, "2 of 3"]
    assert rows["conv_1"][:5] == ["conv2d", "int8", "1e-05", "0.1", "Nothing."]
    words = " ".join("".join(page.words).split())
    assert "kl + equalise: each of 2 layers alone in int8, everything else" in words
    assert "conv_2: 0.6151 (left in float)" in words and "conv_1: 1.000e-05" in words
    assert (
        "All of them int8: error 0.707, agreement_ap 0.061. With the worst 1 in float: error 0.278, "
        "agreement_ap not measured. One of them int8, all else float, leaves agreement_ap at 0.068 (conv_2)."
    ) in words
    # One layer has a histogram and ranges: its sentence stands beside them, too.
    assert source.count('class="plot"') == 2 and words.count(sentence) == 2
    assert "Line: the threshold, 127, of values evened by channel factors." in words
    bars = [value for tag, key, value in page.attributes if (tag, key) == ("rect", "width")]
    assert "100.0%" in bars and "0.0%" in bars


def test_the_analysis_page_loads_nothing_and_fits_a_phone(tmp_path):
    source, page = analysed(tmp_path)
    assert not {"script", "link", "img", "iframe", "object", "form"} & set(page.tags)
    assert not [
        item for item in page.attributes if item[1] in ("src", "href", "style") or item[1].startswith("on")
    ]
    assert "url(" not in source and "@import" not in source and "default-src 'none'" in source
    assert ("meta", "content", "width=device-width, initial-scale=1") in page.attributes
    assert source.count("<table") == len(re.findall(r'<div class="scroll[^>]*><table', source)) == 2
    assert not [item for item in page.attributes if item[:2] == ("svg", "width")]
    assert page.tables["floats"][1][0] == "fc_0" and page.tables["floats"][1][2] == "a small matmul"


def test_the_plots_by_hand():
    drawn = plots(LayerFigures.model_validate(LAYER))
    # ln(1 + 7) is three times ln(1 + 1); four bins over 254, and the threshold in the middle.
    assert drawn.histogram == "M0 40V0H25V26.67H50V40H75V40H100V40Z"
    assert (drawn.limit, drawn.clip_x) == (254, 50)
    # From half a step, 0.5, to 254, logarithmic: 11.27 is in the middle; the threshold, 127, is
    # ln 254 / ln 508 of the way up, and 7.5 ln 15 / ln 508.
    assert drawn.ranges == "M0 40V0H25V20H50V40H75V40H100V40Z"
    assert drawn.least == 0.5
    assert drawn.clip_y == pytest.approx(40 * (1 - math.log(254) / math.log(508)), abs=0.01)
    assert drawn.few_y == pytest.approx(40 * (1 - math.log(15) / math.log(508)), abs=0.01)
    # A threshold beyond all that was seen lies within the picture.
    wide = plots(LayerFigures.model_validate(LAYER | {"threshold": 508.0}))
    assert (wide.limit, wide.clip_x, wide.clip_y) == (508, 100, 0)
    assert wide.histogram == "M0 40V0H12.5V26.67H25V40H37.5V40H50V40Z"
    assert plots(LayerFigures.model_validate(LAYER | {"histogram": None})) is None


def test_an_analysis_that_was_not_made_is_said(tmp_path):
    words = " ".join("".join(html(tmp_path)[1].words).split())
    assert "What each layer costs was not measured: no rescue asked that" in words
    report = changed()
    report["model"]["layers_int8"] = 0
    assert "What each layer costs" not in "".join(html(tmp_path, report)[1].words)


def test_text_from_outside_is_escaped(tmp_path):
    nasty = '<script>alert("1")</script>'
    report = changed(name=nasty, notes=[nasty], versions={nasty: nasty})
    report["gates"][0] |= {"note": nasty, "target": nasty}
    report["files"][1]["role"] = 'int8."><script>'
    report["metrics"] = {nasty: {nasty: 1.0}}
    report["tensors_only"] = {nasty: [nasty]}
    report["analysis"] = ANALYSIS | {"state": nasty}
    report["analysis"]["layers"] = [LAYER | {"name": nasty, "sentence": nasty, "type": nasty}]
    source, page = html(tmp_path, report)
    assert "<script" not in source and "script" not in page.tags
    write_junit(report, tmp_path / "junit.xml")
    assert ET.parse(tmp_path / "junit.xml").getroot().find("testsuite/testcase").get("name").startswith(nasty)


def test_characters_that_a_file_cannot_hold_do_not_break_it(tmp_path):
    report = changed(recipe="a\x00b\x1b")
    report["gates"][0]["note"] = "\ud800 \x08 ok"
    write_junit(report, tmp_path / "junit.xml")
    assert ET.parse(tmp_path / "junit.xml").getroot().find("testsuite").get("name") == "a\ufffdb\ufffd.kl"
    write_json(report, tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["gates"] == report["gates"]
    html(tmp_path, report)


def test_a_report_with_almost_nothing(tmp_path):
    keys = ("name", "recipe", "edgekit_version", "created", "task")
    report = {**{key: REPORT[key] for key in keys}, "verdict": "passed"}
    words = "".join(html(tmp_path, report)[1].words)
    assert "Latency was not measured." in words and "sets no gates" in words
    assert "Nothing was made of the float network" in words and "No network was measured." in words
    write_junit(report, tmp_path / "junit.xml")
    assert ET.parse(tmp_path / "junit.xml").getroot().get("tests") == "0"
    write_json(report, tmp_path / "report.json")
    assert Report.model_validate_json((tmp_path / "report.json").read_text()) == Report.model_validate(report)


def test_missing_latency_is_said_and_not_shown_as_a_bar(tmp_path):
    source, _ = html(tmp_path, changed(latency=None))
    assert "Latency was not measured." in source and "as fast" not in source
    assert "Time for one picture" not in source and "ONNX file" in source


def test_nan_and_infinity_are_not_measured(tmp_path):
    report = changed()
    report["metrics"]["int8.onnx"] = {"sqnr_db": math.inf, "cosine": math.nan}
    report["outputs"][0]["sqnr_db"] = -math.inf
    write_json(report, tmp_path / "report.json")
    data = json.loads((tmp_path / "report.json").read_text())
    assert data["metrics"]["int8.onnx"] == {"sqnr_db": None, "cosine": None}
    assert data["outputs"][0]["sqnr_db"] is None


def test_the_schema_refuses_what_it_does_not_know_and_a_false_pass():
    with pytest.raises(ValidationError, match="latnecy"):
        Report.model_validate(changed(latnecy=None))
    with pytest.raises(ValidationError, match=r"these gates failed: int8\.onnx agreement_ap"):
        Report.model_validate(changed(verdict="passed"))


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "not measured"), (412, "412"), (287840, "287,840"), (0.93761234, "0.9376"), (0.99996, "0.99996"),
     (1 - 2e-12, "1 − 2e-12"), (1 + 3e-8, "1 + 3e-08"), (1.0, "1"), (0.0, "0"), (1.2345e-6, "1.234e-06"),
     (123456.0, "1.235e+05"), (-0.5, "-0.5")],
)  # fmt: skip
def test_numbers(value, shown):
    assert text.number(value) == shown


@pytest.mark.parametrize(
    ("value", "bound", "shown"),
    [
        (0.949970123, ">= 0.95", "0.94997"),
        (0.95, ">= 0.95", "0.95"),
        (0.3, "<= 0.35", "0.3"),
        (0.12345678, ">= -1e-3", "0.1235"),
        (3, ">= 4", "3"),
        (None, ">= 4", "not measured"),
        (0.12345678, "finite", "0.1235"),
    ],
)
def test_a_value_never_reads_like_a_bound_that_it_missed(value, bound, shown):
    assert text.against(value, bound) == shown


def test_units():
    assert [text.size(n) for n in (12, 4_400, 1_320_000, 2_000_000_000)] == [
        "12 B",
        "4.4 kB",
        "1.32 MB",
        "2 GB",
    ]
    assert [text.amount(n) for n in (12, 4_400, 1_130_000)] == ["12", "4.4 k", "1.13 M"]


def test_the_page_fits_a_phone(tmp_path):
    source, page = html(tmp_path)
    assert ("meta", "content", "width=device-width, initial-scale=1") in page.attributes
    # Each table scrolls in its own box, and no SVG has a fixed width.
    assert source.count("<table") == len(re.findall(r'<div class="scroll[^>]*><table', source))
    assert not [item for item in page.attributes if item[:2] == ("svg", "width")]
    assert "@media print" in source and "prefers-color-scheme: dark" in source


@pytest.mark.parametrize(
    ("names", "latency", "role"),
    (
        (["m.fp32.onnx", "m.int8.onnx"], {"float_ms": 2.0, "int8_ms": 1.0}, "int8.onnx"),
        (["m.fp32.onnx", "m.int8.onnx"], {"float_ms": 1.0, "int8_ms": 2.0}, "fp32.onnx"),
        # x86 without VNNI: what is slow there may be fast on a device.
        (["m.fp32.onnx", "m.int8.onnx"], {"float_ms": 1.0, "int8_ms": 2.0, "slow_int8": True}, "int8.onnx"),
        (["m.fp32.onnx", "m.int8.onnx"], None, "int8.onnx"),
        (["m.fp32.onnx"], {"original_ms": 2.0, "float_ms": 1.0}, "fp32.onnx"),
        ([], None, None),
    ),
)
def test_the_faster_file_is_the_one_to_run(names: list[str], latency: Any, role: str | None) -> None:
    from edgekit.reporting import default_onnx

    assert default_onnx(names, latency) == role


def test_a_layer_that_is_int8_in_one_file_alone_is_told(tmp_path):
    report = changed()
    report["layers"][0]["only"] = "onnx"
    words = "".join(html(tmp_path, report)[1].words)
    assert "int8 in ONNX alone" in words and "int8 in Paddle Lite alone" not in words
