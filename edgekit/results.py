"""Measured figures in version control: a finished bundle -> recipes/results/NAME.yaml -> the README's table.

One file per recipe, a section per preset, a line per figure: a change of accuracy is a line in a review.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError

from edgekit.apps import bundles
from edgekit.apps.bundles import Bundle
from edgekit.data.files import write_bytes
from edgekit.errors import EdgekitError
from edgekit.folder import Strict, TaskName
from edgekit.report import schema
from edgekit.report.schema import Report
from edgekit.result import Result

SCHEMA = 1
DEFAULT = "default"  # the section of a recipe without a preset
BEGIN, END = "<!-- results -->", "<!-- end of results -->"

# What stands for a task: agreement with the float original, then accuracy against the truth.
FIGURES: dict[str, tuple[str, ...]] = {
    "detection": ("agreement_ap", "same_class", "ap", "ap_drop"),
    "classification": ("top1_agreement", "top1_agreement_sure", "kl_divergence", "top1", "top1_drop"),
    "text_detection": ("agreement_hmean", "hmean", "hmean_drop"),
    "text_recognition": ("agreement_exact", "exact", "exact_drop", "cer", "cer_rise"),
}
_SHOWN = {
    "detection": ("agreement_ap", "AP", "ap", "AP"),
    "classification": ("top1_agreement", "top-1", "top1", "top-1"),
    "text_detection": ("agreement_hmean", "hmean", "hmean", "hmean"),
    "text_recognition": ("agreement_exact", "lines", "exact", "lines"),
}
_HEAD = """\
# Written by `edgekit results update` from finished bundles; a figure that is not here was not measured.
# float: the float original. pruned: the float program of what was pruned. int8.paddle: Paddle's simulation of
# the program that the int8 .nb was made from. Intervals: 95 %, over the choice of pictures.
# minutes: the stages' own time, each as it was when it ran; pictures and downloads are not in it.
"""


class Figure(Strict):
    value: float
    low: float | None = None  # of its interval
    high: float | None = None
    n: int | None = None  # pictures, or of a share those that count
    by: str | None = None  # the method of the interval


class Evaluation(Strict):
    pictures: str
    n: int
    digest: str


class Preset(Strict):
    """One row: what was measured of one bundle."""

    verdict: str
    gates: str
    created: str
    edgekit: str
    commit: str | None
    host: str | None
    seed: int | None
    minutes: float
    evaluation: Evaluation | None
    macs: dict[str, int | float]  # float, pruned, and the share of the MACs that is int8
    size_mb: dict[str, float]
    latency_ms: dict[str, float | str]  # float, pruned, int8: ONNX Runtime, in turns
    accuracy: dict[str, dict[str, Figure]]  # float, pruned, int8.onnx, int8.paddle, int8.nb -> figure


class Results(Strict):
    """`recipes/results/NAME.yaml`."""

    schema_version: int = Field(default=SCHEMA, alias="schema")
    recipe: str
    task: TaskName
    presets: dict[str, Preset]


def read_report(bundle: Path) -> Report:
    """The report of an intact bundle of one model. Raises EK107, EK401, EK402 and EK409."""
    opened = bundles.open_bundles([bundle]).bundles
    if len(opened) != 1:
        raise EdgekitError(
            "EK107", f"{bundle} is a combined bundle; its parts have figures of their own: name these."
        )
    return report_of(opened[0])


def report_of(bundle: Bundle) -> Report:
    """The report of a bundle that has been opened. Raises EK401 and EK409."""
    path = bundle.path / "report.json"
    try:
        return schema.parse(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise EdgekitError("EK401", f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise EdgekitError("EK409", f"{path} cannot be used: {error}") from error


def of_report(report: Report) -> Preset:
    """The row of a bundle; nothing in it is computed but ratios of units."""
    pruned = "original" in report.metrics
    names = {"original": "float", "fp32.paddle": "pruned"} if pruned else {"fp32.paddle": "float"}
    accuracy: dict[str, dict[str, Figure]] = {}
    for target, metrics in report.metrics.items():
        name = names.get(target, target)
        if name not in ("float", "pruned", "int8.onnx", "int8.paddle", "int8.nb"):
            continue
        found = {
            figure: _figure(report, target, figure)
            for figure in FIGURES[report.task]
            if metrics.get(figure) is not None
        }
        if found:
            accuracy[name] = found
    sizes = {file.role: file.bytes for file in report.files}
    before = {
        f"float.{kind}": sizes[f"int8.{kind}"] / ratio
        for kind in ("onnx", "nb")
        if f"int8.{kind}" in sizes and (ratio := report.metrics.get(f"int8.{kind}", {}).get("size_ratio"))
    }
    after = {
        ("pruned" if pruned else "float") + role.removeprefix("fp32") if role.startswith("fp32") else role: n
        for role, n in sizes.items()
        if role in ("fp32.onnx", "fp32.nb", "int8.onnx", "int8.nb")
    }
    latency = report.latency
    names_of_times = {"original": "float", "float": "pruned"} if pruned else {}
    model, data = report.model, report.data.evaluation
    macs: dict[str, int | float] = {}
    if model is not None:
        macs = {"float": model.macs_before if model.macs_before is not None else model.macs}
        if pruned:
            macs["pruned"] = model.macs
        macs["int8_share"] = _digits(model.int8_macs_share, 4)
    return Preset(
        verdict=report.verdict,
        gates=f"{sum(gate.passed for gate in report.gates)} of {len(report.gates)} held",
        created=report.created[:10],
        edgekit=report.edgekit_version,
        commit=report.commit,
        host=report.host,
        seed=report.seed,
        minutes=round(sum(stage.seconds for stage in report.stages) / 60, 1),
        evaluation=Evaluation(pictures=data.name, n=data.n, digest=data.digest) if data is not None else None,
        macs=macs,
        size_mb={name: round(size / 1e6, 3) for name, size in {**before, **after}.items()},
        latency_ms={
            **{names_of_times.get(name, name): float(f"{value:.3g}") for name, value in latency.times},
            "how": f"{latency.engine}, {_threads(latency.threads)}, in turns, median of {latency.runs}",
            "cpu": latency.cpu,
            **({"vnni": "no"} if latency.slow_int8 else {}),
        }
        if latency is not None
        else {},
        accuracy=accuracy,
    )


def update(paths: Sequence[Path], into: Path, readme: Path | None) -> Result:
    """Write the sections of these bundles, and the README's table when it is named.

    Sections of other presets stay. Raises what `read_report` and `load` raise, EK409 for a README without
    markers, and EK106 or EK410 when a file cannot be written.
    """
    reports = [read_report(path) for path in paths]
    lines = []
    files: dict[Path, Results] = {}
    for path, report in zip(paths, reports, strict=True):
        file = into / f"{report.recipe}.yaml"
        if file not in files and file.is_file():
            files[file] = load(file)
        old = files.get(file)
        presets = {**(old.presets if old is not None else {}), report.preset or DEFAULT: of_report(report)}
        files[file] = Results.model_validate(
            {
                "schema": SCHEMA,
                "recipe": report.recipe,
                "task": report.task,
                "presets": {name: presets[name] for name in sorted(presets, key=_default_first)},
            }
        )
        lines.append(f"{file}: {report.preset or DEFAULT} of {path}")
    for file, results in files.items():
        write_bytes(file, dump(results).encode())
    if readme is not None:
        write_bytes(readme, _with_table(readme, table(into)).encode())
        lines.append(f"{readme}: the table")
    return Result(lines, {"files": [str(file) for file in files]})


def load(file: Path) -> Results:
    """Raises EK401 (no such file) and EK409 (not one that `update` wrote)."""
    try:
        return Results.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise EdgekitError("EK401", f"The results {file} cannot be read: {error.strerror}.") from error
    except (ValueError, ValidationError, yaml.YAMLError, RecursionError) as error:
        raise EdgekitError(
            "EK409", f"{file} is not a file that `edgekit results update` wrote: {error}"
        ) from error


def load_all(folder: Path) -> list[Results]:
    """Those of a folder, by name; benchmarks keep files of other kinds there."""
    return [load(file) for file in sorted(folder.glob("*.yaml")) if not _is_benchmark(file)]


def _is_benchmark(file: Path) -> bool:
    return file.stem.endswith((".peers", ".pruning"))


def dump(results: Results) -> str:
    """YAML with one line per figure."""
    plain = results.model_dump(mode="json", by_alias=True)
    for preset in plain["presets"].values():
        for name in ("evaluation", "macs", "size_mb", "latency_ms"):
            preset[name] = _Line(preset[name]) if preset[name] is not None else None
        for figures in preset["accuracy"].values():
            for name, figure in figures.items():
                figures[name] = _Line({key: value for key, value in figure.items() if value is not None})
    text: str = yaml.dump(plain, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)
    return _HEAD + text


class _Line(dict[str, Any]):
    """A mapping that is written on one line."""


class _Dumper(yaml.SafeDumper):
    pass


_Dumper.add_representer(
    _Line, lambda dumper, line: dumper.represent_mapping("tag:yaml.org,2002:map", line, flow_style=True)
)


def table(folder: Path) -> str:
    """The Markdown table of all results of a folder."""
    found = load_all(folder)
    if not found:
        return "No results have been recorded yet: `edgekit results update BUNDLE` does it.\n"
    head = (
        "recipe, preset", "MACs", "agreement with float", "accuracy, float → int8",
        "ONNX, `.nb` (MB, of float)", "ms, float → int8", "minutes",
    )  # fmt: skip
    rows = [head, ("---",) * len(head)]
    for results in found:
        for name, preset in results.presets.items():
            rows.append(_row(results, name, preset))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def check_table(readme: Path, folder: Path) -> Result:
    """Raises EK302 when the README's table is not that of the results, EK409 without markers."""
    if _with_table(readme, table(folder)) != readme.read_text(encoding="utf-8"):
        raise EdgekitError(
            "EK302",
            f"The table in {readme} is not that of {folder}: run `edgekit results table --write {readme}`.",
        )
    return Result([f"{readme}: the table is up to date"], {"up_to_date": True})


