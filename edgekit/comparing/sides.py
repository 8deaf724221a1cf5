"""What two bundles' reports say, row by row, the two of a row being the same thing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from edgekit import results, significance
from edgekit.apps import bundles
from edgekit.apps.bundles import Bundle
from edgekit.errors import EdgekitError
from edgekit.quantization.analysis import LayerFigures
from edgekit.report.schema import Layer, Measured, Report
from edgekit.significance import Difference
from edgekit.tasks import outcomes
from edgekit.tasks.outcomes import Kept

T = TypeVar("T")
Row = dict[str, Any]

# Targets, as `edgekit.stages.validate` calls them; that would import Paddle.
ORIGINAL, FLOAT = "original", "fp32.paddle"
ROLES = ("fp32.onnx", "int8.onnx", "fp32.nb", "int8.nb")
# How many pictures, boxes, lines or characters a figure is of.
_COUNTS = frozenset({"n", "ap_n", "agreement_n", "sure_n", "hmean_n", "cer_n"})


@dataclass(frozen=True)
class Side:
    """One of the two. `kept`: what each picture contributed to its figures, None in older bundles."""

    path: Path
    bundle: Bundle
    report: Report
    kept: Kept | None

    @property
    def fetched(self) -> Any:
        """The sha256 of the float original's parameters; None when the lineage does not say."""
        return next((e.get("pdiparams") for e in self.bundle.info.lineage if e.get("stage") == "fetch"), None)

    @property
    def pictures(self) -> str | None:
        """The digest of the pictures that its figures are of."""
        data = self.report.data.evaluation
        return data.digest if data is not None else None

    def metrics(self) -> dict[str, dict[str, Measured]]:
        """By what a target is, whatever it is called: `fp32.paddle` is the float original, or its pruned
        successor beside it."""
        return {_meant(self.report.metrics, name): values for name, values in self.report.metrics.items()}


def open_both(first: Path, second: Path) -> tuple[Side, Side]:
    """Raises EK107 for a combined bundle, EK401, EK402 and EK409 for a damaged one, EK412 for other tasks."""
    one, other = (_single(path) for path in (first, second))
    if one.info.task != other.info.task:
        raise EdgekitError(
            "EK412",
            f"{first} is for {one.info.task}, {second} for {other.info.task}: bundles of one task can be "
            "compared.",
        )
    a, b = (
        Side(each.path, each, results.report_of(each), outcomes.load(each.info, each.path))
        for each in (one, other)
    )
    return a, b


def _single(path: Path) -> Bundle:
    opened = bundles.open_bundles([path]).bundles
    if len(opened) != 1:
        raise EdgekitError("EK107", f"{path} is a combined bundle: compare its parts one by one.")
    return opened[0]


def costs(a: Side, b: Side) -> list[Row]:
    """Bytes of the files, multiply-accumulates and parameters of one picture, what of it is int8, and
    milliseconds; `what`, `unit`, `a`, `b`."""
    sizes = [{file.role: file.bytes for file in side.report.files} for side in (a, b)]
    rows = [_row(role, "bytes", *(each.get(role) for each in sizes)) for role in ROLES]
    models = [side.report.model.model_dump() if side.report.model else {} for side in (a, b)]
    for name, unit, key in (
        ("MACs", "count", "macs"), ("parameters", "count", "params"),
        ("MACs in int8", "share", "int8_macs_share"), ("layers", "number", "layers_total"),
        ("layers in int8", "number", "layers_int8"),
    ):  # fmt: skip
        rows.append(_row(name, unit, *(each.get(key) for each in models)))
    times = [dict(side.report.latency.times) if side.report.latency else {} for side in (a, b)]
    # Of a pruned bundle `float` is the pruned one, beside its original.
    times = [
        {"float": each["original"], "pruned": each["float"], **_only(each, "int8")}
        if "original" in each
        else each
        for each in times
    ]
    rows += [
        _row(f"time, {name}", "ms", *(t.get(name) for t in times)) for name in ("float", "pruned", "int8")
    ]
    return [row for row in rows if (row["a"], row["b"]) != (None, None)]


def gates(a: Side, b: Side) -> list[Row]:
    """`target`, `metric`, and for each side its gate: bound, measured value, whether it holds; or None."""
    of = [
        {
            (_meant(side.report.metrics, gate.target), gate.metric): gate.model_dump(
                include={"bound", "measured", "passed", "note"}
            )
            for gate in side.report.gates
        }
        for side in (a, b)
    ]
    return [
        {"target": target, "metric": metric, "a": one, "b": other}
        for (target, metric), one, other in _aligned(*of)
    ]


def figures(a: Side, b: Side) -> list[Row]:
    """Every figure of every target: `a`, `b`, their `difference` as a `significance.Difference` (None where
    no interval of it is known), and as `verdict` what B is beside A: better or worse only beyond it."""
    metrics = [side.metrics() for side in (a, b)]
    rows: list[Row] = []
    for target, one, other in _aligned(*metrics):
        for figure, before, after in _aligned(one or {}, other or {}):
            if figure in _COUNTS:
                continue
            change = None
            if before is not None and after is not None:
                change = _picture_by_picture(a, b, target, figure) or _by_intervals(a, b, target, figure)
            rows.append(
                {
                    "target": target, "figure": figure, "a": before, "b": after,
                    "difference": asdict(change) if change is not None else None,
                    "verdict": _verdict(figure, before, after, change),
                }
            )  # fmt: skip
    return rows


