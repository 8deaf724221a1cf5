import copy
import json
import math
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from typing import Any

import pytest
from pydantic import ValidationError

from edgekit.quantization.analysis import Analysis, LayerFigures
from edgekit.report import text
from edgekit.report.plots import plots
from edgekit.report.schema import Report
from edgekit.report.write import write_analysis, write_html, write_json, write_junit

REPORT = {
    "name": "picodet_s",
    "recipe": "picodet_s",
    "preset": "kl",
    "edgekit_version": "0.1.0",
    "commit": "0123456789ab",
    "host": "a CPU, 2 cores, AVX2",
    "created": "2026-01-02T03:04:05+00:00",
    "task": "detection",
    "verdict": "failed",
    "default": "int8.onnx",
    "gates": [
        {
            "metric": "agreement_ap",
            "target": "int8.onnx",
            "bound": ">= 0.95",
            "measured": 0.93761234,
            "passed": False,
            "note": "",
        },
        {
            "metric": "cosine",
            "target": "int8.onnx",
            "bound": ">= 0.99",
            "measured": 0.99996,
            "passed": True,
            "note": "",
        },
        {
            "metric": "speedup",
            "target": "int8.onnx",
            "bound": ">= 1",
            "measured": None,
            "passed": True,
            "note": "no VNNI",
        },
        {
            "metric": "same_class",
            "target": "int8.nb",
            "bound": ">= 0.9",
            "measured": None,
            "passed": False,
            "note": "no boxes",
        },
    ],
    "metrics": {
        "int8.onnx": {"agreement_ap": 0.93761234, "agreement_n": 412, "sqnr_db": 23.4567, "size_ratio": 0.3},
        "fp32.nb(x86)": {"agreement_ap": 1.0, "max_abs_diff": 1.2345e-6, "sqnr_db": None},
    },
    "intervals": {
        "int8.onnx": {
            "agreement_ap": {"low": 0.91, "high": 0.96, "level": 0.95, "n": 200, "method": "bootstrap"}
        }
    },
    "outputs": [
        {
            "target": "int8.onnx",
            "output": "concat_4.tmp_0",
            "cosine": 0.998,
            "sqnr_db": 23.4567,
            "max_abs_diff": 0.31,
            "values": 287840,
        },
    ],
    "files": [
        {"name": "p.fp32.onnx", "role": "fp32.onnx", "bytes": 4_400_000, "sha256": "a" * 64},
        {"name": "p.int8.onnx", "role": "int8.onnx", "bytes": 1_320_000, "sha256": "b" * 64},
        {"name": "labels.txt", "role": "labels", "bytes": 700, "sha256": "c" * 64},
    ],
    "latency": {
        "engine": "ONNX Runtime 1.23.2",
        "threads": 1,
        "runs": 50,
        "original_ms": None,
        "float_ms": 20.5,
        "int8_ms": 8.2,
        "speedup": 2.5,
        "cpu": "a CPU",
        "vnni": True,
    },
    "model": {
        "params": 1_130_000,
        "macs": 480_000_000,
        "params_before": None,
        "macs_before": None,
        "int8_macs_share": 0.971,
        "layers_total": 2,
        "layers_int8": 1,
    },
    "layers": [
        {"name": "conv_1", "type": "conv2d", "macs": 1000, "params": 10, "int8": True, "reason": ""},
        {
            "name": "conv_2",
            "type": "conv2d",
            "macs": 2000,
            "params": 20,
            "int8": False,
            "reason": "error too large",
        },
    ],
    "analysis": None,
    "tensors_only": {"int8.onnx": ["add_3.tmp_0"], "int8.nb": []},
    "stages": [
        {"name": "quantize", "seconds": 12.5, "cached": True, "key": "k1k1", "summary": "KL on 32 pictures"}
    ],
    "data": {
        "calibration": {
            "name": "synthetic",
            "n": 32,
            "digest": "d1d1",
            "origin": "rendered",
            "kind": "rendered_lines",
            "seed": 0,
        },
        "evaluation": None,
    },
    "not_executed": ["int8.nb: converted; kernels all INT8; not executed here"],
    "versions": {"paddlepaddle": "2.6.2"},
    "seed": 7,
    "notes": ["a note"],
}


LAYER = {
    "name": "conv_2",
    "type": "depthwise_conv2d",
    "macs": 2000,
    "int8": False,
    "error": 0.61512345,
    "sqnr_input": 21.3456,
    "sqnr_weight": None,
    "sqnr_output": 4.5678,
    "from_input": None,
    "threshold": 127.0,
    "maximum": 254.0,
    "evened": True,
    "clipped": 0.0,
    "clipping": 0.0,
    "zeroed": 0.1,
    "channels": {"count": 4, "alive": 3, "largest": 254.0, "median": 8.0, "few": 2, "spared": 0.9},
    "weights_zeroed": 0.0,
    "silent": 0,
    "sentence": "The largest channel it reads is 31.75 times the median.",
    "histogram": [7, 1, 0, 0],
    "ranges": [0.0, 0.5, 254.0, 11.2694277],
}

ANALYSIS = {
    "schema_version": 1,
    "name": "picodet_s",
    "task": "detection",
    "state": "kl + equalise",
    "edgekit_version": "0.1.0",
    "pictures": 16,
    "macs": 10_000,
    "layers": [
        LAYER,
        LAYER
        | {"name": "conv_1", "type": "conv2d", "macs": 1000, "int8": True, "error": 1e-5, "sqnr_weight": 40.5}
        | {"sentence": "Nothing.", "histogram": None, "ranges": None},
    ],
    "floats": [{"name": "fc_0", "macs": 500, "reason": "a small matmul"}],
    "confirmation": {
        "metric": "agreement_ap",
        "pictures": 32,
        "names": ["conv_2"],
        "error": 0.707,
        "agreement": 0.061,
        "error_without": 0.278,
        "agreement_without": None,
        "alone": {"conv_2": 0.068},
    },
}


