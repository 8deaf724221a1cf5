"""The five damages of a CI job on PicoDet-S. It shares the user's cache: the weights are fetched once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgekit.cachedir import cache_dir
from tests import real
from tests.rehash import rehash


def replace(file: Path, name: str, change: Callable[[Any], Any]) -> None:
    model = onnx.load(str(file))
    item = next(each for each in model.graph.initializer if each.name == name)
    item.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(item).copy()), name))
    onnx.save(model, str(file))


def exchange(weights: Any) -> Any:
    weights[[3, 7]] = weights[[7, 3]]
    return weights


def shift_mean(manifest: dict[str, Any]) -> None:
    manifest["preprocess"]["mean"] = [0.5, 0.5, 0.5]


def shift_labels(manifest: dict[str, Any]) -> None:
    manifest["labels"] = [*manifest["labels"][1:], "background"]


@pytest.mark.network
@pytest.mark.slow
def test_five_damages_of_picodet_s(edgekit: Any, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    options = real.options(evaluation=40)
    done = edgekit(
        "compress", "--recipe", "picodet_s", "--preset", "kl", *options, "--out", whole, cache=cache_dir()
    )
    assert done.code == 0, done.err
    done = edgekit("check", whole, cache=cache_dir())
    assert done.code == 0, done.out + done.err

    table = json.loads((whole / "paddle" / "quantization.json").read_text())
    layers = [each for each in table["layers"] if each["int8"] and each["type"] == "conv2d"]
    layer = max(layers, key=lambda each: each["macs"])["name"]

    def damaged(name: str) -> Path:
        shutil.copytree(whole, tmp_path / name)
        return tmp_path / name

    def red(bundle: Path, *words: str, code: int = 3) -> None:
        ended = edgekit("check", bundle, "--json", tmp_path / "found.json", cache=cache_dir())
        assert ended.code == code, ended.out + ended.err
        assert all(word in ended.error() for word in words), ended.error()

    bundle = damaged("scale")
    replace(bundle / "picodet_s.int8.onnx", f"{layer}.w_0.s", lambda value: value * np.float32(1.5))
    rehash(bundle)
    red(bundle, f"picodet_s.int8.onnx: {layer}: the scales of its weights are 1.5 times")
    rows = json.loads((tmp_path / "found.json").read_text())["findings"]
    assert any(row["step"] == "golden" and row["verdict"] == "failed" for row in rows), (
        "it shows when run, too"
    )

    bundle = damaged("channels")
    replace(bundle / "picodet_s.int8.onnx", f"{layer}.w_0.q", exchange)
    rehash(bundle)
    red(bundle, f"picodet_s.int8.onnx: {layer}: output channels of its weights are exchanged: 3, 7")

    bundle = damaged("mean")
    rehash(bundle, shift_mean)
    red(bundle, "golden: pre-processing", "preprocess.mean")

    bundle = damaged("labels")
    rehash(bundle, shift_labels)
    red(bundle, "files: labels.txt", "shifted by one")

    bundle = damaged("truncated")
    file = bundle / "picodet_s.int8.onnx"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    red(bundle, "EK402", "picodet_s.int8.onnx", code=4)
