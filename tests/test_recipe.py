from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit import recipe as recipes
from edgekit.errors import EdgekitError
from edgekit.recipe import Gate, load

HASH = "0" * 64


def plain(**changes: Any) -> dict[str, Any]:
    return {
        "task": "classification",
        "weights": [
            {"file": "w", "files": {"pdmodel": {"path": "m", "sha256": HASH}, "pdiparams": {"path": "p"}}}
        ],
        "program": {"outputs": {"probabilities": "softmax_0.tmp_0"}, "input_shape": [1, 3, 8, 8]},
        "preprocess": {
            "resize": {"kind": "exact", "height": 8, "width": 8, "interpolation": "linear"},
            "mean": [0, 0, 0],
            "std": [1, 1, 1],
        },
        "postprocess": {"kind": "classification", "probabilities": "probabilities"},
        "labels": "names.txt",
        "quantize": {"method": "kl"},
        **changes,
    }


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write(name: str = "mine", text: str | None = None, **changes: Any) -> str:
        file = tmp_path / f"{name}.yaml"
        file.write_text(text if text is not None else yaml.safe_dump(plain(**changes)))
        return str(file)

    (tmp_path / "names.txt").write_text("a\nb c\n")
    return write


def refused(*arguments: Any, **more: Any) -> EdgekitError:
    with pytest.raises(EdgekitError) as caught:
        load(*arguments, **more)
    return caught.value


def test_defaults(write: Any) -> None:
    recipe = load(write())
    assert recipe.name == "mine"
    assert (recipe.data.calibration.kind, recipe.data.calibration.count) == ("composed_classification", 128)
    assert recipe.data.evaluation.count == 200
    assert recipe.convert.targets == ["onnx", "lite-arm", "lite-x86"]
    assert recipe.prune is None


def test_a_text_detector_brings_rendered_pages(write: Any) -> None:
    post = {"kind": "text_detection", "map": "m"}
    data = load(write(task="text_detection", postprocess=post)).data
    assert (data.calibration.kind, data.calibration.count, data.evaluation.count) == (
        "rendered_pages",
        64,
        80,
    )


