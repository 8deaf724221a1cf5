"""What int8 costs, layer by layer, as data: `analysis.json`, which the report and `edgekit analyze` show."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from edgekit.errors import EdgekitError
from edgekit.folder import Strict

FILE = "analysis.json"
SCHEMA = 1


class Channels(Strict):
    """max |x| per channel of what a layer reads; channels that are zero throughout are not `alive`."""

    count: int
    alive: int
    largest: float
    median: float  # of those that are alive
    few: int  # alive, with fewer than 8 of the 127 levels
    spared: float  # share of the rounding error, weighed by the weights, that a scale for each would spare


class LayerFigures(Strict):
    """A layer that was int8 alone, everything else in float.

    SQNR is in dB, over all values; None where nothing differs. Shares are in 0..1.
    """

    name: str
    type: str
    macs: int
    int8: bool  # False: it was then left in float
    error: float  # of the network's outputs: squared, over their variance
    sqnr_input: float | None
    sqnr_weight: float | None  # against the float weight, rounded as it was when errors were measured
    sqnr_output: float | None
    # Of the squared error of what the layer answers, the share that is there with float weights; None where
    # there is none.
    from_input: float | None
    threshold: float
    maximum: float
    evened: bool  # by channel factors; ranges and counts are those behind them
    clipped: float  # share of values beyond the threshold
    clipping: float  # share of the squared error of what it reads, weighed by the weights, that is made there
    zeroed: float  # share of the values that round to zero without being zero
    channels: Channels
    weights_zeroed: float
    silent: int  # input channels whose weights all round to zero without being zero
    sentence: str
    # Of the worst layers only: counts of |x| in equal bins over [0, maximum], and max |x| per channel.
    histogram: list[int] | None = None
    ranges: list[float] | None = None


class FloatLayer(Strict):
    """A layer that was not int8 to begin with."""

    name: str
    macs: int
    reason: str


class Confirmation(Strict):
    """The same question asked of the whole network and of the task's metric: agreement with float."""

    metric: str
    pictures: int
    names: list[str]  # the worst layers
    error: float  # every int8 layer int8
    agreement: float | int | None
    error_without: float  # `names` in float
    agreement_without: float | int | None
    alone: dict[str, float | int | None]  # each of `names` alone in int8: the agreement that is left


class Analysis(Strict):
    """`layers` are ranked by their error, the worst first."""

    schema_version: int = SCHEMA
    name: str
    task: str
    state: str  # what was analysed, in words
    edgekit_version: str
    pictures: int
    macs: int  # of all layers, one picture
    layers: list[LayerFigures]
    floats: list[FloatLayer]
    confirmation: Confirmation | None = None

    def save(self, folder: Path) -> None:
        (folder / FILE).write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")


def load(folder: Path) -> Analysis | None:
    """None where the folder has none. Raises EK409 when it cannot be used."""
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        return Analysis.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, ValueError) as error:
        raise EdgekitError("EK409", f"{path} cannot be used: {error}") from error
