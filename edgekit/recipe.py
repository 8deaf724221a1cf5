"""What a user asks for: the schema of a recipe, inheritance, presets and --set.

A recipe is made of layers, each merged over the one before: the base, the file, the preset, the
--set options. Mappings merge, everything else is replaced, null removes.
"""

from __future__ import annotations

import copy
import math
import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StrictInt,
    ValidationError,
    field_validator,
    model_validator,
)  # fmt: skip

from edgekit.data.kinds import Kind
from edgekit.data.sources import Source
from edgekit.errors import EdgekitError
from edgekit.folder import Postprocess, Preprocess, Strict, TaskName
from edgekit.models import Name
from edgekit.recipe_errors import check_keys, fields, from_pydantic, item, join, members, nearest

# How thresholds are chosen; `pact` trains them, and the weights.
METHODS = ("kl", "mse", "pact")
Target = Literal["onnx", "lite-arm", "lite-x86"]

# The pictures that a task brings along: their kind, how many for calibration and how many for evaluation.
# A page holds twenty lines of text, each as good as a picture of its own.
_PICTURES = {
    "classification": ("composed_classification", 128, 200),
    "detection": ("composed_detection", 128, 200),
    "text_detection": ("rendered_pages", 64, 80),
    "text_recognition": ("rendered_lines", 128, 800),
}

_OPERATORS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt, "==": operator.eq}
_GATE = re.compile(r"\s*(>=|<=|==|>|<)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*")


@dataclass(frozen=True)
class Gate:
    """A bound that a measured value must keep; a value that is not a number keeps none."""

    op: str
    bound: float

    @staticmethod
    def parse(text: str) -> Gate:
        match = _GATE.fullmatch(text)
        if match is None:
            raise ValueError('expected a comparison with a number, such as ">= 0.95"')
        return Gate(match[1], float(match[2]))

    def holds(self, value: float) -> bool:
        return not math.isnan(value) and bool(_OPERATORS[self.op](value, self.bound))

    def __str__(self) -> str:
        return f"{self.op} {self.bound:g}"


def _gate_text(value: Any) -> Any:
    Gate.parse(value if isinstance(value, str) else "")
    return value


def _whole(source: Source) -> Source:
    missing = sorted({"pdmodel", "pdiparams"} - set(source.files))
    if missing and "onnx" not in source.files:  # that one is for a definition
        raise ValueError(f"expected the files pdmodel and pdiparams, but {' and '.join(missing)} is missing")
    return source


class Program(Strict):
    """How the published program becomes one that ends in raw outputs."""

    cut: str | None = None  # the op that is cut off with all that follows, such as multiclass_nms3
    outputs: dict[str, str] = {}  # name that post-processing uses -> tensor of the program
    input_shape: list[Annotated[StrictInt, Field(gt=0)]] = Field(min_length=4, max_length=4)


class Definition(Strict):
    """A network of edgekit's own, into which the weights of an ONNX file of the same network are loaded."""

    name: Name
    classes: StrictInt = Field(gt=0)


class Pictures(Strict):
    kind: Kind
    path: str | None = None
    count: StrictInt = Field(gt=0)

    @model_validator(mode="after")
    def _path_of_folder(self) -> Pictures:
        if (self.kind == "folder") != (self.path is not None):
            raise ValueError("expected a path with the kind 'folder', and with no other")
        return self


class Data(Strict):
    calibration: Pictures
    evaluation: Pictures
    seed: StrictInt = Field(default=0, ge=0)


class Rescue(Strict):
    """Which layers stay float: those that int8 costs most for their size, until the error of the outputs is
    predicted to be as small as `error`, or no other layer fits into what may be float."""

    error: float = Field(gt=0, default=0.003)  # squared, over the variance
    macs: float = Field(ge=0, le=1, default=0.15)  # the share of multiply-accumulates that may be float
    params: float = Field(ge=0, le=1, default=0.08)  # the share of weights
    # Instead of `error`: as few layers as keep these metrics of agreement with float on calibration pictures.
    gates: dict[str, Annotated[str, BeforeValidator(_gate_text)]] = {}


Repair = Literal["thresholds", "equalise", "rescue", "gptq"]  # in the order in which they can follow


class Training(Strict):
    """On the float program's answers; no labels needed."""

    minutes: float = Field(gt=0, default=15)
    pictures: StrictInt = Field(gt=0, default=1024)  # of the training split
    batch: StrictInt = Field(gt=0, default=8)
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = Field(gt=0, default=1e-3)  # relative to the size of each channel's weights
    seed: StrictInt = Field(default=0, ge=0)


