import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.errors import EdgekitError
from edgekit.folder import DetectionPost
from edgekit.tasks.detection import Detections, agreement_ap, ap_on_coco, coco_ap, postprocess, same_class


def found(*rows):
    """Rows of x1 y1 x2 y2 score class."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4], table[:, 5].astype(np.int64))


def true(*rows):
    table = np.array(rows, np.float32).reshape(-1, 5)
    return table[:, :4], table[:, 4].astype(np.int64)


def shifted(item, by):
    return Detections(item.boxes + np.float32(by), item.scores, item.classes)


def random_detections(seed, n=12):
    rng = np.random.default_rng(seed)
    corner, side = rng.uniform(0, 400, (n, 2)), rng.uniform(20, 120, (n, 2))
    order = np.sort(rng.uniform(0.03, 0.99, n))[::-1]
    boxes = np.concatenate([corner, corner + side], 1)
    return Detections(boxes.astype(np.float32), order.astype(np.float32), rng.integers(0, 4, n))


def test_boxes_come_back_in_pixels_of_the_picture():
    boxes = np.array([[0, 0, 32, 16], [10, 10, 20, 20]], np.float32)
    scores = np.array([[0.2, 0.01], [0.1, 0.9]], np.float32)
    spec = DetectionPost(boxes="b", scores="s")
    got = postprocess(boxes, scores, spec, input_size=(320, 160), image_size=(640, 480))
    assert got.scores.tolist() == pytest.approx([0.9, 0.2, 0.1]) and got.classes.tolist() == [1, 0, 1]
    assert got.boxes.tolist() == [[30, 20, 60, 40], [0, 0, 96, 32], [0, 0, 96, 32]]
    assert (got.boxes.dtype, got.scores.dtype, got.classes.dtype) == (np.float32, np.float32, np.int64)


def test_ap_of_one_hit_and_one_miss_by_hand():
    truth = [true((0, 0, 10, 10, 0), (100, 100, 120, 120, 0))]
    # One of two found: precision 1 up to recall .5, then 0. COCO samples 101 recalls, 51 of them <= .5.
    assert coco_ap(truth, [found((0, 0, 10, 10, 0.9, 0))]) == pytest.approx(
        {"ap": 51 / 101, "ap50": 51 / 101}
    )


def test_ap_of_a_loose_box_counts_only_the_thresholds_it_reaches():
    # IoU 80/100 = .8: found at .5 .55 .. .75 and .8, that is 7 of 10 thresholds.
    got = coco_ap([true((0, 0, 10, 10, 0))], [found((0, 0, 10, 8, 0.9, 0))])
    assert got == pytest.approx({"ap": 0.7, "ap50": 1.0})


def test_a_better_scored_false_box_halves_the_precision():
    got = coco_ap([true((0, 0, 10, 10, 0))], [found((50, 50, 60, 60, 0.9, 0), (0, 0, 10, 10, 0.8, 0))])
    assert got == pytest.approx({"ap": 0.5, "ap50": 0.5})


def test_ap_is_the_mean_over_classes_and_a_class_without_truth_does_not_count():
    truth = [true((0, 0, 10, 10, 0), (50, 50, 60, 60, 3))]
    got = coco_ap(truth, [found((0, 0, 10, 10, 0.9, 0), (20, 20, 30, 30, 0.9, 7))])
    assert got == pytest.approx({"ap": 0.5, "ap50": 0.5})


def test_nothing_found_is_zero_and_no_truth_is_not_measurable(capfd):
    assert coco_ap([true((0, 0, 10, 10, 0))], [found()]) == {"ap": 0, "ap50": 0}
    assert coco_ap([true()], [found((0, 0, 10, 10, 0.9, 0))]) == {"ap": None, "ap50": None}
    assert agreement_ap([found((0, 0, 9, 9, 0.4, 0))], [found()]) == {
        "agreement_ap": None, "agreement_ap50": None, "agreement_n": 0, "same_class": None,
    }  # fmt: skip
    assert capfd.readouterr().out == ""


def test_ap_is_what_pycocotools_reports_by_its_own_route(tmp_path, capsys):
    """COCO files on disk, loadRes, summarize: the door that a user would take, with all its defaults."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    rng = np.random.default_rng(3)
    reference = [random_detections(seed) for seed in range(6)]
    got = [shifted(item, rng.normal(0, 3, item.boxes.shape)) for item in reference]
    truth = [(item.boxes, item.classes) for item in reference]

    def boxes(items):
        return [
            {
                "image_id": i,
                "category_id": int(c),
                "bbox": [*map(float, (*b[:2], *(b[2:] - b[:2])))],
                "score": float(s),
            }
            for i, item in enumerate(items)
            for b, c, s in zip(item.boxes, item.classes, item.scores, strict=True)
        ]

    annotations = [
        {**item, "id": i, "area": item["bbox"][2] * item["bbox"][3], "iscrowd": 0}
        for i, item in enumerate(boxes(reference), 1)
    ]
    file = tmp_path / "truth.json"
    file.write_text(
        json.dumps(
            {
                "images": [{"id": i} for i in range(6)],
                "categories": [{"id": i} for i in range(4)],
                "annotations": annotations,
            }
        )
    )
    coco = COCO(str(file))
    evaluation = COCOeval(coco, coco.loadRes(boxes(got)), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    ours = coco_ap(truth, got)
    assert 0.1 < ours["ap"] < 0.9
    assert ours["ap"] == pytest.approx(evaluation.stats[0]) and ours["ap50"] == pytest.approx(
        evaluation.stats[1]
    )


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=4))
def test_a_model_agrees_with_itself(seeds):
    items = [random_detections(seed) for seed in seeds]
    got = agreement_ap(items, items)
    n = sum(int((item.scores >= 0.5).sum()) for item in items)
    assert got["agreement_n"] == n
    if n:
        assert got["agreement_ap"] == got["agreement_ap50"] == got["same_class"] == 1.0


