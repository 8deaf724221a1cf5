"""The report as data: what the validate and bundle stages fill in and all writers read."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from edgekit.quantization.analysis import Analysis


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


# JSON has no nan or infinity: they become None, which readers show as "not measured".
Measured = Annotated[float | int | None, BeforeValidator(_finite)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Gate(Strict):
    """One promise of the recipe. Not measured and yet passed means: it did not apply, `note` says why."""

    metric: str
    target: str  # a key of Report.metrics, such as int8.onnx
    bound: str  # ">= 0.95"
    measured: Measured
    passed: bool
    note: str = ""


class Interval(Strict):
    """Where a figure lies with the probability `level`, for pictures like the `n` that were seen.

    `method`: Wilson's score interval of a share, the bootstrap over pictures, or the paired bootstrap of a
    difference; see edgekit/significance.py.
    """

    low: float
    high: float
    level: float = Field(gt=0, lt=1)
    n: int = Field(ge=1)
    method: str


class Output(Strict):
    """One output tensor of a target against the float program, over all evaluation pictures."""

    target: str
    output: str
    cosine: Measured
    sqnr_db: Measured  # None also where nothing differs: the ratio has no bound
    max_abs_diff: Measured
    values: int = Field(ge=0)  # how many values were compared


class File(Strict):
    """A file of the bundle. `role` is the target that it is (fp32.onnx, int8.onnx, int8.nb) or labels, ..."""

    name: str
    role: str
    bytes: int = Field(ge=0)
    sha256: str


class Latency(Strict):
    """Milliseconds per picture, the median of `runs`, measured on the machine that wrote the report."""

    engine: str
    threads: int = Field(ge=1)
    runs: int = Field(ge=1)
    original_ms: float | None = Field(default=None, gt=0)  # of the float original, when pruned
    float_ms: float = Field(gt=0)
    int8_ms: float | None = Field(default=None, gt=0)
    speedup: float = Field(gt=0)  # of the last over the first
    cpu: str
    vnni: bool
    # x86 without VNNI: the int8 time is that of exact kernels, much slower than what ARM and newer x86 have.
    slow_int8: bool = False

    @property
    def times(self) -> list[tuple[str, float]]:
        """What was timed and its milliseconds, the one to be compared with first."""
        found = (("original", self.original_ms), ("float", self.float_ms), ("int8", self.int8_ms))
        return [(name, value) for name, value in found if value is not None]


class Machine(Strict):
    """The machine that measured. `features`: those of the CPU's flags that kernels choose by."""

    cpu: str
    cores: int = Field(ge=1)
    features: list[str]
    system: str


class Pair(Strict):
    """Agreement of the answers of `judged` with those of `truth`, over all evaluation pictures."""

    truth: str
    judged: str
    value: Measured


class Found(Strict):
    """One thing in an answer; `differs`: the other answer lacks it."""

    label: str
    score: Measured
    points: list[tuple[float, float]] | None  # corners, in pixels of the small picture
    differs: bool


class Picture(Strict):
    """An evaluation picture with the float original's answer and that of `Report.judged`."""

    name: str
    metric: str  # of this picture alone
    value: Measured
    width: int = Field(ge=1)
    height: int = Field(ge=1)
    reference: list[Found]
    judged: list[Found]
    jpeg: str = Field(pattern="^[A-Za-z0-9+/]+=*$")  # the small picture, in base64


class Attempt(Strict):
    """Something that was done to the network, and the error of its outputs after it: squared, over their
    variance, on pictures held out. Not `kept`: it made the error larger and was undone."""

    stage: str
    step: str
    error: Measured
    kept: bool = True


class Alternative(Strict):
    """`floats` layers left in float by the rescue, `added` the last of them: what int8 was predicted to cost
    the outputs then, and the shares of multiply-accumulates and weights that are float."""

    floats: int = Field(ge=0)
    added: str | None
    error: Measured
    macs: float = Field(ge=0, le=1)
    params: float = Field(ge=0, le=1)
    chosen: bool


class Group(Strict):
    """Channels that must go together; `removed` in each round of pruning. `losses`: share of the channels
    removed from the float network, the rest untouched, and the error of the outputs."""

    name: str
    channels: int = Field(ge=1)
    removed: list[int]
    losses: list[tuple[float, float]] = []

    @property
    def kept(self) -> int:
        return self.channels - sum(self.removed)

    @property
    def share(self) -> float:
        return self.kept / self.channels


class Instructions(Strict):
    """Executed instructions of one inference on an emulated ARM core, one thread, by kind (see
    edgekit/backends/arm/counting.py). `model`: fp32 or int8 of the bundle, or `original`: the float
    original of a pruned model."""

    model: str
    cpu: str
    counts: dict[str, int]

    @property
    def total(self) -> int:
        return sum(self.counts.values())