class Pact(Training):
    """Training with int8's roundings, and with clipping values that learn, too."""

    learning_rate: float = Field(gt=0, default=1e-4)
    clip_rate: float = Field(ge=0, default=1.0)  # learning rate of clipping values, over that of weights
    clip_decay: float = Field(ge=0, default=1e-4)  # of their squares, in units of about what they were


class Quantize(Strict):
    method: str = "kl"
    start: Literal["kl", "mse"] = "kl"  # the thresholds that `pact` begins with
    pact: Pact = Pact()
    keep_float: list[str] = Field(default=[], alias="float")  # glob patterns of layers that stay float
    # Without training: a threshold per tensor by the error of its readers' answers; the same with factors per
    # channel; some layers left in float; weights rounded together, with biases that keep the means.
    repair: list[Repair] = list(get_args(Repair))
    rescue: Rescue = Rescue()

    @property
    def thresholds(self) -> str:
        """The method of the thresholds, before any training."""
        return self.start if self.method == "pact" else self.method

    @field_validator("repair")
    @classmethod
    def _in_order(cls, value: list[Repair]) -> list[Repair]:
        if value != [how for how in get_args(Repair) if how in value]:
            raise ValueError(f"each once, and in this order: {', '.join(get_args(Repair))}")
        return value


def _share(value: Any) -> Any:
    match = re.fullmatch(r"-(\d+(?:\.\d+)?)%", value) if isinstance(value, str) else None
    if match is None or not 0 < float(match[1]) < 100:
        raise ValueError('expected a reduction between 0 and 100 %, such as "-25%"')
    return value


Reduction = Annotated[str, BeforeValidator(_share)]


class Distil(Training):
    """Training of the pruned program."""


_ONE_ROUND = 0.05  # the largest share of a budget that is met in one round


class Prune(Strict):
    """What goes is a budget (`flops` or `params`), or a share of named layers (`ratios`); neither: only what
    is dead."""

    criterion: Literal["fpgm", "fpgm-weights", "l1", "energy", "refit", "random"] = "fpgm"
    flops: Reduction | None = None
    params: Reduction | None = None
    ratios: dict[str, Annotated[float, Field(gt=0, lt=1)]] = {}  # glob pattern of layers -> share of channels
    allocation: Literal["sensitivity", "uniform"] = "sensitivity"
    dead: bool = True
    skip: list[str] = []  # glob patterns of layers that lose no channel
    multiple: StrictInt = Field(default=8, ge=1)  # of channels that stay; half of it where a layer is small
    most: float = Field(default=0.6, gt=0, lt=1)  # share of a layer's channels that may go in one round
    rounds: StrictInt | None = Field(default=None, ge=1)  # of measuring and pruning; None: by the budget
    recover: list[Literal["statistics", "refit"]] = ["refit"]
    distil: Distil | None = None
    seed: StrictInt = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _one_budget(self) -> Prune:
        if sum((self.flops is not None, self.params is not None, bool(self.ratios))) > 1:
            raise ValueError("expected one of flops, params and ratios, but more than one is given")
        return self

    @property
    def removes(self) -> bool:
        """Whether anything but dead channels is to go."""
        return self.budget is not None or bool(self.ratios)

    @property
    def needs_sensitivity(self) -> bool:
        return self.budget is not None and self.allocation == "sensitivity"

    def in_rounds(self) -> list[Prune]:
        """One section per round: a large budget is met in steps, each measured on what the last one left.

        Sensitivities of single groups do not add up when much goes at once.
        """
        if self.budget is None:
            return [self]
        kind, share = self.budget
        measured = math.ceil(share / _ONE_ROUND) if self.needs_sensitivity else 1
        count = self.rounds if self.rounds is not None else measured
        return [self.model_copy(update={kind: f"-{100 * share * k / count:g}%"}) for k in range(1, count + 1)]

    @property
    def budget(self) -> tuple[str, float] | None:
        """("flops" or "params", the share to go)."""
        for kind in ("flops", "params"):
            text = getattr(self, kind)
            if text is not None:
                return kind, float(text.strip("-%")) / 100
        return None


class Convert(Strict):
    targets: list[Target] = Field(default=["onnx", "lite-arm", "lite-x86"], min_length=1)


