"""The C++ runtime as a whole: self-test, command line, C API, Paddle Lite's adapter, damaged bundles."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.data.files import sha256_of
from tests.conftest import World
from tests.runtimes.conftest import Programs, compiled

pytestmark = pytest.mark.slow  # it compiles the runtime
Test = Callable[..., dict[str, Any]]


@pytest.fixture
def bundle(world: World, tmp_path: Path) -> Path:
    """A classifier's bundle of one's own, to be spoiled."""
    return Path(shutil.copytree(world.bundle, tmp_path / "bundle"))


@pytest.fixture
def self_test(programs: Programs, bundle: Path) -> Test:
    def run(model: str = "fp32", code: int = 0) -> dict[str, Any]:
        done = programs.run("edgekit-run", "self-test", bundle, "--model", model)
        assert done.returncode == code, done.stdout + done.stderr
        return dict(json.loads(done.stdout))

    return run


def rehash(bundle: Path) -> None:
    """As if the files had been written like this: only their contents can give them away."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    for file in manifest["files"]:
        file["sha256"] = sha256_of(bundle / file["name"])
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def edit(path: Path, change: Callable[[Any], None]) -> None:
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def test_unit_tests(programs: Programs) -> None:
    done = programs.run("edgekit-tests")
    assert done.returncode == 0, done.stdout
    assert "[  PASSED  ]" in done.stdout


@pytest.mark.parametrize("model", ["fp32", "int8"])
def test_an_intact_bundle_passes(self_test: Test, model: str) -> None:
    found = self_test(model)
    assert (found["verdict"], found["failed"]) == ("passed", None)
    assert len(found["golden"]) == 3
    for golden in found["golden"]:
        # The same engine on the same machine, from the same tensor.
        assert golden["preprocessing_largest_step"] == 0
        assert golden["sqnr_db"] == {"probabilities": "equal"}


def failed_at(self_test: Test, stage: str, where: str) -> None:
    failed = self_test(code=3)["failed"]
    assert (failed["stage"], where in failed["where"] + failed["why"]) == (stage, True), failed


def test_a_damaged_model_is_named(self_test: Test, bundle: Path) -> None:
    model = bundle / "tiny.fp32.onnx"
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.write_bytes(data)
    failed_at(self_test, "files", "tiny.fp32.onnx is damaged")


def test_a_missing_file_is_named(self_test: Test, bundle: Path) -> None:
    (bundle / "golden/1/input.npy").unlink()
    failed_at(self_test, "files", "golden/1/input.npy")


def test_a_model_that_is_none_is_named(self_test: Test, bundle: Path) -> None:
    (bundle / "tiny.fp32.onnx").write_bytes(b"no network")
    rehash(bundle)
    failed_at(self_test, "model", "fp32.onnx")


@pytest.mark.parametrize("key", ["mean", "std"])
@pytest.mark.parametrize("change", [1.01, 1.2])
def test_another_mean_or_std_is_pre_processing(
    self_test: Test, bundle: Path, key: str, change: float
) -> None:
    def shift(manifest: Any) -> None:
        manifest["preprocess"][key][1] *= change

    edit(bundle / "manifest.json", shift)
    failed_at(self_test, "pre-processing", "golden/0/input.npy")


def test_another_order_of_channels_is_pre_processing(self_test: Test, bundle: Path) -> None:
    edit(bundle / "manifest.json", lambda manifest: manifest["preprocess"].update(channels="bgr"))
    failed_at(self_test, "pre-processing", "golden/0/input.npy")


def test_a_golden_vector_with_another_hash_is_named(self_test: Test, bundle: Path) -> None:
    array = np.load(bundle / "golden/2/fp32.onnx.probabilities.npy")
    np.save(bundle / "golden/2/fp32.onnx.probabilities.npy", array + np.float32(0.01))
    failed_at(self_test, "files", "golden/2/fp32.onnx.probabilities.npy is damaged")


def test_a_changed_input_is_pre_processing(self_test: Test, bundle: Path) -> None:
    array = np.load(bundle / "golden/1/input.npy")
    array.flat[100] += 0.1
    np.save(bundle / "golden/1/input.npy", array)
    rehash(bundle)
    failed_at(self_test, "pre-processing", "golden/1/input.npy")


def test_changed_raw_outputs_are_inference(self_test: Test, bundle: Path) -> None:
    array = np.load(bundle / "golden/1/fp32.onnx.probabilities.npy")
    np.save(bundle / "golden/1/fp32.onnx.probabilities.npy", array * np.float32(1.02))
    rehash(bundle)
    failed_at(self_test, "inference", "golden/1/fp32.onnx.probabilities.npy")


