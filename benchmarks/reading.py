"""How long reading a page takes on one thread: float, int8 and the default, and which network takes it.

    python benchmarks/reading.py --bundle build/ppocrv3 --json reading.json

Without pages those of the rendered evaluation pages are read that hold 24 to 26 lines. The chains take turns.
Timed is everything from the decoded picture to the texts, on a machine that should have nothing else to do.
Processor time is told, too: where it is much less than the clock's, other work was in the way.
"""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

LINES = range(24, 27)
ROLES = {"detect": "det", "upside_down": "cls", "recognise": "rec"}


@click.command()
@click.argument("pages", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--bundle", "bundles", multiple=True, required=True, type=click.Path(path_type=Path))
@click.option("--runs", default=15, show_default=True)
@click.option("--json", "json_file", type=click.Path(path_type=Path))
def main(pages: tuple[Path, ...], bundles: tuple[Path, ...], runs: int, json_file: Path | None) -> None:
    import cv2

    from edgekit import cpu
    from edgekit.apps.bundles import open_bundles
    from edgekit.apps.reading import open_reader
    from edgekit.data.images import read_image

    cv2.setNumThreads(1)
    opened = open_bundles(bundles)
    readers = {
        "fp32": open_reader(opened, "fp32"),
        "int8": open_reader(opened, "int8"),
        "default": open_reader(opened, None),
    }
    rows = []
    for page in pages or rendered():
        row = {"page": page.name, **timed(read_image(page), readers, runs)}
        rows.append(row)
        for kind in readers:
            found = row[kind]
            networks = ", ".join(f"{role} {found[role]:.0f}" for role in ROLES.values() if role in found)
            print(
                f"{page.name}: {kind:7} {found['lines']} lines, {found['ms']:.0f} ms ({networks}), processor "
                f"{found['processor_ms']:.0f} ms, {row['fp32']['ms'] / found['ms']:.2f} x",
                flush=True,
            )
    parts = {role: f"{part.info.name} ({part.default})" for role, part in opened.roles().items()}
    said = {"cpu": cpu.model(), "load": os.getloadavg()[0], "runs": runs, "bundles": parts, "pages": rows}
    print(f"{said['cpu']}, one thread, median of {runs} runs in turns; load {said['load']:.1f}")
    if json_file is not None:
        json_file.write_text(json.dumps(said, indent=1) + "\n")


def rendered() -> list[Path]:
    """Evaluation pages with so many lines."""
    from edgekit.cachedir import cache_dir
    from edgekit.data.prepare import DataSpec, prepare
    from edgekit.tasks.text_detection import read_labels

    made = prepare(DataSpec(kind="rendered_pages"), "evaluation", 80, 0, cache_dir(), False, print)
    assert made.annotations is not None
    labels = read_labels(made.annotations)
    return [path for path in made.paths if len(labels[path.name]) in LINES]


def timed(image: Any, readers: dict[Any, Any], runs: int) -> dict[str, Any]:
    """Median milliseconds of each chain, in all and by network; the chains take turns within one run."""
    from edgekit.apps.reading import read

    spent: dict[str, float] = {}

    def watched(role: str, run: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def watch(picture: Any) -> Any:
            start = time.perf_counter()
            answer = run(picture)
            spent[role] = spent.get(role, 0.0) + (time.perf_counter() - start) * 1e3
            return answer

        return watch

    chains = {
        kind: dataclasses.replace(
            reader,
            **{
                name: watched(role, getattr(reader, name))
                for name, role in ROLES.items()
                if getattr(reader, name) is not None
            },
        )
        for kind, reader in readers.items()
    }
    times: dict[str, list[dict[str, float]]] = {kind: [] for kind in readers}
    lines = {}
    for turn in range(runs + 1):
        for kind, chain in chains.items():
            spent.clear()
            start, worked = time.perf_counter(), time.process_time()
            lines[kind] = len(read(image, chain))
            spent["ms"] = (time.perf_counter() - start) * 1e3
            spent["processor_ms"] = (time.process_time() - worked) * 1e3
            if turn:  # the first warms up
                times[kind].append(dict(spent))
    return {
        kind: {
            "lines": lines[kind],
            **{name: round(statistics.median(run[name] for run in of), 2) for name in of[0]},
        }
        for kind, of in times.items()
    }


if __name__ == "__main__":
    main()