class Validate(Strict):
    """Gates by metric (`cosine`) or by target and metric (`fp32.onnx/cosine`)."""

    gates: dict[str, Annotated[str, BeforeValidator(_gate_text)]] = {}

    def parsed(self) -> dict[str, Gate]:
        return {metric: Gate.parse(text) for metric, text in self.gates.items()}


class Recipe(Strict):
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")  # becomes the name of files and folders
    task: TaskName
    base: str | None = None
    description: str = ""
    licence: str = ""
    weights: list[Annotated[Source, AfterValidator(_whole)]] = []  # tried in order
    definition: Definition | None = None  # None: the weights come with their program
    program: Program
    preprocess: Preprocess
    postprocess: Postprocess = Field(discriminator="kind")
    labels: str  # a file of recipes/labels, or one beside the recipe that names it
    data: Data
    prune: Prune | None = None
    quantize: Quantize | None = None
    convert: Convert = Convert()
    validation: Validate = Field(default=Validate(), alias="validate")
    presets: dict[str, dict[str, Any]] = {}
    published: dict[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _default_data(cls, raw: Any) -> Any:
        """The pictures that a task brings along, unless the recipe has a folder of its own."""
        if not isinstance(raw, dict) or not isinstance(raw.get("data", {}), dict):
            return raw
        task = str(raw.get("task"))
        if task not in _PICTURES:
            return raw  # the task is refused, and with it all that would follow from it
        data = dict(raw.get("data", {}))
        brought, *counts = _PICTURES[task]
        for split, count in zip(("calibration", "evaluation"), counts, strict=True):
            given = data.get(split, {})
            if isinstance(given, dict):
                kind = "folder" if given.get("path") is not None else brought
                data[split] = {"kind": kind, "count": count, **given}
        return {**raw, "data": data}

    @model_validator(mode="after")
    def _same_task(self) -> Recipe:
        if self.postprocess.kind != self.task:
            raise ValueError(f"postprocess.kind is '{self.postprocess.kind}', but the task is '{self.task}'")
        return self

    @model_validator(mode="after")
    def _weights_fit_the_definition(self) -> Recipe:
        for source in self.weights:
            if ("onnx" in source.files) != (self.definition is not None):
                raise ValueError(
                    "expected a file onnx in weights with a definition, and pdmodel and pdiparams without one"
                )
        return self


def recipes_dir() -> Path:
    """Inside an installed wheel `edgekit/_recipes`; in a source checkout `recipes/` beside the package."""
    package = Path(__file__).resolve().parent
    inside = package / "_recipes"
    return inside if inside.is_dir() else package.parent / "recipes"


def shipped() -> list[str]:
    """Names of the recipes that come with edgekit. A leading underscore marks a base that only others use."""
    return sorted(file.stem for file in recipes_dir().glob("*.yaml") if not file.name.startswith("_"))


def load(name_or_path: str, preset: str | None = None, sets: Sequence[str] = ()) -> Recipe:
    """The recipe with its base, preset and --set options merged in, checked."""
    file = _locate(name_or_path)
    layers = _Layers(str(name_or_path))
    for path, mapping in _chain(file):
        layers.add(mapping, _label(path))
    presets = layers.data.get("presets", {})
    presets = presets if isinstance(presets, dict) else {}  # else `validate` refuses it below
    if preset is not None and preset not in presets:
        known = nearest(preset, presets) if presets else " It has none at all."
        raise EdgekitError("EK101", f"The recipe '{name_or_path}' has no preset '{preset}'.{known}")
    chosen = [_set_layer(text) for text in sets]
    # Every preset is checked, so that a mistake in one is found before somebody needs it.
    for name in presets:
        if name != preset:
            layers.with_layers(name, chosen).validate()
    recipe = layers.with_layers(preset, chosen).validate()
    _refuse_what_is_missing(recipe)
    return recipe


def dump(recipe: Recipe) -> str:
    """The resolved recipe as YAML that `load` reads again. Base and presets are spent by then."""
    plain = recipe.model_dump(mode="json", by_alias=True, exclude={"base", "presets"}, exclude_none=True)
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=100)


def label_names(recipe: Recipe) -> list[str]:
    """The recipe's labels, one a line in its file."""
    path = Path(recipe.labels)
    file = path if path.is_absolute() else recipes_dir() / "labels" / path
    if not file.is_file():
        raise EdgekitError("EK401", f"Recipe '{recipe.name}': the labels file '{recipe.labels}' is missing.")
    try:
        # A dictionary's last line may be a space of some kind.
        return file.read_text(encoding="utf-8-sig").rstrip("\n").split("\n")
    except UnicodeDecodeError as error:
        raise EdgekitError("EK408", f"The labels file {file} is not text in UTF-8.") from error


