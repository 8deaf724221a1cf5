"""The Java runtime's jar, unchanged, on an emulated ARM core."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from edgekit.backends.arm import emulated
from edgekit.backends.arm import jvm as emulated_jvm
from tests.conftest import World
from tests.runtimes.jvm import SOURCE, Jvm, built
from tests.runtimes.test_jvm import damage_golden_vector

pytestmark = [pytest.mark.slow, pytest.mark.network, pytest.mark.arm]


@pytest.fixture(scope="module")
def jvm() -> Jvm:
    return Jvm(built().target, emulated_jvm.command(emulated.CPUS["a76"], print))


@pytest.mark.parametrize("kind", ["fp32", "int8"])
def test_a_bundle_passes(jvm: Jvm, world: World, kind: str) -> None:
    done = jvm.run("self-test", world.bundle, "--model", kind)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert (found["machine"], found["verdict"], len(found["golden"])) == ("aarch64", "passed", 3)
    assert all(one["preprocessing_largest_step"] == 0 for one in found["golden"])


def test_a_damage_is_named(jvm: Jvm, tmp_path: Path) -> None:
    spoilt = Path(shutil.copytree(SOURCE / "src/test/resources/bundle", tmp_path / "bundle"))
    damage_golden_vector(spoilt)
    done = jvm.run("self-test", spoilt, "--model", "fp32")
    assert done.returncode == 3, done.stdout + done.stderr
    assert json.loads(done.stdout)["failed"]["where"] == "golden/1/fp32.onnx.probabilities.npy"


# `make android` names the bundles in build/; without names there are none to test, and pytest says skipped.
@pytest.mark.parametrize("name", os.environ.get("EDGEKIT_DEMO_BUNDLES", "").split())
@pytest.mark.parametrize("kind", ["fp32", "int8"])
def test_a_real_bundle_passes(jvm: Jvm, name: str, kind: str) -> None:
    done = jvm.run("self-test", name, "--model", kind, timeout=1800)
    assert done.returncode == 0, done.stdout + done.stderr