def write_table(readme: Path, folder: Path) -> Result:
    write_bytes(readme, _with_table(readme, table(folder)).encode())
    return Result([f"{readme}: the table"], {"written": str(readme)})


def _with_table(readme: Path, lines: str) -> str:
    try:
        text = readme.read_text(encoding="utf-8")
    except OSError as error:
        raise EdgekitError("EK401", f"{readme} cannot be read: {error.strerror}.") from error
    before, begin, rest = text.partition(f"{BEGIN}\n")
    _, end, after = rest.partition(f"{END}\n")
    if not begin or not end:
        raise EdgekitError(
            "EK409", f"{readme} needs the lines {BEGIN} and {END}, between which the table is."
        )
    return f"{before}{begin}\n{lines}\n{end}{after}"


def _row(results: Results, name: str, preset: Preset) -> tuple[str, ...]:
    agreement, agreement_name, truth, truth_name = _SHOWN[results.task]
    first, int8 = preset.accuracy.get("float", {}), preset.accuracy.get("int8.onnx", {})
    if not int8:  # a preset that only prunes
        int8 = preset.accuracy.get("pruned", {})
    simulated = preset.accuracy.get("int8.paddle", {})
    told = preset.evaluation
    agreed = _told(agreement_name, int8.get(agreement), simulated.get(agreement))
    accuracy = ""
    if truth in first:
        accuracy = f"{first[truth].value:.3f} → {_told(truth_name, int8.get(truth), simulated.get(truth))}"
        if told is not None:
            accuracy += f", n = {told.n}"
    elif agreed and told is not None:
        agreed += f", n = {told.n}"
    macs = preset.macs
    cost = f"{macs['float'] / 1e6:.0f} M" if "float" in macs else ""
    if "pruned" in macs:
        cost += f" → {macs['pruned'] / 1e6:.0f} M"
    sizes = [
        f"{after:.2f} ({after / before:.2f} ×)"
        for kind in ("onnx", "nb")
        if (after := preset.size_mb.get(f"int8.{kind}", preset.size_mb.get(f"pruned.{kind}")))
        and (before := preset.size_mb.get(f"float.{kind}"))
    ]
    timed = preset.latency_ms
    times = [timed[key] for key in ("float", "pruned", "int8") if key in timed]
    if timed.get("vnni") == "no" and "int8" in timed:
        times = []  # of int8 it says nothing that holds elsewhere
    title = f"`{results.recipe}`" if name == DEFAULT else f"`{results.recipe} --preset {name}`"
    if preset.verdict != "passed":
        title += f" (gates: {preset.gates})"
    return (
        title, cost, agreed, accuracy, ", ".join(sizes), " → ".join(f"{value:g}" for value in times),
        f"{preset.minutes:g}",
    )  # fmt: skip


