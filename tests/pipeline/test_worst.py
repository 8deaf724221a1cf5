"""The pictures that a report shows, and the backends held against one another."""

from __future__ import annotations

import base64
import json
from typing import Any

import cv2
import numpy as np
import onnxruntime
import pytest

from edgekit.folder import ModelFolder
from edgekit.stages import worst
from edgekit.tasks.preprocessing import preprocess
from tests.tasks.test_shown import detections, info


def test_the_worst_pictures_of_a_bundle(world: Any) -> None:
    report = json.loads((world.bundle / "report.json").read_text())
    how = ModelFolder.open(world.bundle / "paddle").info.preprocess
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")  # or it saturates without VNNI
    sessions = [
        onnxruntime.InferenceSession(str(world.bundle / f"tiny.{kind}.onnx"), options)
        for kind in ("fp32", "int8")
    ]
    assert report["judged"] == "int8.onnx"
    distances = {}
    for path in sorted((world.pictures / "evaluation").glob("*.jpg")):
        feed = {sessions[0].get_inputs()[0].name: preprocess(cv2.imread(str(path)), how)[None]}
        p, q = (session.run(None, feed)[0][0].astype(float) for session in sessions)
        distances[path.name] = float((p * np.log(p / q)).sum())
    shown = report["pictures"]
    assert len(shown) == 6  # all that were evaluated
    values = [picture["value"] for picture in shown]
    assert values == sorted(values, reverse=True) and values[0] > 0
    assert values == pytest.approx([distances[picture["name"]] for picture in shown], rel=0.02, abs=1e-6)
    for picture in shown:
        small = cv2.imdecode(np.frombuffer(base64.b64decode(picture["jpeg"]), np.uint8), cv2.IMREAD_COLOR)
        assert small.shape == (picture["height"], picture["width"], 3) == (40, 48, 3)
        assert picture["reference"][0]["label"].startswith("class ")


def test_backends_with_one_another(world: Any) -> None:
    report = json.loads((world.bundle / "report.json").read_text())
    found = {(pair["truth"], pair["judged"]): pair["value"] for pair in report["agreement"]}
    names = ["fp32.paddle", "fp32.onnx", "int8.onnx", "int8.paddle"]
    assert set(found) == {(a, b) for a in names for b in names if a != b}
    for name in names[1:]:
        assert found["fp32.paddle", name] == report["metrics"][name]["top1_agreement"]
    # Having the same best class is mutual.
    assert all(found[a, b] == found[b, a] for a, b in found)


def test_answers_are_scaled_with_their_picture() -> None:
    image = np.zeros((300, 960, 3), np.uint8)
    image[:, :, 2] = 200  # red
    box = (96.0, 30.0, 480.0, 150.0)
    seen = worst.seen(
        info("detection"),
        image,
        detections((1, 0.9, box), (0, 0.1, (0.0, 0.0, 9.0, 9.0))),
        detections((0, 0.9, box)),
    )
    assert (seen["width"], seen["height"]) == (480, 150)
    (dog,), (cat,) = seen["reference"], seen["judged"]  # the faint cat is not shown
    assert dog["points"] == cat["points"] == [[48, 15], [240, 15], [240, 75], [48, 75]]
    assert (dog["label"], dog["differs"], cat["label"], cat["differs"]) == ("dog", True, "cat", True)
    small = cv2.imdecode(np.frombuffer(base64.b64decode(seen["jpeg"]), np.uint8), cv2.IMREAD_COLOR)
    assert small.shape == (150, 480, 3) and np.abs(small.mean(axis=(0, 1)) - (0, 0, 200)).max() < 5
