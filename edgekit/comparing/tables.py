"""The rows of a comparison as tables for a terminal, or for a log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from edgekit.comparing.sides import Row
from edgekit.console import printed
from edgekit.report import text

MOST_LAYERS = 10
_NOISE = 0.01  # of an error: what sums in another order, or other neighbours, change
_UNITS: dict[str, Callable[[Any], str]] = {
    "bytes": text.size, "count": text.amount, "share": text.percent, "number": str, "ms": text.milliseconds,
}  # fmt: skip
_COLORS = {"worse": "bold red", "better": "green"}
_ALIKE = ("identical", "equal", "not measured")
_SAYS = {"within": "within the interval", "no interval": "no interval known"}


def costs(rows: Sequence[Row]) -> str:
    told = []
    for row in rows:
        a, b, show = row["a"], row["b"], _UNITS[row["unit"]]
        ratio = f"{b / a:.3g} x" if a and b is not None and row["unit"] != "share" else ""
        told.append((row["what"], *("" if each is None else show(each) for each in (a, b)), ratio))
    return _table("size and cost", ("", "A", "B", "B / A"), told, numbers=(1, 2, 3))


def gates(rows: Sequence[Row]) -> str:
    told = []
    for row in rows:
        sides = [row["a"], row["b"]]
        bounds = dict.fromkeys(side["bound"] for side in sides if side is not None)
        told.append(
            (f"{row['target']} {row['metric']}", ", then ".join(bounds), *(_gate(side) for side in sides))
        )
    return _table("gates", ("", "bound", "A", "B"), told)


def figures(rows: Sequence[Row]) -> str:
    told = []
    apart = [row for row in rows if row["verdict"] not in _ALIKE]
    if not apart:
        return f"figures: all {len(rows)} are the same"
    for row in apart:
        change, verdict = row["difference"], row["verdict"]
        moved = ""
        if change is None and None not in (row["a"], row["b"]):
            moved = f"{row['b'] - row['a']:+.4g}"
        elif change is not None:
            p = f", p = {change['p']:.2g}" if change["p"] is not None else ""
            moved = (
                f"{change['value']:+.4f} [{change['low']:+.4f}, {change['high']:+.4f}] "
                f"({change['level']:.0%}, n = {change['n']}, {change['method']}{p})"
            )
        told.append(
            (
                f"{row['target']} {row['figure']}", _number(row["a"]), _number(row["b"]), moved,
                (_SAYS.get(verdict, verdict), _COLORS.get(verdict, "dim")),
            )
        )  # fmt: skip
    return _table(
        f"figures ({len(apart)} of {len(rows)} differ)", ("", "A", "B", "B - A", "B is"), told, numbers=(1, 2)
    )


def layers(rows: Sequence[Row]) -> str:
    """Those that are int8 in one bundle only, and those whose error has changed."""
    apart = [row for row in rows if row["a"]["int8"] != row["b"]["int8"] or _moved(row)]
    told = [
        (
            row["layer"], row["type"],
            *("int8" if row[side]["int8"] else "float" for side in "ab"),
            *("" if row[side]["error"] is None else f"{row[side]['error']:.3g}" for side in "ab"),
            *("" if row[side]["sqnr_db"] is None else f"{row[side]['sqnr_db']:.1f}" for side in "ab"),
        )
        for row in apart[:MOST_LAYERS]
    ]  # fmt: skip
    if not told:
        return f"layers: none of {len(rows)} differs"
    columns = ("", "type", "A", "B", "error, A", "B", "SQNR, A", "B")
    more = f", {len(told)} of them here" if len(told) < len(apart) else ""
    title = (
        f"layers ({len(apart)} of {len(rows)} differ{more}; the error of the network's outputs with the "
        "layer alone in int8, and the SQNR of its answers in dB)"
    )
    return _table(title, columns, told, numbers=(4, 5, 6, 7))


def weights(rows: Sequence[Row]) -> str:
    """Layers of two models whose shape, precision or weights differ."""

    def told(side: Row | None) -> str:
        return "" if side is None else f"{side['shape']} {'int8' if side['int8'] else 'float'}"

    apart = [row for row in rows if row["a"] != row["b"] or row["sqnr_db"] is not None]
    if not apart:
        return f"layers: none of {len(rows)} differs"
    shown = [
        (
            row["layer"],
            row["type"],
            told(row["a"]),
            told(row["b"]),
            "" if row["sqnr_db"] is None else f"{row['sqnr_db']:.1f}",
        )
        for row in apart[:MOST_LAYERS]
    ]
    more = f", {len(shown)} of them here" if len(shown) < len(apart) else ""
    title = (
        f"layers ({len(apart)} of {len(rows)} differ{more}; the SQNR of B's weights in dB, A's the signal)"
    )
    return _table(title, ("", "type", "A", "B", "SQNR"), shown, numbers=(4,))


def pictures(rows: Sequence[Row]) -> str:
    told = [(row["picture"], f"{row['metric']} {row['value']:.4g}", row["file"]) for row in rows]
    return _table("answered most differently", ("", "", "drawn"), told)


def _moved(row: Row) -> bool:
    before, after = row["a"]["error"], row["b"]["error"]
    if before is None or after is None:
        return before is not after
    return bool(abs(after - before) > _NOISE * max(before, after))


def _gate(side: Row | None) -> Any:
    if side is None:
        return ""
    said = _number(side["measured"]) if side["measured"] is not None else side["note"]
    return said if side["passed"] else (f"{said}, does not hold", _COLORS["worse"])


def _number(value: float | int | None) -> str:
    return "" if value is None else text.number(value)


def _table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], numbers: Sequence[int] = ()
) -> str:
    """A cell is a text, or a text and its style."""
    from rich.table import Table
    from rich.text import Text

    table = Table(show_edge=False, pad_edge=False)
    for k, name in enumerate(columns):
        table.add_column(name, overflow="fold", justify="right" if k in numbers else "left")
    for row in rows:
        table.add_row(
            *(Text(cell) if isinstance(cell, str) else Text(cell[0], style=cell[1]) for cell in row)
        )
    return f"{title}\n{printed(table)}"