def test_files_lie_beside_the_recipe(write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(data={"calibration": {"path": "photos"}})
    monkeypatch.chdir("/")
    recipe = load(path)
    assert recipes.label_names(recipe) == ["a", "b c"]
    assert recipe.weights[0].file == str(tmp_path / "w")  # type: ignore[union-attr]
    assert (recipe.data.calibration.kind, recipe.data.calibration.path) == (
        "folder",
        str(tmp_path / "photos"),
    )


def test_base_merges_mappings_replaces_lists_and_null_removes(write: Any) -> None:
    write("base", data={"seed": 3, "calibration": {"count": 5}}, convert={"targets": ["onnx", "lite-arm"]})
    text = "base: base.yaml\ndata: {calibration: {count: 7}}\nconvert: {targets: [onnx]}\nquantize: null\n"
    child = write("child", text=text)
    recipe = load(child)
    assert (recipe.name, recipe.data.seed, recipe.data.calibration.count) == ("child", 3, 7)
    assert recipe.convert.targets == ["onnx"]
    assert recipe.quantize is None


def test_a_shipped_recipe_as_base(write: Any) -> None:
    recipe = load(write(text="base: pplcnetv2_base\ndata: {seed: 9}\n"))
    assert (recipe.name, recipe.data.seed, recipe.task) == ("mine", 9, "classification")
    assert len(recipes.label_names(recipe)) == 1000


def test_presets_and_sets(write: Any) -> None:
    path = write(presets={"off": {"quantize": None}, "few": {"data": {"calibration": {"count": 2}}}})
    assert load(path).quantize is not None
    assert load(path, "off").quantize is None
    assert load(path, "few").data.calibration.count == 2
    assert load(path, "few", ["data.calibration.count=3", "data.seed=4"]).data.calibration.count == 3
    assert load(path, None, ["quantize.float=[conv*]"]).quantize.keep_float == ["conv*"]  # type: ignore[union-attr]
    assert load(path, None, ["quantize="]).quantize is None


def test_repairs_have_one_order(write: Any) -> None:
    assert load(write(), None, ["quantize.repair=[equalise, gptq]"]).quantize.repair == ["equalise", "gptq"]  # type: ignore[union-attr]
    for wrong in ("[gptq, equalise]", "[gptq, gptq]", "[magic]"):
        with pytest.raises(EdgekitError, match="thresholds") as error:
            load(write(), None, [f"quantize.repair={wrong}"])
        assert error.value.exit_code == 2


def test_set_a_gate_whose_name_has_a_dot(write: Any) -> None:
    recipe = load(write(), None, ["validate.gates.fp32.onnx/cosine=>= 0.95"])
    assert recipe.validation.parsed() == {"fp32.onnx/cosine": Gate(">=", 0.95)}


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("quantise.method=kl", "EK102", "'quantize'"),
        ("method=kl", "EK102", "'quantize.method'"),
        ("data.calibration.cuont=1", "EK102", "'data.calibration.count'"),
        ("quantise=null", "EK102", "'quantize'"),
        ("data.calibration={cuont: 1}", "EK102", "'data.calibration.count'"),
        ("weights=[{whel: a==1}]", "EK102", "'weights[0].wheel'"),
        ("base=picodet_s", "EK102", "'base'"),
        ("data.calibration.count=lots", "EK103", "'lots'"),
        ("data.calibration.count=true", "EK103", "integer"),
        ("data.calibration.count=0", "EK103", "greater than 0"),
        ("data.calibration.kind=folder", "EK103", "path"),
        ("data.evaluation=7", "EK103", "a mapping"),
        ("weights.0.url=x", "EK103", "a list"),
        (
            "weights=[{wheel: a==1, files: {pdmodel: {sha256: x}}}]",
            "EK103",
            "'weights[0].files.pdmodel.sha256'",
        ),
        (f"weights=[{{wheel: a==1, files: {{pdmodel: {{sha256: '{HASH}'}}}}}}]", "EK103", "pdiparams"),
        ("convert.targets=[onnx, lite]", "EK103", "'lite-arm'"),
        ("postprocess.probabilities=1", "EK103", "'postprocess.probabilities' is 1: expected text"),
        ("task=detection", "EK103", "postprocess.kind"),
        ("validate.gates.cosine=0.9", "EK103", '">= 0.95"'),
        ("validate.gates.cosine=about 0.9", "EK103", '">= 0.95"'),
        ("name=../up", "EK103", "'name'"),
        ("program=null", "EK103", "'program' is missing"),
        ("data.seed=[", "EK103", "line 1"),
        ("data.seed", "EK103", "KEY=VALUE"),
        ("=1", "EK103", "KEY=VALUE"),
        ("prune={flops: 25%}", "EK103", '"-25%"'),
        ("prune={flops: -100%}", "EK103", '"-25%"'),
        ("prune={flops: -25%, params: -25%}", "EK103", "one of flops, params and ratios"),
        ("prune={flop: -25%}", "EK102", "'prune.flops'"),
        ("prune.distil.minuts=3", "EK102", "'prune.distil.minutes'"),
        ("quantize.method=qat", "EK104", "'qat'"),
        ("quantize.method=kll", "EK104", "'kl'"),
    ],
)
def test_refused_set(write: Any, text: str, code: str, says: str) -> None:
    error = refused(write(), None, [text])
    assert error.code == code
    assert says in error.message
    assert error.message.startswith(f"--set {text}") or code == "EK104" or "task is" in error.message
    assert "\n" not in error.message


def test_the_layer_that_is_wrong_is_named(write: Any, tmp_path: Path) -> None:
    base = write("base", presets={"p": {"data": {"sed": 1}}})
    child = write("child", text="base: base.yaml\n")
    error = refused(child)
    assert (error.code, base in error.message) == ("EK102", True)
    assert "'presets.p.data.sed'" in error.message and "'presets.p.data.seed'" in error.message

    write("base", data={"seed": "x"})
    error = refused(child)
    assert (error.code, base in error.message) == ("EK103", True)

    # A preset that nobody asked for is checked as well.
    error = refused(write("other", presets={"p": {"data": {"seed": "x"}}}))
    assert error.code == "EK103" and "preset 'p'" in error.message