class _Layers:
    """The merged mapping so far, and for each of its leaves the layer that set it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.data: dict[str, Any] = {}
        self.origins: dict[str, str] = {}

    def add(self, layer: dict[str, Any], where: str) -> None:
        check_keys(layer, Recipe, where, Recipe)
        presets = layer.get("presets")
        for name, partial in presets.items() if isinstance(presets, dict) else ():
            check_keys(partial, Recipe, where, Recipe, f"presets.{name}")
        self._merge(self.data, layer, where, "")

    def _merge(self, into: dict[str, Any], layer: dict[str, Any], where: str, prefix: str) -> None:
        for name, value in layer.items():
            key = join(prefix, name)
            self.origins[key] = where
            if value is None:
                into.pop(name, None)
            elif isinstance(value, dict):
                if not isinstance(into.get(name), dict):
                    into[name] = {}
                # What is null inside a preset removes later, when the preset is merged in turn.
                if prefix == "presets":
                    into[name] = {**into[name], **copy.deepcopy(value)}
                else:
                    self._merge(into[name], value, where, key)
            else:
                into[name] = copy.deepcopy(value)

    def with_layers(self, preset: str | None, sets: list[tuple[str, dict[str, Any]]]) -> _Layers:
        result = _Layers(self.name)
        result.data, result.origins = copy.deepcopy(self.data), dict(self.origins)
        if preset is not None:
            partial, key = result.data["presets"][preset], f"presets.{preset}"
            where = self.origin(key)
            if not isinstance(partial, dict):
                raise EdgekitError("EK103", f"{where}: '{key}' is {partial!r}: expected a mapping.")
            for name in ("base", "presets"):
                if name in partial:
                    raise EdgekitError("EK102", f"{where}: a preset cannot hold '{name}', but '{key}' does.")
            result._merge(result.data, partial, f"{where}, preset '{preset}'", "")
        for option, layer in sets:
            result.add(layer, option)
        return result

    def origin(self, key: str) -> str:
        """The layer that set this key or the nearest one above it."""
        while key:
            if key in self.origins:
                return self.origins[key]
            key = re.sub(r"(\[\d+\]|(^|\.)[^.\[]*)$", "", key)
        return f"recipe '{self.name}'"

    def validate(self) -> Recipe:
        try:
            return Recipe.model_validate(self.data)
        except ValidationError as error:
            raise from_pydantic(error, self.data, self.origin) from error


def _locate(name: str) -> Path:
    """A path ends in .yaml or has a folder in it; everything else is the name of a shipped recipe."""
    if _is_path(name):
        file = Path(name).expanduser()
        if not file.is_file():
            raise EdgekitError("EK101", f"There is no recipe file '{name}'.")
        return file
    file = recipes_dir() / f"{name}.yaml"
    if not file.is_file():
        raise EdgekitError(
            "EK101",
            f"There is no recipe '{name}'.{nearest(name, shipped())} `edgekit recipes` lists them; "
            "a recipe of your own is given as a path that ends in .yaml.",
        )
    return file


def _is_path(name: str) -> bool:
    return name.endswith((".yaml", ".yml")) or "/" in name or "\\" in name


def _chain(file: Path) -> list[tuple[Path, dict[str, Any]]]:
    """The file's base, that one's base and so on, deepest first; the file itself last."""
    chain: list[tuple[Path, dict[str, Any]]] = []
    seen: list[Path] = []
    while True:
        if file.resolve() in seen:
            circle = " -> ".join(path.name for path in [*seen, file])
            raise EdgekitError("EK101", f"{_label(file)}: its base leads back to itself: {circle}.")
        seen.append(file.resolve())
        mapping = _read(file)
        if not chain:
            # Otherwise a recipe of the user's own would take its base's name, and its output folder.
            mapping.setdefault("name", file.stem)
        chain.insert(0, (file, mapping))
        base = mapping.get("base")
        if base is None:
            return chain
        if not isinstance(base, str):
            raise EdgekitError("EK103", f"{_label(file)}: 'base' is {base!r}: expected a name or a file.")
        parent = file.parent / Path(base).expanduser() if _is_path(base) else recipes_dir() / f"{base}.yaml"
        if not parent.is_file():
            hint = "" if _is_path(base) else nearest(base, shipped())
            raise EdgekitError("EK101", f"{_label(file)}: its base '{base}' does not exist.{hint}")
        file = parent


def _read(file: Path) -> dict[str, Any]:
    try:
        mapping = yaml.safe_load(file.read_bytes())
    except OSError as error:
        raise EdgekitError("EK101", f"The recipe {file} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise EdgekitError("EK103", f"{_label(file)} is not valid YAML{_place(error)}.") from error
    if not isinstance(mapping, dict):
        raise EdgekitError("EK103", f"{_label(file)} is not a recipe: expected a mapping of keys to values.")
    _anchor_paths(mapping, file.parent)
    return mapping


def _anchor_paths(mapping: dict[str, Any], folder: Path) -> None:
    """Files that a recipe names lie beside it, wherever the command is run."""

    def anchor(holder: Any, key: str, only_existing: bool = False) -> None:
        if isinstance(holder, dict) and isinstance(holder.get(key), str) and holder[key]:
            path = (folder / Path(holder[key]).expanduser()).resolve()
            if path.exists() or not only_existing:
                holder[key] = str(path)

    presets = mapping.get("presets")
    for layer in [mapping, *(presets.values() if isinstance(presets, dict) else ())]:
        if not isinstance(layer, dict):
            continue
        anchor(layer, "labels", only_existing=True)  # else one of recipes/labels
        weights, data = layer.get("weights"), layer.get("data")
        for source in weights if isinstance(weights, list) else ():
            anchor(source, "file")
        for split in data.values() if isinstance(data, dict) else ():
            anchor(split, "path")


def _place(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return f": {error}"
    problem = getattr(error, "problem", None) or "syntax error"
    return f": line {mark.line + 1}, column {mark.column + 1}: {problem}"


def _label(file: Path) -> str:
    return f"recipe '{file.stem}'" if file.parent == recipes_dir() else str(file)


def _set_layer(text: str) -> tuple[str, dict[str, Any]]:
    """KEY=VALUE as a layer of its own, and what to call it in an error."""
    where = f"--set {text}"
    key, equals, raw = text.partition("=")
    key = key.strip()
    if not equals or not key:
        raise EdgekitError("EK103", f"{where}: expected KEY=VALUE, such as quantize.method=kl.")
    if key.split(".")[0] in ("base", "presets"):
        raise EdgekitError("EK102", f"{where}: 'base' and 'presets' belong in a recipe file.")
    value: Any = raw
    if not _GATE.fullmatch(raw):  # YAML takes a leading '>' for the start of a block
        try:
            value = yaml.safe_load(raw)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise EdgekitError("EK103", f"{where}: the value is not valid YAML{_place(error)}.") from error
    for part in reversed(_split(key)):
        value = {part: value}
    return where, value


def _split(key: str) -> list[str]:
    """At the dots, but a mapping from free names to text takes the rest whole: `fp32.onnx/cosine`."""
    parts: list[str] = []
    annotation: Any = Recipe
    rest = key
    while rest:
        inner = item(annotation, dict)
        if inner is not None and str in members(inner):
            return [*parts, rest]
        part, _, rest = rest.partition(".")
        parts.append(part)
        annotation = fields(annotation).get(part, inner)
    return parts


def prune_section(
    recipe: Recipe | None, flops: str | None, params: str | None, minutes: float | None
) -> Prune:
    """What `edgekit prune` is asked for: the recipe's section with the command line's options over it."""
    base = recipe.prune if recipe is not None and recipe.prune is not None else Prune()
    raw = base.model_dump(mode="json")
    if flops is not None or params is not None:
        raw |= {"flops": flops, "params": params, "ratios": {}}
    if minutes is not None:
        raw["distil"] = {**(raw["distil"] or {}), "minutes": minutes}
    try:
        return Prune.model_validate(raw)
    except ValidationError as error:
        raise from_pydantic(error, raw, lambda key: f"--{key}") from error


def _refuse_what_is_missing(recipe: Recipe) -> None:
    method = recipe.quantize.method if recipe.quantize is not None else "kl"
    if method not in METHODS:
        raise EdgekitError(
            "EK104",
            f"Recipe '{recipe.name}': the quantization method '{method}' (quantize.method) does not exist "
            f"in this version.{nearest(method, METHODS)}",
        )
