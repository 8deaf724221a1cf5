"""`edgekit bench`: a bundle's self-test, then its times, on a device or on this machine."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgekit import bundle as bundle_files
from edgekit.apps import bundles as opening
from edgekit.apps.bundles import Bundle
from edgekit.backends import boards
from edgekit.backends.arm import parts, runner
from edgekit.backends.arm.parts import Log, Machine
from edgekit.backends.boards import Device
from edgekit.backends.child import last_words
from edgekit.errors import EdgekitError
from edgekit.report.schema import Board, Timing
from edgekit.result import Result

THREADS = (1, 2, 4)
_SELF_TEST_FAILED = 3
_HEADS = ("threads", "min", "median", "p90", "before", "after", "peak MB")
_KNOWN: dict[str, Machine] = {"x86_64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}


def bench(
    path: Path, device: Device, *, kinds: Sequence[str], threads: Sequence[int], warmup: int, repeats: int,
    into_report: bool, log: Log,
) -> Result:  # fmt: skip
    """Push the runner and the bundle, hold it against its golden vectors, and time float and int8.

    Batch 1, the first golden picture, on big cores where there are any. What answers wrongly is not timed.
    Raises EK304 (the self-test fails there), EK401, EK402, EK409 (no such bundle), EK107 (a combined one),
    EK403, EK410, EK502 (no runner can be built), EK504 (the device cannot be reached, or fails).
    """
    found = opening.open_bundles([path]).bundles
    if len(found) != 1:
        raise EdgekitError("EK107", f"{path} is a combined bundle: bench one of its folders.")
    bundle = found[0]
    asked = [kind for kind in bundle.onnx if not kinds or kind in kinds]
    with _ready(bundle, device, log) as (words, folder):
        for kind in asked:
            log(f"self-test of {kind} on {device.name}")
            _self_test(device, words, folder, kind)
        cores = boards.big_cores(device)
        timings = []
        for kind in asked:
            for count in threads:
                log(f"timing {kind} on {count} thread{'s' if count != 1 else ''}")
                options = ["--threads", str(count), "--warmup", str(warmup), "--repeats", str(repeats)]
                timings.append(
                    _run(device, [*boards.pinned(cores), *words, "bench", folder, "--model", kind, *options])
                )
        board = Board(
            machine=boards.machine(device),
            model=boards.model(device),
            through=device.name.partition(":")[0],
            cores=cores,
            engine=timings[0]["engine"],
            warmup=warmup,
            repeats=repeats,
            timings=[Timing(**{name: row[name] for name in Timing.model_fields}) for row in timings],
        )
    lines = _lines(bundle.info.name, board)
    if into_report:
        bundle_files.write_board(path, board)
        lines.append(f"written into {path / 'report.html'}, report.json and manifest.json")
    return Result(lines, {"bundle": str(path), **board.model_dump(mode="json")})


@contextmanager
def _ready(bundle: Bundle, device: Device, log: Log) -> Iterator[tuple[list[str], str]]:
    """The words that start the runner there, and the bundle's folder there; both are removed at the end."""
    said = boards.machine(device) if device.shell else platform.machine()
    if said not in _KNOWN:
        raise EdgekitError(
            "EK504", f"{device.name} says that it is {said}: the runner is for 64-bit ARM (and x86-64)."
        )
    kind = _KNOWN[said]
    place = runner.build(kind, log)
    if not device.shell:
        yield [str(place / runner.NAME)], str(bundle.path.resolve())
        return
    with_system = kind == "aarch64"
    sources = {"runner": place, "bundle": bundle.path}
    if with_system:
        sources |= boards.system_files(parts.tools(log) / "usr/aarch64-linux-gnu")
    folder = boards.make_folder(device)
    try:
        log(f"copying runner and bundle to {device.name}:{folder}")
        boards.push(device, sources, folder)
        yield boards.started(folder, f"runner/{runner.NAME}", with_system), f"{folder}/bundle"
    finally:
        boards.remove_folder(device, folder)


def _self_test(device: Device, words: list[str], folder: str, kind: str) -> None:
    found = _run(device, [*words, "self-test", folder, "--model", kind], allowed=(0, _SELF_TEST_FAILED))
    if (why := found["failed"]) is not None:
        raise EdgekitError(
            "EK304",
            f"{found['bundle']} {kind} on {device.name} does not answer as its golden vectors say, so it "
            f"was not timed. {why['stage']}: {why['where']}, {why['why']}.",
        )


def _run(device: Device, words: list[str], allowed: Sequence[int] = (0,)) -> dict[str, Any]:
    done = boards.run(device, words)
    try:
        if done.returncode not in allowed:
            raise ValueError(f"exit {done.returncode}")
        found = json.loads(done.stdout)
    except ValueError as error:
        said = last_words(done.stderr) or last_words(done.stdout) or "nothing"
        raise EdgekitError(
            "EK504", f"{runner.NAME} fails on {device.name} ({error}) and says: {said}"
        ) from error
    assert isinstance(found, dict)  # the runner prints one object
    return found


def _lines(name: str, board: Board) -> list[str]:
    where = f"{board.model or 'a device'} ({board.machine})"
    on = f", cores {' '.join(map(str, board.cores))}" if board.cores else ""
    lines = [
        f"{name} on {where}{on}, {board.engine}, warm-up {board.warmup}, {board.repeats} repeats, ms:",
        f"{'':10}" + "".join(f"{head:>9}" for head in _HEADS),
    ]
    for row in board.timings:
        figures = (row.min_ms, row.median_ms, row.p90_ms, row.preprocess_median_ms, row.postprocess_median_ms)
        told = " ".join(f"{value:8.2f}" for value in figures)
        lines.append(f"{row.model:10} {row.threads:8} {told} {row.peak_mb:8.0f}")
    return lines
