"""The parameter file and the pair of files, against Paddle's own reader and writer, and against damage."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import numpy as np
import paddle
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekit.errors import EdgekitError
from edgekit.program import graph, parameters
from edgekit.program.proto import pb
from tests.program import nets


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return nets.export(nets.make(nets.Mixed), tmp_path_factory.mktemp("mixed"))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return nets.export(nets.make(nets.Plain), tmp_path_factory.mktemp("plain"))


def refuse(program: Path, params: Path) -> None:
    """Reading works, or fails as EK404: nothing else may come out of a file that a user brings."""
    try:
        graph.read(program, params)
    except EdgekitError as error:
        assert error.code == "EK404"


def test_reads_what_paddle_wrote(saved: Path) -> None:
    program = graph.load(saved)
    net = nets.make(nets.Mixed)
    wanted = {p.name: p.numpy() for p in (*net.parameters(), *net.buffers())}
    assert set(program.params) == set(wanted)
    for name, value in wanted.items():
        np.testing.assert_array_equal(program.params[name], value)


def test_paddle_reads_what_we_write(saved: Path, tmp_path: Path) -> None:
    program = graph.load(saved)
    graph.write(program, tmp_path, "copy")
    # Paddle's own bytes, parameter for parameter.
    assert (tmp_path / "copy.pdiparams").read_bytes() == (saved / "inference.pdiparams").read_bytes()
    paddle.enable_static()
    try:
        executor = paddle.static.Executor(paddle.CPUPlace())
        with paddle.static.scope_guard(paddle.static.Scope()):
            loaded, feeds, fetches = paddle.static.load_inference_model(str(tmp_path / "copy"), executor)
            feed = nets.pictures(1)[0]
            assert feeds == ["x"]
            (got,) = executor.run(loaded, feed=feed, fetch_list=fetches)
    finally:
        paddle.disable_static()
    wanted = nets.make(nets.Mixed)(paddle.to_tensor(feed["x"])).numpy()
    np.testing.assert_allclose(got, wanted, atol=1e-6)


def test_every_type_and_shape_survives(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    kinds = [np.float32, np.float64, np.float16, np.int8, np.uint8, np.int16, np.int32, np.int64, np.bool_]
    values = {f"p{k}": rng.integers(0, 2, (k, 3)).astype(kind) for k, kind in enumerate(kinds)}
    values["scalar"] = np.array(1.5, np.float32)
    values["turned"] = np.arange(6, dtype=np.float32).reshape(2, 3).T
    parameters.write(tmp_path / "p", values)
    found = parameters.read(tmp_path / "p", sorted(values))
    for name, value in values.items():
        assert found[name].dtype == value.dtype and found[name].shape == value.shape
        np.testing.assert_array_equal(found[name], value)
        assert found[name].flags.writeable


def test_truncated_parameters(small: Path, tmp_path: Path) -> None:
    data = (small / "inference.pdiparams").read_bytes()
    names = list(graph.load(small).params)
    # Every offset in the header, then a sample.
    for length in [*range(64), *range(64, len(data), 37), len(data) - 1]:
        (tmp_path / "p").write_bytes(data[:length])
        with pytest.raises(EdgekitError) as caught:
            parameters.read(tmp_path / "p", names)
        assert caught.value.code == "EK404", length


def test_trailing_bytes(small: Path, tmp_path: Path) -> None:
    (tmp_path / "p").write_bytes((small / "inference.pdiparams").read_bytes() + b"\0")
    with pytest.raises(EdgekitError, match="1 bytes more") as caught:
        parameters.read(tmp_path / "p", list(graph.load(small).params))
    assert caught.value.code == "EK404"


@pytest.mark.parametrize(
    "dims",
    [[-1, 4], [2**40, 2**40], [0, 2**62, 2**62], [2**62], [1] * 70],
    ids=["negative", "huge", "zero", "one", "rank"],
)
def test_impossible_shapes(dims: list[int], tmp_path: Path) -> None:
    desc = pb.VarType.TensorDesc()
    desc.data_type = pb.VarType.FP32
    desc.dims.extend(dims)
    encoded = desc.SerializeToString()
    (tmp_path / "p").write_bytes(struct.pack("<IQIi", 0, 0, 0, len(encoded)) + encoded + bytes(4))
    with pytest.raises(EdgekitError) as caught:
        parameters.read(tmp_path / "p", ["w"])
    assert caught.value.code == "EK404"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=400))
def test_random_bytes_as_program(data: bytes, small: Path, tmp_path: Path) -> None:
    (tmp_path / "m.pdmodel").write_bytes(data)
    with pytest.raises(EdgekitError) as caught:
        graph.read(tmp_path / "m.pdmodel", small / "inference.pdiparams")
    assert caught.value.code == "EK404"


@pytest.mark.parametrize("part", ["inference.pdmodel", "inference.pdiparams"])
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10**6), st.integers(1, 255), st.booleans())
def test_flipped_and_truncated(
    part: str, small: Path, tmp_path: Path, offset: int, flip: int, truncate: bool
) -> None:
    data = bytearray((small / part).read_bytes())
    offset %= len(data)
    if truncate:
        del data[offset:]
    else:
        data[offset] ^= flip
    for name in ("inference.pdmodel", "inference.pdiparams"):
        shutil.copy(small / name, tmp_path / name)
    (tmp_path / part).write_bytes(bytes(data))
    refuse(tmp_path / "inference.pdmodel", tmp_path / "inference.pdiparams")


def test_wrong_pair(saved: Path, small: Path) -> None:
    for program, params in ((saved, small), (small, saved)):
        with pytest.raises(EdgekitError) as caught:
            graph.read(program / "inference.pdmodel", params / "inference.pdiparams")
        assert caught.value.code == "EK404"


def test_wrong_pair_of_the_same_size(small: Path, tmp_path: Path) -> None:
    """As many tensors, other shapes."""
    program = graph.load(small)
    name, value = next(iter(program.params.items()))
    parameters.write(tmp_path / "p", {name: np.zeros(value.size + 1, np.float32)})
    with pytest.raises(EdgekitError, match="does not belong") as caught:
        graph.read(small / "inference.pdmodel", tmp_path / "p")
    assert caught.value.code == "EK404"


def test_not_an_inference_program(saved: Path, tmp_path: Path) -> None:
    program = graph.load(saved)
    program.replace_ops(op for op in program.ops if op.type != "feed")
    graph.write(program, tmp_path)
    with pytest.raises(EdgekitError, match="no feed") as caught:
        graph.load(tmp_path)
    assert caught.value.code == "EK404"


def test_control_flow(saved: Path, tmp_path: Path) -> None:
    program = graph.load(saved)
    block = program.desc.blocks.add()
    block.idx, block.parent_idx = 1, 0
    graph.write(program, tmp_path)
    with pytest.raises(EdgekitError, match="control flow") as caught:
        graph.load(tmp_path)
    assert caught.value.code == "EK404"


@pytest.mark.parametrize(
    ("program", "params"),
    [
        ("inference.pdmodel", "inference.pdiparams"),
        ("model.pdmodel", "model.pdiparams"),
        ("__model__", "__params__"),
        ("picodet.pdmodel", "picodet.pdiparams"),
        ("picodet.v2.pdmodel", "picodet.v2.pdiparams"),
    ],
)
def test_namings(program: str, params: str, small: Path, tmp_path: Path) -> None:
    shutil.copy(small / "inference.pdmodel", tmp_path / program)
    shutil.copy(small / "inference.pdiparams", tmp_path / params)
    assert graph.locate(tmp_path) == (tmp_path / program, tmp_path / params)
    assert graph.load(tmp_path).feeds == ["x"]
    if program != "__model__":
        assert graph.locate(tmp_path / program) == (tmp_path / program, tmp_path / params)


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ([], "EK401"),
        (["a.pdmodel", "a.pdiparams", "b.pdmodel", "b.pdiparams"], "EK401"),
        (["inference.pdmodel"], "EK401"),
        (["__model__"], "EK401"),
        (["inference.json", "inference.pdiparams"], "EK405"),
        (["model.json", "model.pdiparams"], "EK405"),
    ],
)
def test_folders_without_a_program(files: list[str], code: str, tmp_path: Path) -> None:
    for file in files:
        (tmp_path / file).write_bytes(b"")
    with pytest.raises(EdgekitError) as caught:
        graph.locate(tmp_path)
    assert caught.value.code == code


def test_bare_paths_that_are_no_program(tmp_path: Path) -> None:
    (tmp_path / "inference.json").write_text("{}")
    with pytest.raises(EdgekitError, match="FLAGS_enable_pir_api=0") as caught:
        graph.locate(tmp_path / "inference.json")
    assert caught.value.code == "EK405"
    with pytest.raises(EdgekitError) as caught:
        graph.locate(tmp_path / "nowhere.pdmodel")
    assert caught.value.code == "EK401"
