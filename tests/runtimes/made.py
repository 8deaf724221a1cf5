"""Manifests, pictures and probability maps on which the runtimes are held against Python."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgekit.folder import ModelInfo

POSTS: dict[str, dict[str, Any]] = {
    "classification": {"kind": "classification", "probabilities": "p", "top_k": 3},
    "detection": {
        "kind": "detection", "boxes": "b", "scores": "s", "strides": [8, 16],
        "nms_top_k": 40, "keep_top_k": 30,
    },
    # Of noise, too, regions shall be found.
    "text_detection": {"kind": "text_detection", "map": "m", "box_threshold": 0.3},
    "text_recognition": {"kind": "text_recognition", "probabilities": "p"},
}  # fmt: skip
RESIZES: dict[str, dict[str, Any]] = {
    "exact": {"kind": "exact", "height": 64, "width": 80, "interpolation": "cubic"},
    "short": {"kind": "short", "height": 70, "width": 70, "interpolation": "linear"},
    "line": {"kind": "line", "height": 48, "width": 160, "widest": 640, "interpolation": "linear"},
    "page": {"kind": "page", "height": 96, "width": 96, "longest": 160, "interpolation": "area"},
}


def write_manifest(
    path: Path, task: str, resize: str = "exact", labels: int = 3, outputs: str = "y", **preprocessing: Any
) -> ModelInfo:
    info = ModelInfo.model_validate(
        {
            "name": "net",
            "task": task,
            "inputs": [{"name": "x", "shape": [-1, 3, -1, -1]}],
            "outputs": [{"name": name, "shape": [-1]} for name in outputs],
            "preprocess": {
                "resize": RESIZES[resize],
                "mean": [0.485, 0.456, 0.406],
                "std": [0.229, 0.224, 0.225],
                **preprocessing,
            },
            "postprocess": POSTS[task],
            "labels": [f"länd {k}" for k in range(labels)],
        }
    )
    path.write_text(json.dumps({**info.model_dump(mode="json"), "files": []}))
    return info


def picture(seed: int, height: int, width: int) -> Any:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return cv2.GaussianBlur(noise, (5, 5), 1) if seed % 2 else noise


def maps(count: int, height: int, width: int, seed: int) -> Any:
    """Probabilities with the shapes of text: turned bars, blobs, holes, specks and single pixels."""
    random = np.random.default_rng(seed)
    result = np.zeros((count, height, width), np.float32)
    for one in result:
        for _ in range(random.integers(0, 9)):
            centre = random.uniform(0, (width, height))
            box = cv2.boxPoints((centre, random.uniform(2, 60, 2), random.uniform(0, 180)))
            cv2.fillPoly(one, [np.int32(box)], float(random.uniform(0.2, 1)))
        noise = random.uniform(0, 1, (height, width)).astype(np.float32)
        soft = cv2.GaussianBlur(noise, (0, 0), random.uniform(0.6, 3))
        if random.random() < 0.5:
            one += (soft - 0.5) * float(random.uniform(0.2, 3))
        if random.random() < 0.2:
            np.copyto(one, noise)
    return np.clip(result, 0, 1)
