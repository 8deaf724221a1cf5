"""Paddle, ONNX Runtime and Paddle Lite as backends: right answers, and errors instead of crashes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import paddle
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekit.backends import lite
from edgekit.backends import onnx as onnx_backend
from edgekit.backends import paddle as paddle_backend
from edgekit.errors import EdgekitError
from edgekit.program import edit, graph
from edgekit.program.graph import Program
from tests.program import nets


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`inference.*` as Paddle wrote it, `ready/inference.*` and `ready/float.onnx` as edgekit did."""
    made = nets.export(nets.make(nets.Mixed), tmp_path_factory.mktemp("mixed"))
    nets.to_onnx(edit.lite_ready(edit.fold_batch_norm(graph.load(made))), made / "ready")
    return made


def pair(folder: Path) -> tuple[Path, Path]:
    return folder / "inference.pdmodel", folder / "inference.pdiparams"


def truth(x: np.ndarray) -> np.ndarray:
    value: np.ndarray = nets.make(nets.Mixed)(paddle.to_tensor(x)).numpy()
    return value


@pytest.mark.parametrize("optimise", [True, False])
def test_paddle(optimise: bool, folder: Path) -> None:
    run = paddle_backend.load(*pair(folder), optimise=optimise, threads=1)
    first, second = nets.pictures(2)
    answers = [run(first), run(second), run(first)]
    assert list(answers[0]) == graph.load(folder).fetches
    (name,) = answers[0]
    np.testing.assert_allclose(answers[0][name], truth(first["x"]), atol=1e-5)
    np.testing.assert_allclose(answers[1][name], truth(second["x"]), atol=1e-5)
    # Answers are copies: a later run does not change them.
    np.testing.assert_array_equal(answers[0][name], answers[2][name])
    assert not np.array_equal(answers[0][name], answers[1][name])


def test_paddle_takes_an_array_that_is_not_contiguous(folder: Path) -> None:
    run = paddle_backend.load(*pair(folder), threads=1)
    x = nets.pictures(1)[0]["x"]
    turned = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(*(next(iter(run({"x": value}).values())) for value in (x, turned)))


def test_several_outputs_go_by_their_names(folder: Path, tmp_path: Path) -> None:
    program = graph.load(folder)
    inner, last = nets.output_of(program, "hard_swish"), program.fetches[0]
    for order in ({"z": inner, "a": last}, {"a": last, "z": inner}):
        (got,) = nets.run(edit.cut(program, order), tmp_path, nets.pictures(1), optimise=True)
        assert {name: value.ndim for name, value in got.items()} == {"z": 4, "a": 2}


def test_paddle_refuses_garbage(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "inference.pdmodel").write_bytes(b"garbage" * 50)
    with pytest.raises(EdgekitError) as caught:
        paddle_backend.load(tmp_path / "inference.pdmodel", folder / "inference.pdiparams")
    assert caught.value.code == "EK404"


def broken(folder: Path) -> Program:
    """A program with an op that no engine has."""
    program = graph.load(folder)
    nets.first(program, "hard_swish").type = "no_such_op"
    return program


def test_paddle_does_not_know_an_op(folder: Path, tmp_path: Path) -> None:
    graph.write(broken(folder), tmp_path)
    with pytest.raises(EdgekitError, match="no_such_op") as caught:
        paddle_backend.load(*pair(tmp_path))
    assert caught.value.code == "EK501"


def test_paddle_refuses_a_wrong_shape(folder: Path) -> None:
    run = paddle_backend.load(*pair(folder), threads=1)
    with pytest.raises(EdgekitError, match="failed to run") as caught:
        run({"x": np.zeros((1, 5, 16, 16), np.float32)})
    assert caught.value.code == "EK501"


def test_onnx(folder: Path) -> None:
    run = onnx_backend.load(folder / "ready" / "float.onnx", threads=1)
    feed = nets.pictures(1)[0]
    got = run({**feed, "not an input": feed["x"]})
    assert list(got) == graph.load(folder).fetches
    np.testing.assert_allclose(next(iter(got.values())), truth(feed["x"]), atol=1e-5)


def test_onnx_refuses(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "g.onnx").write_bytes(b"garbage" * 50)
    (tmp_path / "empty.onnx").write_bytes(b"")
    model = onnx.load(folder / "ready" / "float.onnx")
    model.graph.node[-1].op_type = "NoSuchOp"
    onnx.save(model, tmp_path / "op.onnx")
    for name in ("g.onnx", "empty.onnx", "op.onnx", "nowhere.onnx"):
        with pytest.raises(EdgekitError, match=name) as caught:
            onnx_backend.load(tmp_path / name)
        assert caught.value.code == "EK501"
    run = onnx_backend.load(folder / "ready" / "float.onnx", threads=1)
    with pytest.raises(EdgekitError, match="failed to run") as caught:
        run({"x": np.zeros((1, 5, 16, 16), np.float32)})
    assert caught.value.code == "EK501"