def _told(what: str, figure: Figure | None, simulated: Figure | None) -> str:
    """The figure of the ONNX with its interval, then that of the simulated .nb."""
    if figure is None:
        return ""
    text = f"{what} {figure.value:.3f}"
    if figure.low is not None and figure.high is not None:
        text += f" [{figure.low:.3f}, {figure.high:.3f}]"
    return text if simulated is None else f"{text} / {simulated.value:.3f}"


def _figure(report: Report, target: str, figure: str) -> Figure:
    value = report.metrics[target][figure]
    assert value is not None  # asked for by the caller
    found = report.intervals.get(target, {}).get(figure)
    if found is None:
        n = report.metrics[target].get("n")
        return Figure(value=_digits(value, 4), n=int(n) if n is not None else None)
    return Figure(
        value=_digits(value, 4),
        low=_digits(found.low, 4),
        high=_digits(found.high, 4),
        n=found.n,
        by=found.method,
    )


def _digits(value: float, count: int) -> float:
    """Rounded to `count` decimals, and small numbers to as many digits: noise beyond is no change."""
    return round(value, count) if abs(value) >= 0.1 or value == 0 else float(f"{value:.{count - 1}g}") + 0.0


def _threads(count: int) -> str:
    return "one thread" if count == 1 else f"{count} threads"


def _default_first(name: str) -> tuple[bool, str]:
    return name != DEFAULT, name