def test_a_changed_answer_is_post_processing(self_test: Test, bundle: Path) -> None:
    def change(answers: Any) -> None:
        answers["fp32.onnx"]["top"][0]["probability"] += 0.01

    edit(bundle / "golden/1/answers.json", change)
    rehash(bundle)
    failed_at(self_test, "post-processing", "golden/1/answers.json")


def test_not_a_number_does_not_pass(self_test: Test, bundle: Path) -> None:
    array = np.load(bundle / "golden/0/input.npy")
    array.flat[5] = np.nan
    np.save(bundle / "golden/0/input.npy", array)
    rehash(bundle)
    failed_at(self_test, "pre-processing", "golden/0/input.npy")


def test_run_answers_as_the_golden_vectors_say(programs: Programs, bundle: Path) -> None:
    picture = bundle / "golden/0/picture.png"
    done = programs.run("edgekit-run", "run", bundle, picture, picture, "--model", "int8")
    assert done.returncode == 0, done.stderr
    wanted = json.loads((bundle / "golden/0/answers.json").read_text())["int8.onnx"]
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["top"] for line in lines] == [wanted["top"], wanted["top"]]
    assert (lines[0]["height"], lines[0]["width"]) == (40, 48)


def test_bench_measures(programs: Programs, bundle: Path) -> None:
    done = programs.run("edgekit-run", "bench", bundle, "--warmup", 2, "--repeats", 9)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert 0 < found["min_ms"] <= found["median_ms"] <= found["p90_ms"]
    assert (found["threads"], found["warmup"], found["repeats"]) == (1, 2, 9)
    assert found["input"] == [1, 3, 32, 32]
    assert 10 < found["peak_mb"] < 2000


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "Usage"),
        (["self-test"], 2, "needs one bundle"),
        (["bench", "B", "--threads", "none"], 2, "--threads"),
        (["run", "B", "P", "--fast"], 2, "no option --fast"),
        (["self-test", "/nowhere"], 4, "EK401"),
        (["run", "B", "/nowhere.png"], 4, "EK401"),
        (["run", "B", "B/manifest.json"], 4, "EK406"),
        (["self-test", "B", "--model", "int4"], 4, "EK401"),
        (["self-test", "B", "--model", "int8.nb"], 5, "PADDLE_LITE_DIR"),
    ],
)
def test_errors_name_what_is_wrong(
    programs: Programs, bundle: Path, arguments: list[str], code: int, said: str
) -> None:
    words = [word.replace("B", str(bundle), 1) if word.startswith("B") else word for word in arguments]
    done = programs.run("edgekit-run", *words)
    assert done.returncode == code, done.stderr
    assert said in done.stderr


def test_the_c_api_from_c(programs: Programs, bundle: Path) -> None:
    done = programs.run("edgekit-c-api", bundle, bundle / "golden/0/picture.png")
    assert done.returncode == 0, done.stderr
    answer, pixels, missing = done.stdout.splitlines()
    default = json.loads((bundle / "manifest.json").read_text())["default"]
    assert json.loads(answer) == json.loads((bundle / "golden/0/answers.json").read_text())[default]
    assert pixels.startswith("4 EK406")
    assert missing.startswith("4 EK401")


def test_paddle_lite_is_called_through_the_same_interface(bundle: Path, tmp_path: Path) -> None:
    """Against a stand-in for the library: the adapter, not Paddle Lite."""
    import subprocess

    from edgekit.backends.arm import runner

    fake = Path(shutil.copytree(runner.SOURCE / "tests/fake_lite", tmp_path / "lite"))
    library = fake / "cxx/lib/libpaddle_light_api_shared.so"
    library.parent.mkdir()
    command = ["g++", "-shared", "-fPIC", "-I", fake / "cxx/include", fake / "paddle_api.cpp", "-o", library]
    subprocess.run([str(word) for word in command], check=True)
    programs = compiled("tests-x86-lite", [f"-DPADDLE_LITE_DIR={fake}"])

    def infer(out: Path) -> Any:
        feed = bundle / "golden/0/input.npy"
        return programs.run("edgekit-run", "infer", bundle, feed, out, "--model", "int8.nb", "--threads", 3)

    done = infer(tmp_path / "out")
    assert done.returncode == 0, done.stderr
    feed = np.load(bundle / "golden/0/input.npy")
    found = np.load(tmp_path / "out/probabilities.npy")
    np.testing.assert_allclose(found, [[feed.sum(dtype=np.float64), 3]], rtol=1e-3)

    model = next(bundle.glob("*.int8.nb"))
    assert model.read_bytes()[2:10] == b"v2.13-rc"
    model.write_bytes(model.read_bytes().replace(b"v2.13-rc", b"v2.12\0\0\0", 1))
    rehash(bundle)
    done = infer(tmp_path / "other")
    assert done.returncode == 5
    assert "v2.12" in done.stderr and "v2.13-rc" in done.stderr
