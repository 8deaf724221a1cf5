"""What a command prints and returns, and how the verdict over gates is told."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from edgekit.errors import EdgekitError
from edgekit.stage_cache import Done


@dataclass(frozen=True)
class Result:
    """What a command prints and what it writes as JSON."""

    lines: list[str]
    values: dict[str, Any] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    def text(self) -> str:
        return "\n".join(self.lines)

    def as_dict(self) -> dict[str, Any]:
        return self.values

    def raise_for_gates(self) -> None:
        if self.failed:
            raise EdgekitError("EK301", f"{len(self.failed)} gate(s) failed: {'; '.join(self.failed)}.")


def measured(validated: Done) -> dict[str, Any]:
    measured: dict[str, Any] = json.loads((validated.path / "validation.json").read_text())
    return measured


def verdict(rows: list[dict[str, Any]]) -> str:
    return "passed" if all(row["passed"] for row in rows) else "failed"


def failed(rows: list[dict[str, Any]]) -> list[str]:
    def told(value: float | None) -> str:
        return "not measured" if value is None else f"{value:.4g}"

    return [
        f"{row['target']} {row['metric']} is {told(row['measured'])}, asked for {row['bound']}"
        for row in rows
        if not row["passed"]
    ]