def test_unknown_names(write: Any) -> None:
    assert "'picodet_s'" in refused("picodet").message
    assert refused("picodet").code == "EK101"
    assert refused("no/such.yaml").code == "EK101"
    error = refused(write(presets={"fast": {}}), "fasst")
    assert (error.code, "'fast'" in error.message) == ("EK101", True)
    assert "none" in refused(write(), "fast").message
    error = refused(write(text="base: picodets\n"))
    assert (error.code, "'picodet_s'" in error.message) == ("EK101", True)
    write("a", text="base: b.yaml\n")
    error = refused(write("b", text="base: a.yaml\n"))
    assert (error.code, "leads back" in error.message) == ("EK101", True)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [1\nb: 2\n", "line 2"),
        ("- a\n", "expected a mapping"),
        ("", "expected a mapping"),
        ("a: !!python/object/apply:os.getcwd []\n", "line 1"),
        ("a: 2024-99-99\n", "not valid YAML"),
        ("[" * 5000, "not valid YAML"),
        ("base: 3\n", "'base' is 3"),
        ("presets: 3\ntask: detection\n", "missing"),
    ],
)
def test_files_that_are_no_recipe(write: Any, text: str, says: str) -> None:
    error = refused(write(text=text))
    assert error.code == "EK103"
    assert says in error.message


def test_binary_file(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_bytes(bytes(range(256)))
    assert refused(str(file)).code == "EK103"


@pytest.mark.parametrize("name", recipes.shipped())
def test_shipped_recipes_load_and_their_dump_loads_again(name: str, tmp_path: Path) -> None:
    recipe = load(name)
    assert recipe.name == name
    assert recipe.description and recipe.licence and recipe.weights
    assert all(recipes.label_names(recipe))
    file = tmp_path / "again.yaml"
    file.write_text(recipes.dump(recipe))
    assert load(str(file)).model_dump(exclude={"presets", "base"}) == recipe.model_dump(
        exclude={"presets", "base"}
    )


@pytest.mark.parametrize(
    ("text", "value", "holds"),
    [
        (">= 0.95", 0.95, True),
        ("<=.35", 0.36, False),
        ("> -1e-3", 0, True),
        ("< 2", 2, False),
        ("== 1", 1.0, True),
        (">= 0", float("nan"), False),
    ],
)
def test_gates(text: str, value: float, holds: bool) -> None:
    assert Gate.parse(text).holds(value) is holds


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=40))
def test_any_set_text_is_taken_or_refused_with_a_code(text: str) -> None:
    try:
        load("picodet_s", None, [text])
    except EdgekitError as error:
        assert re.fullmatch(r"EK1\d\d", error.code)


def test_a_definition_wants_onnx_weights_and_only_then(write: Any) -> None:
    weights = [{"file": "w", "files": {"onnx": {"path": "net.onnx"}}}]
    definition = {"name": "PPLCNet_x1_0", "classes": 4}
    found = load(write(weights=weights, definition=definition))
    assert found.definition is not None and found.definition.classes == 4
    for changes in ({"weights": weights}, {"definition": definition}):
        assert "onnx in weights with a definition" in refused(write(**changes)).message
    unknown = refused(write(weights=weights, definition={"name": "PPLCNet_x9", "classes": 4}))
    assert unknown.code == "EK103" and "definition.name" in unknown.message
    halves = [{"file": "w", "files": {"pdmodel": {"path": "m"}}}]
    assert "pdiparams is missing" in refused(write(weights=halves)).message


def test_lines_of_text(write: Any) -> None:
    resize = {"kind": "line", "height": 48, "width": 320, "widest": 640, "interpolation": "linear"}
    pre = {**plain()["preprocess"], "resize": resize}
    post = {"kind": "text_recognition", "probabilities": "probabilities"}
    found = load(write(task="text_recognition", preprocess=pre, postprocess=post))
    assert (found.data.calibration.kind, found.data.evaluation.count) == ("rendered_lines", 800)
    assert [side.is_free for side in found.preprocess.sides] == [False, True]
    wrong = {**pre, "resize": {**resize, "widest": 300}}
    error = refused(write(task="text_recognition", preprocess=wrong, postprocess=post))
    assert error.code == "EK103" and "widest" in error.message


def test_a_dictionary_may_end_in_a_space(write: Any, tmp_path: Path) -> None:
    recipe = load(write())
    (tmp_path / "names.txt").write_text("a\n\u3000\nb\n \n", encoding="utf-8")
    assert recipes.label_names(recipe) == ["a", "\u3000", "b", " "]