class SelfTest(Strict):
    """The golden vectors of a model on an emulated ARM core. `sqnr_db`: of the raw outputs against the
    golden ones, the worst of them (None: bit for bit), where `least_db` is asked for; `failed`: what
    differs first."""

    model: str
    cpu: str
    vectors: int = Field(ge=0)
    sqnr_db: Measured = None
    least_db: Measured = None
    failed: str | None = None


class Arm(Strict):
    """What was measured on emulated ARM cores; no times."""

    self_tests: list[SelfTest] = []
    costs: list[Instructions] = []


class Timing(Strict):
    """Milliseconds of one inference on the first golden picture, and of what comes before and after it; the
    largest memory of the process in 10^6 bytes."""

    model: str
    threads: int = Field(ge=1)
    min_ms: float = Field(ge=0)
    median_ms: float = Field(ge=0)
    p90_ms: float = Field(ge=0)
    preprocess_median_ms: float = Field(ge=0)
    postprocess_median_ms: float = Field(ge=0)
    peak_mb: float = Field(ge=0)


class Board(Strict):
    """A device that timed the bundle, after its self-test had passed there. `machine`: as uname -m says;
    `model`: what it calls itself; `through`: ssh, adb or this machine; `cores`: those it was kept on, none:
    any."""

    machine: str
    model: str
    through: str
    cores: list[int]
    engine: str
    warmup: int = Field(ge=0)
    repeats: int = Field(ge=1)
    timings: list[Timing]


class Model(Strict):
    params: int = Field(ge=0)
    macs: int = Field(ge=0)  # for one picture
    params_before: int | None = Field(default=None, ge=0)  # of the float original, when pruned
    macs_before: int | None = Field(default=None, ge=0)
    int8_macs_share: float = Field(ge=0, le=1)
    layers_total: int = Field(ge=0)
    layers_int8: int = Field(ge=0)


class Layer(Strict):
    """A layer with weights; `reason` says why it stayed float, `only` in which file it did not."""

    name: str
    type: str
    macs: int = Field(ge=0)
    params: int = Field(ge=0)
    int8: bool
    only: Literal["onnx", "lite"] | None = None
    reason: str = ""


class Stage(Strict):
    name: str
    seconds: float = Field(ge=0)
    cached: bool
    key: str  # the hash of what went in
    summary: str = ""


class DataSet(Strict):
    """`kind` and `seed` say how the pictures are made anew; kind folder: they are the user's own."""

    name: str
    n: int = Field(ge=0)
    digest: str
    origin: str
    kind: str | None = None
    seed: int | None = None


class Data(Strict):
    calibration: DataSet | None = None
    evaluation: DataSet | None = None


class Report(Strict):
    """`report.json`. Raises pydantic's ValidationError when built from a dict that does not fit."""

    name: str
    recipe: str
    preset: str | None = None
    edgekit_version: str
    commit: str | None = None  # of the source checkout that ran; None: an installed package
    host: str | None = None  # processor, cores and what int8 needs of it
    created: str  # ISO 8601
    task: str
    verdict: Literal["passed", "failed"]
    gates: list[Gate] = []
    metrics: dict[str, dict[str, Measured]] = {}  # target -> metric -> value
    intervals: dict[str, dict[str, Interval]] = {}  # target -> metric -> its interval
    outputs: list[Output] = []
    files: list[File] = []
    latency: Latency | None = None
    default: str | None = (
        None  # the ONNX to run: int8.onnx, or fp32.onnx where that was measured to be faster
    )
    model: Model | None = None
    layers: list[Layer] = []
    analysis: Analysis | None = None  # of the layers before some were left in float
    machine: Machine | None = None
    agreement: list[Pair] = []
    judged: str | None = None  # the target whose answers `pictures` show beside the float original's
    pictures: list[Picture] = []  # those on which it agrees least, the worst first
    attempts: list[Attempt] = []
    alternatives: list[Alternative] = []
    groups: list[Group] = []
    arm: Arm | None = None
    boards: list[Board] = []
    lineage: list[dict[str, Any]] = []
    tensors_only: dict[str, list[str]] = {}  # target -> tensors that only this target quantizes
    stages: list[Stage] = []
    data: Data = Data()
    not_executed: list[str] = []
    versions: dict[str, str] = {}
    seed: int | None = None
    notes: list[str] = []

    @model_validator(mode="after")
    def _no_false_pass(self) -> Report:
        failed = [f"{gate.target} {gate.metric}" for gate in self.gates if not gate.passed]
        if self.verdict == "passed" and failed:
            raise ValueError(f"the verdict is passed, but these gates failed: {', '.join(failed)}")
        if self.verdict == "passed" and self.arm and any(test.failed for test in self.arm.self_tests):
            raise ValueError("the verdict is passed, but a self-test on emulated ARM failed")
        return self


def parse(report: Report | dict[str, Any]) -> Report:
    """The report itself, or a dict checked against the schema (ValidationError when it does not fit)."""
    return report if isinstance(report, Report) else Report.model_validate(report)
