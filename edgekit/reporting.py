"""From what the stages measured to the report's data, and to the lines that a command prints."""

from __future__ import annotations

import datetime
import json
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import edgekit
from edgekit.stage_cache import ENGINES, Done

if TYPE_CHECKING:
    from edgekit.data.images import ImageSet
    from edgekit.quantization.analysis import Analysis
    from edgekit.recipe import Recipe
    from edgekit.report.schema import Report

_SHOWN = (
    "agreement_ap", "same_class", "top1_agreement", "top1_agreement_sure", "kl_divergence",
    "agreement_hmean", "agreement_hmean75", "agreement_exact", "agreement_cer", "ap", "ap_drop", "top1",
    "top1_drop", "hmean", "hmean75", "hmean_drop", "exact", "exact_drop", "cer", "cer_rise", "cosine",
    "sqnr_db", "max_abs_diff", "identical_answers", "size_ratio", "n",
)  # fmt: skip


def metric_lines(metrics: dict[str, dict[str, Any]]) -> list[str]:
    """One line per target: the metrics by the names that gates use."""
    width = max(len(name) for name in metrics)
    return [
        f"{name:{width}}  "
        + "  ".join(f"{key}={_number(found[key])}" for key in _SHOWN if found.get(key) is not None)
        for name, found in metrics.items()
    ]


def gate_lines(rows: list[dict[str, Any]]) -> list[str]:
    """One line per gate: held or failed, measured and asked for."""
    return [
        f"gate {'held  ' if row['passed'] else 'FAILED'} {row['target']} {row['metric']} {row['bound']}: "
        + (_number(row["measured"]) if row["measured"] is not None else row["note"])
        for row in rows
    ]


def analysis_lines(found: Analysis) -> list[str]:
    """The worst layers with a sentence each, and what the metric says of them."""
    from edgekit.quantization.diagnosis import SHOWN

    shown = found.layers[:SHOWN]
    width = max(len(layer.name) for layer in shown)
    lines = [
        f"{found.name}, {found.state}: {len(found.layers)} int8 layers, each alone, on {found.pictures} "
        "pictures; squared error of the outputs over their variance, SQNR in dB:",
        f"{'layer':{width}}  {'error':>8}  {'reads':>6}  {'weights':>7}  {'answers':>7}  {'MACs':>6}",
    ]
    for layer in shown:
        reads, weights, answers = (
            "exact" if value is None else f"{value:.1f}"
            for value in (layer.sqnr_input, layer.sqnr_weight, layer.sqnr_output)
        )
        share = f"{layer.macs / max(1, found.macs):.1%}"
        lines.append(
            f"{layer.name:{width}}  {layer.error:8.2g}  {reads:>6}  {weights:>7}  {answers:>7}  {share:>6}  "
            f"{layer.sentence}"
        )
    said = found.confirmation
    if said is not None:
        names = ", ".join(
            f"{name} {_number(value) if value is not None else 'not measured'}"
            for name, value in said.alone.items()
        )
        lines += [
            f"{said.metric} on {said.pictures} pictures, one of them int8 and all else float: {names}",
            f"all of them int8: error {said.error:.3g}, {_measured(said.metric, said.agreement)}; these "
            f"{len(said.names)} in float: error {said.error_without:.3g}, "
            f"{_measured(said.metric, said.agreement_without)}",
        ]
    return lines


def closing(report: Report, out: Path) -> list[str]:
    lines = []
    sizes = {file.role: file.bytes for file in report.files}
    for kind in ("onnx", "nb"):
        what = "int8" if f"int8.{kind}" in sizes else "fp32"
        ratio, after = report.metrics.get(f"{what}.{kind}", {}).get("size_ratio"), sizes.get(f"{what}.{kind}")
        if ratio and after:
            before = after / ratio
            lines.append(f".{kind}: {before / 1e6:.2f} MB -> {after / 1e6:.2f} MB {what} ({ratio:.2f} x)")
    if report.latency is not None:
        timing = report.latency
        times = " -> ".join(f"{name} {value:.1f} ms" for name, value in timing.times)
        lines.append(
            f"{timing.engine}, one thread, in turns: {times} ({timing.speedup:.2f} x as fast) on {timing.cpu}"
        )
        if timing.int8_ms is not None and report.default == "fp32.onnx":
            lines.append("int8 is slower than float here: the manifest's default is the float ONNX")
    return [*lines, f"{report.verdict}: {out} (open {out / 'report.html'})"]


def default_onnx(names: list[str], latency: dict[str, Any] | None) -> str | None:
    """The role of the ONNX file to run: int8.onnx, or fp32.onnx where int8 was measured to be slower on a
    processor whose int8 says something about a device's."""
    roles = [role for role in ("int8.onnx", "fp32.onnx") if any(name.endswith(role) for name in names)]
    told = {} if latency is None or latency.get("slow_int8") else latency
    if told.get("int8_ms", 0) > told.get("float_ms", 0):
        roles.reverse()
    return roles[0] if roles else None