class Page(HTMLParser):
    """Text, attributes, and per table id the cells of each row: the exact <data> value, or the text."""

    VOID = ("meta", "rect", "br")

    def __init__(self, source):
        super().__init__()
        self.stack, self.tables, self.attributes, self.tags, self.words = [], {}, [], [], []
        self.table = None
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, key, value) for key, value in attrs]
        if tag not in self.VOID:
            self.stack.append(tag)
        if tag == "table":
            self.table = self.tables.setdefault(dict(attrs)["id"], [])
        elif tag == "tr":
            self.table.append([])
        elif tag in ("td", "th"):
            self.table[-1].append("")
        elif tag == "data":
            self.table is not None and self.table[-1].__setitem__(-1, dict(attrs)["value"])

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, key, value) for key, value in attrs]

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag
        if tag == "table":
            self.table = None

    def handle_data(self, data):
        self.words.append(data)
        if (
            self.table
            and self.table[-1]
            and ("td" in self.stack or "th" in self.stack)
            and "data" not in self.stack
        ):
            self.table[-1][-1] += data


def html(tmp_path, report=REPORT):
    write_html(report, tmp_path / "report.html")
    source = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page(source)
    assert page.stack == [], "a tag is not closed"
    return source, page


def changed(**changes):
    return {**copy.deepcopy(REPORT), **changes}


def test_json_is_the_report(tmp_path):
    write_json(REPORT, tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text()) == REPORT


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
    names, *rows = page.tables["metrics"]
    got = {row[0]: {k: v for k, v in zip(names[1:], row[1:], strict=True) if v} for row in rows}
    expected = {
        target: {key: "not measured" if value is None else str(value) for key, value in values.items()}
        for target, values in data["metrics"].items()
    }
    assert got == expected
    assert [(row[0], row[1], int(row[2]), row[3]) for row in page.tables["files"][1:]] == [
        tuple(file.values()) for file in data["files"]
    ]
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
    source, page = html(tmp_path)
    assert not {"script", "link", "img", "iframe", "object", "form"} & set(page.tags)
    assert not [
        item for item in page.attributes if item[1] in ("src", "href", "style") or item[1].startswith("on")
    ]
    assert "url(" not in source and "@import" not in source
    # The one "http" left is the name of the header that forbids every load.
    assert re.findall(r"http[^ ]*", source) == ['http-equiv="Content-Security-Policy"']
    assert "default-src 'none'" in source


def test_the_first_screen_says_what_changed(tmp_path):
    words = " ".join("".join(html(tmp_path)[1].words).split())
    assert (
        "int8 ONNX is 1.32 MB instead of 4.4 MB (30.0 %); 2.50 × as fast here "
        "(20.5 ms → 8.2 ms, one thread, ONNX Runtime 1.23.2); agreement with the float model: AP 0.9376."
    ) in words
    assert words.index("picodet_s failed") < words.index("int8 ONNX is") < words.index("Gates")
    assert words.index("Gates") < words.index("Agreement of the backends") < words.index("Stages")
    assert "kernels all INT8; not executed here" in words and "97.1 % of the MACs" in words
    assert "error too large" in words and "add_3.tmp_0" in words and "Nothing." in words


def test_a_pruned_model_is_told_against_its_original(tmp_path):
    report = changed()
    report["model"] |= {"params_before": 1_412_500, "macs_before": 640_000_000}
    report["latency"] |= {"original_ms": 24.6, "speedup": 3.0}
    report["metrics"]["int8.onnx"]["size_ratio"] = 0.24
    words = " ".join("".join(html(tmp_path, report)[1].words).split())
    assert (
        "25.0 % of the multiply-accumulates and 20.0 % of the parameters are gone; "
        "int8 ONNX is 1.32 MB instead of 5.5 MB (24.0 %); 3.00 × as fast here "
        "(24.6 ms → 20.5 ms → 8.2 ms, one thread"
    ) in words
    assert "original 24.6 ms → float 20.5 ms → int8 8.2 ms" in words


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
    assert "Neither size, nor speed, nor agreement was measured." in words
    write_junit(report, tmp_path / "junit.xml")
    assert ET.parse(tmp_path / "junit.xml").getroot().get("tests") == "0"
    write_json(report, tmp_path / "report.json")
    assert Report.model_validate_json((tmp_path / "report.json").read_text()) == Report.model_validate(report)


def test_missing_latency_is_said_and_not_shown_as_a_bar(tmp_path):
    source, page = html(tmp_path, changed(latency=None))
    assert "Latency was not measured." in source and "as fast" not in source
    assert page.tags.count("svg") == 1


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
     (1.0, "1"), (0.0, "0"), (1.2345e-6, "1.234e-06"), (123456.0, "1.235e+05"), (-0.5, "-0.5")],
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
        (["m.fp32.onnx", "m.int8.onnx"], None, "int8.onnx"),
        (["m.fp32.onnx"], {"original_ms": 2.0, "float_ms": 1.0}, "fp32.onnx"),
        ([], None, None),
    ),
)
def test_the_faster_file_is_the_one_to_run(names: list[str], latency: Any, role: str | None) -> None:
    from edgekit.reporting import default_onnx

    assert default_onnx(names, latency) == role