def test_agreement_falls_as_boxes_shift():
    items = [random_detections(seed) for seed in range(8)]
    curve = [
        agreement_ap(items, [shifted(item, by) for item in items])["agreement_ap"] for by in (0, 2, 5, 12, 60)
    ]
    assert curve == sorted(curve, reverse=True) and len(set(curve)) == 5
    assert curve[0] == 1.0 and curve[-1] < 0.1


def test_a_reference_box_without_area_is_no_truth():
    item = found((0, 0, 10, 10, 0.9, 0), (5, 5, 5, 9, 0.8, 0))
    assert agreement_ap([item], [item])["agreement_n"] == 1
    assert agreement_ap([item], [item])["agreement_ap"] == 1.0


def test_same_class_by_hand():
    reference = [
        found(
            (0, 0, 10, 10, 0.9, 0), (50, 50, 60, 60, 0.8, 1), (80, 80, 90, 90, 0.7, 2), (0, 50, 9, 59, 0.6, 3)
        )
    ]
    got = [
        found(
            (0, 0, 10, 9, 0.9, 0),  # right
            (50, 50, 60, 60, 0.8, 2),  # better box, wrong class
            (50, 50, 60, 59, 0.7, 1),
            (80, 80, 90, 90, 0.2, 2),  # score too low to be seen
            (0, 50, 9, 59, 0.6, 1),  # one anchor, two classes, one box: right
            (0, 50, 9, 59, 0.5, 3),
        )
    ]
    assert same_class(reference, got) == 0.5
    assert same_class(reference, [found()]) == 0


def coco_file(path, **changes):
    content = {
        "images": [
            {"id": 7, "file_name": "val/a.jpg"},
            {"id": 9, "file_name": "b.jpg"},
            {"id": 11, "file_name": "c.jpg"},
        ],
        "categories": [{"id": 18, "name": "Dog"}, {"id": 3, "name": "car"}, {"id": 4, "name": "unicorn"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 18, "bbox": [0, 0, 10, 10]},
            {"id": 2, "image_id": 9, "category_id": 3, "bbox": [5, 5, 20, 10]},
            {"id": 3, "image_id": 9, "category_id": 3, "bbox": [0, 0, 90, 90], "iscrowd": 1},
            {"id": 4, "image_id": 9, "category_id": 4, "bbox": [0, 0, 9, 9]},
            {"id": 5, "image_id": 11, "category_id": 3, "bbox": [0, 0, 9, 9]},
        ],
        **changes,
    }
    path.write_text(json.dumps(content))
    return path


LABELS = ["cat", "car", "dog"]


def test_coco_categories_are_matched_by_name_and_pictures_by_file(tmp_path):
    file = coco_file(tmp_path / "instances.json")
    got = [found((5, 5, 25, 15, 0.9, 1), (40, 40, 60, 60, 0.8, 1)), found((0, 0, 10, 10, 0.9, 2))]
    # The second box of b.jpg lies in the crowd, which is neither right nor wrong.
    assert ap_on_coco(file, ["x/b.jpg", "a.jpg"], LABELS, got) == {"ap": 1.0, "ap50": 1.0, "ap_n": 2}
    assert ap_on_coco(file, ["a.jpg"], LABELS, [found()]) == {"ap": 0, "ap50": 0, "ap_n": 1}


@pytest.mark.parametrize(
    ("changes", "names", "code", "words"),
    [
        ({}, ["a.jpg", "z.jpg"], "EK408", "z.jpg"),
        ({"categories": [{"id": 18, "name": "truck"}]}, ["a.jpg"], "EK408", "truck"),
        ({"categories": []}, ["a.jpg"], "EK408", "it has none"),
        ({"annotations": [{"image_id": 7}]}, ["a.jpg"], "EK408", "not a COCO"),
        ({"images": 5}, ["a.jpg"], "EK408", "not a COCO"),
    ],
)
def test_annotations_that_do_not_fit_say_what_is_missing(tmp_path, changes, names, code, words):
    with pytest.raises(EdgekitError, match=words) as caught:
        ap_on_coco(coco_file(tmp_path / "f.json", **changes), names, LABELS, [found()] * len(names))
    assert caught.value.code == code


def test_annotations_that_are_missing_or_no_json(tmp_path):
    with pytest.raises(EdgekitError) as caught:
        ap_on_coco(tmp_path / "none.json", [], LABELS, [])
    assert caught.value.code == "EK401"
    (tmp_path / "bad.json").write_text("[1")
    with pytest.raises(EdgekitError) as caught:
        ap_on_coco(tmp_path / "bad.json", [], LABELS, [])
    assert caught.value.code == "EK408"