def collect(
    recipe: Recipe,
    preset: str | None,
    exported: Path,
    converted: Path,
    measured: dict[str, Any],
    gates: list[dict[str, Any]],
    done: list[Done],
    calibration: ImageSet | None,
    evaluation: ImageSet,
) -> dict[str, Any]:
    """The report as `edgekit.report.schema.Report` wants it, without the bundle's files."""
    from edgekit import cpu, tried
    from edgekit.folder import ModelFolder
    from edgekit.program import cost
    from edgekit.quantization import analysis, rule, table

    quantized = (exported / table.FILE).is_file()
    model = ModelFolder.open(exported)
    program = model.read()
    layers = table.load(exported).layers if quantized else rule.layers(program, ["*"])
    in_onnx = table.layers_of(layers, "onnx")
    macs = sum(layer.macs for layer in layers)
    lineage = model.info.lineage
    pruned = next((entry for entry in lineage if entry.get("stage") == "prune"), None)
    kernels = json.loads((converted / "convert.json").read_text())["kernels"]
    int8_nb = f"{recipe.name}.int8.nb"
    not_executed = []
    notes = []
    if int8_nb in kernels:
        convolutions = [k for k in kernels[int8_nb] if k.startswith(("conv2d/", "depthwise_conv2d/", "fc/"))]
        told = ", ".join(f"{kernels[int8_nb][k]} x {k}" for k in convolutions)
        not_executed.append(
            f"{int8_nb}: converted, not executed here. Paddle Lite's int8 kernels are for ARM, and no ARM "
            f"library was given; int8.paddle is Paddle's simulation of the same program. Its kernels: {told}."
        )
        notes.append(
            "int8.nb quantizes the inputs and weights of its int8 layers; int8.onnx quantizes the outputs "
            "of its int8 convolutions too: ONNX Runtime has no integer convolution with a float output."
        )
    if f"{recipe.name}.fp32.nb" in kernels:
        not_executed.append(
            f"{recipe.name}.fp32.nb: its x86 twin was executed here instead; ARM code was not."
        )
    if cpu.slow_int8():
        notes.append(f"{cpu.NO_VNNI[0].upper()}{cpu.NO_VNNI[1:]}.")
    analysed = analysis.load(exported) if quantized else None
    default = default_onnx([path.name for path in converted.glob("*.onnx")], measured["latency"])
    only = {}
    if quantized:
        scales = table.load(exported).of("onnx")
        inputs = {layer.input for layer in scales.quantized}
        outputs = {layer.relu or layer.output for layer in scales.quantized if layer.int8_output}
        only = {"int8.onnx": sorted(outputs - inputs), "int8.nb": []}
    return {
        "name": recipe.name,
        "recipe": recipe.name,
        "preset": preset,
        "edgekit_version": edgekit.__version__,
        "commit": _commit(),
        "host": cpu.described(),
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "task": recipe.task,
        "verdict": "passed" if all(row["passed"] for row in gates) else "failed",
        "gates": gates,
        "metrics": measured["metrics"],
        "intervals": measured["intervals"],
        "outputs": measured["outputs"],
        "latency": measured["latency"],
        "default": default,
        "model": {
            "params": cost.parameter_count(program),
            "macs": macs,
            "params_before": pruned["params"][0] if pruned is not None else None,
            "macs_before": pruned["macs"][0] if pruned is not None else None,
            "int8_macs_share": sum(layer.macs for layer in in_onnx if layer.int8) / max(1, macs)
            if quantized
            else 0,
            "layers_total": len(layers),
            "layers_int8": sum(layer.int8 for layer in in_onnx) if quantized else 0,
        },
        "layers": [
            layer.model_dump(include={"name", "type", "macs", "params", "int8", "only", "reason"})
            for layer in layers
        ],
        "analysis": analysed,
        "machine": measured["machine"],
        "agreement": measured["agreement"],
        "judged": measured["judged"],
        "pictures": measured["pictures"],
        "attempts": tried.attempts(lineage),
        "alternatives": tried.alternatives(layers, analysed, recipe.quantize) if recipe.quantize else [],
        "groups": tried.groups(
            lineage, next((d.path / "sensitivity.json" for d in done if d.stage == "prune"), None)
        ),
        "lineage": lineage,
        "tensors_only": only,
        "stages": [
            {"name": d.stage, "seconds": d.seconds, "cached": d.cached, "key": d.key, "summary": d.summary}
            for d in done
        ],
        "data": {
            "calibration": _pictures(calibration, recipe.data.seed) if calibration is not None else None,
            "evaluation": _pictures(evaluation, recipe.data.seed),
        },
        "not_executed": not_executed,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in ENGINES}},
        "seed": recipe.data.seed,
        "notes": notes,
    }


def _pictures(images: ImageSet, seed: int) -> dict[str, Any]:
    return {
        "name": images.name,
        "n": len(images.paths),
        "digest": images.digest,
        "origin": images.origin,
        "kind": images.kind,
        "seed": seed if images.kind != "folder" else None,
    }


def _commit() -> str | None:
    """The commit of the source checkout that this package runs from, with + where files differ from it."""
    folder = Path(edgekit.__file__).resolve().parents[1]
    if not (folder / ".git").exists():
        return None

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _measured(metric: str, value: float | int | None) -> str:
    return f"{metric} {'not measured' if value is None else _number(value)}"


def _number(value: float | int) -> str:
    return str(value) if isinstance(value, int) else f"{value:.4g}"