def test_latency(folder: Path) -> None:
    model = folder / "ready" / "float.onnx"
    found = onnx_backend.latency([model, model, model], nets.pictures(1)[0], warmup=1, runs=9)
    assert len(found) == 3 and all(0 < ms < 1000 for ms in found)


def test_lite(folder: Path, tmp_path: Path) -> None:
    for target, name in (("arm", "a.nb"), ("x86", "x.nb"), ("x86", "again.nb")):
        lite.optimise(*pair(folder / "ready"), target, tmp_path / name)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.nb", "again.nb", "x.nb"]  # no scratch left
    assert (tmp_path / "x.nb").read_bytes() == (tmp_path / "again.nb").read_bytes()
    for name, target in (("a.nb", "/ARM/FP32/"), ("x.nb", "/X86/FP32/")):
        kernels = lite.kernels(tmp_path / name)
        convolutions = sum(
            n for k, n in kernels.items() if k.startswith(("conv2d/", "depthwise_conv2d/")) and target in k
        )
        assert convolutions == 7
    feeds = nets.pictures(2)
    got = lite.run_x86(tmp_path / "x.nb", feeds, ["y"])
    for feed, answer in zip(feeds, got, strict=True):
        np.testing.assert_allclose(answer["y"], truth(feed["x"]), atol=1e-4)


@pytest.mark.parametrize("what", ["garbage", "op", "missing"])
def test_lite_refuses(what: str, folder: Path, tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    out.mkdir()
    if what == "garbage":
        (source / "inference.pdmodel").write_bytes(b"garbage" * 50)
        (source / "inference.pdiparams").write_bytes(b"garbage" * 50)
    elif what == "op":
        graph.write(broken(folder), source)
    with pytest.raises(EdgekitError, match="Paddle Lite's optimizer") as caught:
        lite.optimise(*pair(source), "arm", out / "model.nb")
    assert caught.value.code == "EK501"
    words = caught.value.message.split("Its last words: ")[1]
    assert len(words) > 10 and words != "it said nothing"
    if what == "op":
        assert "no_such_op" in words
    assert list(out.iterdir()) == []  # neither a file nor a scratch folder


def test_lite_refuses_a_broken_nb(tmp_path: Path) -> None:
    (tmp_path / "m.nb").write_bytes(b"garbage" * 50)
    with pytest.raises(EdgekitError, match="Paddle Lite on x86") as caught:
        lite.run_x86(tmp_path / "m.nb", nets.pictures(1), ["y"])
    assert caught.value.code == "EK501"


def test_int8_sums_do_not_saturate(tmp_path: Path) -> None:
    """Weights and inputs at their ends, against NumPy's integers; two layers, whose zero points ONNX Runtime
    renames on x86 without VNNI."""
    random = np.random.default_rng(0)
    c = 48
    x = random.choice([0, 1, 128, 254, 255], (1, c, 5, 7)).astype(np.uint8)
    constants = {"one": np.float32(1), "zero": np.uint8(0), "step": np.float32(4096)}
    nodes = [helper.make_node("QuantizeLinear", ["x", "one", "zero"], ["x0q"])]
    wanted = x.astype(np.int64)
    for k in range(2):
        w = random.choice([-127, -126, 64, 126, 127], (c, c, 1, 1)).astype(np.int8)
        constants |= {f"w{k}": w, f"s{k}": np.ones(c, np.float32), f"z{k}": np.zeros(c, np.int8)}
        nodes += [
            helper.make_node("DequantizeLinear", [f"x{k}q", "one", "zero"], [f"x{k}d"]),
            helper.make_node("DequantizeLinear", [f"w{k}", f"s{k}", f"z{k}"], [f"w{k}d"], axis=0),
            helper.make_node("Conv", [f"x{k}d", f"w{k}d"], [f"y{k}"]),
            helper.make_node("QuantizeLinear", [f"y{k}", "step", "zero"], [f"x{k + 1}q"]),
        ]
        sums = np.einsum("oi,nihw->nohw", w[:, :, 0, 0].astype(np.int64), wanted)
        wanted = np.clip(np.rint(sums / 4096), 0, 255).astype(np.int64)
    nodes.append(helper.make_node("DequantizeLinear", ["x2q", "one", "zero"], ["y"]))
    made = helper.make_graph(
        nodes, "ends",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, x.shape)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    onnx.save(
        helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8),
        tmp_path / "ends.onnx",
    )
    (got,) = onnx_backend.load(tmp_path / "ends.onnx")({"x": x.astype(np.float32)}).values()
    assert len(np.unique(wanted)) > 20
    np.testing.assert_array_equal(got, wanted)