def same_pictures(a: Side, b: Side) -> bool:
    """Whether figures can be compared picture by picture."""
    if a.kept is None or b.kept is None or a.pictures is None:
        return False
    return a.pictures == b.pictures and a.kept.names == b.kept.names


def layers(a: Side, b: Side) -> list[Row]:
    """Layers that both have: whether each is int8, and, where both were analysed, the error of the network's
    outputs with this layer alone in int8 and the SQNR of its answers in dB. First those that are int8 in one
    of them only, then the largest change of error."""
    of = [{(each.name, each.type): each for each in side.report.layers} for side in (a, b)]
    analysed: list[dict[tuple[str, str], LayerFigures]] = [
        {(each.name, each.type): each for each in side.report.analysis.layers} if side.report.analysis else {}
        for side in (a, b)
    ]
    rows = []
    for key in of[0].keys() & of[1].keys():
        rows.append(
            {
                "layer": key[0], "type": key[1],
                **{name: _layer(here[key], figures.get(key))
                   for name, here, figures in zip("ab", of, analysed, strict=True)},
            }
        )  # fmt: skip
    return sorted(rows, key=lambda row: (row["a"]["int8"] == row["b"]["int8"], -_change(row), row["layer"]))


def notes(a: Side, b: Side) -> list[str]:
    """What to know before the rows are read."""
    found = []
    if a.fetched is None or a.fetched != b.fetched:
        found.append(
            "Agreement is with each bundle's own float original, and these are not known to be the same."
        )
    if a.bundle.info.labels != b.bundle.info.labels:
        found.append("The labels differ.")
    for name, side in (("A", a), ("B", b)):
        if side.kept is None:
            found.append(
                f"{name} has no {outcomes.FILE}: differences are not known picture by picture, and have "
                "an interval only where both reports have."
            )
        if side.report.analysis is None:
            found.append(f"{name} has no analysis of its layers.")
    if a.pictures is None or a.pictures != b.pictures:
        found.append("The figures are of different pictures: intervals are wider than of the same ones.")
    cpus = {side.report.latency.cpu for side in (a, b) if side.report.latency is not None}
    if len(cpus) > 1:
        found.append("Times are of different processors.")
    elif cpus:
        found.append("Times were not taken in turns: each is of its bundle's own run.")
    return found


def _meant(targets: Iterable[str], name: str) -> str:
    if ORIGINAL not in targets:
        return "float" if name == FLOAT else name
    return {ORIGINAL: "float", FLOAT: "pruned"}.get(name, name)


def _called(side: Side, meant: str) -> str:
    return next((name for name in side.report.metrics if _meant(side.report.metrics, name) == meant), meant)


def _picture_by_picture(a: Side, b: Side, target: str, figure: str) -> Difference | None:
    if not same_pictures(a, b) or a.kept is None or b.kept is None:
        return None
    one, other = (
        side.kept.targets.get(_called(side, target), {}).get(figure) if side.kept is not None else None
        for side in (a, b)
    )
    if one is None or other is None or one.n != other.n:
        return None
    return significance.difference(one, other)


def _by_intervals(a: Side, b: Side, target: str, figure: str) -> Difference | None:
    # What is lost to the float original: less is better there, and the figure itself has a row.
    if figure.endswith(("_drop", "_rise")):
        return None
    found = []
    for side in (a, b):
        name = _called(side, target)
        value = side.report.metrics[name][figure]
        interval = side.report.intervals.get(name, {}).get(figure)
        if interval is None or value is None:
            return None
        known = significance.Interval(
            interval.low, interval.high, interval.level, interval.n,
            "Wilson" if interval.method == "Wilson" else "bootstrap",
        )  # fmt: skip
        found.append((float(value), known))
    (before, around_before), (after, around_after) = found
    return significance.apart(before, around_before, after, around_after)


def _verdict(figure: str, before: Measured, after: Measured, change: Difference | None) -> str:
    if before is None and after is None:
        return "not measured"
    if before is None or after is None:
        return f"only in {'B' if before is None else 'A'}"
    if change is None:
        return "equal" if before == after else "no interval"
    if change.method == "identical":
        return "identical"
    return "better" if change.is_better(figure) else "worse" if change.is_worse(figure) else "within"


def _layer(layer: Layer, figures: LayerFigures | None) -> Row:
    return {
        "int8": layer.int8,
        "reason": layer.reason,
        "error": figures.error if figures is not None else None,
        "sqnr_db": figures.sqnr_output if figures is not None else None,
    }


def _change(row: Row) -> float:
    before, after = row["a"]["error"], row["b"]["error"]
    return 0.0 if before is None or after is None else abs(after - before)


def _row(what: str, unit: str, a: Any, b: Any) -> Row:
    return {"what": what, "unit": unit, "a": a, "b": b}


def _only(values: dict[str, float], name: str) -> dict[str, float]:
    return {name: values[name]} if name in values else {}


def _aligned(a: dict[Any, T], b: dict[Any, T]) -> Iterator[tuple[Any, T | None, T | None]]:
    """By key, in the order of the first, then what only the second has."""
    for key in dict.fromkeys((*a, *b)):
        yield key, a.get(key), b.get(key)
