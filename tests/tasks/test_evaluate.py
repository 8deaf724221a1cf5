import json

import numpy as np
import pytest

from edgekit.errors import EdgekitError
from edgekit.folder import ModelInfo
from edgekit.tasks import evaluate


def info(task, labels=("cat", "dog"), **preprocess):
    post = {
        "classification": {"kind": "classification", "probabilities": "p", "top_k": 2},
        "detection": {"kind": "detection", "boxes": "b", "scores": "s"},
    }[task]
    resize = {"kind": "exact", "height": 100, "width": 200, "interpolation": "linear"}
    return ModelInfo.model_validate(
        {
            "name": "m", "task": task, "inputs": [], "outputs": [], "postprocess": post,
            "labels": list(labels),
            "preprocess": {"resize": resize, "mean": (0, 0, 0), "std": (1, 1, 1), **preprocess},
        }
    )  # fmt: skip


CLASS, BOX = info("classification"), info("detection")
BOX_OUTPUTS = {
    "b": np.array([[[0, 0, 20, 20], [50, 50, 90, 90]]], np.float32),
    "s": np.array([[[0.9, 0.01], [0.01, 0.6]]], np.float32),
}


def test_classification_from_outputs_to_json_and_metrics(tmp_path):
    first = evaluate.answers(CLASS, {"p": np.array([[0.8, 0.2]], np.float32)}, (5, 5))
    second = evaluate.answers(CLASS, {"p": np.array([[0.25, 0.75]], np.float32)}, (5, 5))
    text = json.loads(json.dumps(evaluate.answer_json(CLASS, second)))
    assert text == {
        "top": [
            {"class": 1, "label": "dog", "probability": 0.75},
            {"class": 0, "label": "cat", "probability": 0.25},
        ]
    }
    assert evaluate.compare(CLASS, [first, second], [first, first]) == {
        "top1_agreement": 0.5, "top1_agreement_sure": 0.5, "sure_n": 2, "top5_agreement": 1.0, "n": 2,
        "kl_divergence": pytest.approx((0.25 * np.log(0.25 / 0.8) + 0.75 * np.log(0.75 / 0.2)) / 2),
    }  # fmt: skip
    labels = tmp_path / "val_list.txt"
    labels.write_text("val/a b.jpg 0\n\nc.jpg 0\n")
    assert evaluate.truth(CLASS, labels, ["c.jpg", "x/a b.jpg"], [first, second]) == {
        "top1": 0.5,
        "top5": 1.0,
    }


def test_detection_from_outputs_to_json_and_metrics(tmp_path):
    answer = evaluate.answers(BOX, BOX_OUTPUTS, (200, 200))
    assert json.loads(json.dumps(evaluate.answer_json(BOX, answer))) == {
        "detections": [
            {"class": 0, "label": "cat", "score": pytest.approx(0.9), "box": [0, 0, 20, 40]},
            {"class": 1, "label": "dog", "score": pytest.approx(0.6), "box": [50, 100, 90, 180]},
        ]
    }
    assert evaluate.compare(BOX, [answer], [answer]) == {
        "agreement_ap": 1.0, "agreement_ap50": 1.0, "agreement_n": 2, "same_class": 1.0, "n": 1,
    }  # fmt: skip
    file = tmp_path / "coco.json"
    file.write_text(
        json.dumps(
            {
                "images": [{"id": 1, "file_name": "a.jpg"}],
                "categories": [{"id": 5, "name": "cat"}],
                "annotations": [{"image_id": 1, "category_id": 5, "bbox": [0, 0, 20, 40]}],
            }
        )
    )
    assert evaluate.truth(BOX, file, ["a.jpg"], [answer]) == {"ap": 1.0, "ap50": 1.0, "ap_n": 1}


@pytest.mark.parametrize("task", ["classification", "detection"])
def test_no_pictures_is_not_measurable(task):
    got = evaluate.compare(info(task), [], [])
    assert all(value is None or (value == 0 and name.endswith("n")) for name, value in got.items())


@pytest.mark.parametrize(
    ("which", "outputs", "words"),
    [
        (BOX, {"b": BOX_OUTPUTS["b"]}, "no output 's'"),
        (BOX, {**BOX_OUTPUTS, "s": BOX_OUTPUTS["s"].transpose(0, 2, 1)[:, :, :1]}, "shape"),
        (CLASS, {"p": np.zeros((2, 2), np.float32)}, "expected .1, .."),
        (info("detection", crop=(50, 50)), BOX_OUTPUTS, "exact, no crop"),
    ],
)
def test_outputs_that_do_not_fit_the_description(which, outputs, words):
    with pytest.raises(EdgekitError, match=words) as caught:
        evaluate.answers(which, outputs, (200, 200))
    assert caught.value.code == "EK409"


def test_labels_may_be_absent_but_not_too_few():
    answer = evaluate.answers(BOX, BOX_OUTPUTS, (100, 200))
    assert evaluate.answer_json(info("detection", labels=()), answer)["detections"][1]["label"] == "1"
    with pytest.raises(EdgekitError) as caught:
        evaluate.answer_json(info("detection", labels=("cat",)), answer)
    assert caught.value.code == "EK408"


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("a.jpg 0\na.jpg cat\n", "EK408", "line 2.*'a.jpg cat'"),
        ("\na.jpg\n", "EK408", "line 2.*picture class-index"),
        ("b.jpg 1\n", "EK408", "a.jpg"),
        (None, "EK401", "cannot be read"),
    ],
)
def test_class_labels_that_do_not_fit(tmp_path, text, code, words):
    file = tmp_path / "labels.txt"
    if text is not None:
        file.write_text(text)
    with pytest.raises(EdgekitError, match=words) as caught:
        evaluate.truth(CLASS, file, ["a.jpg"], [np.array([0.5, 0.5], np.float32)])
    assert caught.value.code == code


def test_answers_of_different_length_are_a_bug_of_the_caller():
    with pytest.raises(ValueError):
        evaluate.compare(CLASS, [], [np.array([1.0], np.float32)])
