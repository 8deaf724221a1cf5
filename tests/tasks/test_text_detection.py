import json
import math

import cv2
import numpy as np
import pyclipper
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.errors import EdgekitError
from edgekit.folder import ModelInfo, TextDetectionPost
from edgekit.tasks import evaluate
from edgekit.tasks import text_detection as t

SPEC = TextDetectionPost(map="m")
SQUARE = np.array([(0, 0), (10, 0), (10, 10), (0, 10)], np.float32)


def shifted(quad, x, y=0.0):
    return np.asarray(quad, np.float32) + np.float32((x, y))


def regions(*quads):
    return t.Regions(np.array(quads, np.float32).reshape(-1, 4, 2), np.full(len(quads), 0.9, np.float32))


def rectangle(x, y, width, height, degrees=0.0):
    """Corners, clockwise from the upper left before it is turned, around the centre x y."""
    angle = math.radians(degrees)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    half = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * (width / 2, height / 2)
    return half @ turn.T + (x, y)


def drawn(size, *quads, value=0.9):
    pixels = np.zeros(size, np.float32)
    for quad in quads:
        cv2.fillPoly(pixels, [np.rint(quad).astype(np.int32)], value)
    return pixels


@pytest.mark.parametrize(
    ("second", "iou"),
    [
        (SQUARE, 1),
        (shifted(SQUARE, 5), 50 / 150),
        (shifted(SQUARE, 5, 5), 25 / 175),
        (shifted(SQUARE, 10), 0),  # they only touch
        (shifted(SQUARE, 30), 0),
        (SQUARE / 2, 25 / 100),
        ([(0, 0), (10, 0), (10, 10)], 50 / 100),
        ([(5, -5), (15, 5), (5, 15), (-5, 5)], 100 / 200),  # a square on its corner, around the first
        ([(0, 0), (10, 10), (10, 0), (0, 10)], 50 / 100),  # crosses itself: two triangles
        ([(3, 3), (3, 3), (3, 3), (3, 3)], 0),
        (SQUARE[::-1], 1),
    ],
)
def test_iou_by_hand(second, iou):
    got = t.overlaps([SQUARE, shifted(SQUARE, 500)], [np.asarray(second, np.float32)])
    assert got.tolist() == [[pytest.approx(iou)], [0]]


def test_iou_of_nothing():
    assert t.overlaps([], [SQUARE]).shape == (0, 1)
    assert t.overlaps([SQUARE], []).shape == (1, 0)


def test_matching_is_one_to_one_and_the_best_pair_comes_first():
    assert t.pairs(np.array([[0.6, 0.9], [0.1, 0.8]]), 0.5) == {0: 1}, "in the order of rows it were 2"
    assert t.pairs(np.array([[0.9, 0.6], [0.8, 0.1]]), 0.5) == {0: 0}, "one line found twice is one hit"
    assert t.pairs(np.array([[0.9, 0.1], [0.1, 0.6]]), 0.5) == {0: 0, 1: 1}
    assert t.pairs(np.array([[0.5]]), 0.5) == {} and t.pairs(np.array([[0.51]]), 0.5) == {0: 0}
    assert t.pairs(np.zeros((0, 3)), 0.5) == t.pairs(np.zeros((3, 0)), 0.5) == {}


def test_scores_by_hand():
    # Page one: a hit, a shift of 2 of 10 (IoU 80/120), a miss. Page two: one too many.
    truth = [[SQUARE, shifted(SQUARE, 100), shifted(SQUARE, 200)], []]
    got = [regions(shifted(SQUARE, 102), SQUARE), regions(SQUARE)]
    assert t.scores(truth, got) == {
        "hmean": pytest.approx(2 * (2 / 3) * (2 / 3) / (2 / 3 + 2 / 3)),
        "hmean75": pytest.approx(1 / 3),
        "precision": pytest.approx(2 / 3),
        "recall": pytest.approx(2 / 3),
        "hmean_n": 3,
    }


def test_regions_of_other_pages_do_not_count():
    assert t.scores([[SQUARE], []], [regions(), regions(SQUARE)])["hmean"] == 0


def test_what_is_not_measurable_is_none():
    nothing = t.scores([[]], [regions()])
    assert (nothing["hmean"], nothing["hmean75"], nothing["precision"], nothing["recall"]) == (None,) * 4
    missed = t.scores([[SQUARE]], [regions()])
    assert (missed["hmean"], missed["precision"], missed["recall"]) == (0, None, 0)
    invented = t.scores([[]], [regions(SQUARE)])
    assert (invented["hmean"], invented["precision"], invented["recall"]) == (0, 0, None)


def test_agreement_takes_the_reference_as_truth():
    reference = [regions(SQUARE, shifted(SQUARE, 50))]
    assert t.agreement(reference, reference) == {
        "agreement_hmean": 1, "agreement_hmean75": 1, "agreement_n": 2,
    }  # fmt: skip
    got = t.agreement(reference, [regions(shifted(SQUARE, 2))])
    assert got == {"agreement_hmean": pytest.approx(2 / 3), "agreement_hmean75": 0, "agreement_n": 2}


@pytest.mark.parametrize("along", [(1, 0), (0.8, 0.6), (0.6, -0.8)])
@pytest.mark.parametrize(("width", "height", "ratio"), [(120, 20, 1.5), (60, 60, 1.5), (200, 10, 2.0)])
def test_growing_a_rectangle_against_the_closed_form(width, height, ratio, along):
    """Each side moves by d = area * ratio / perimeter; round corners make the area larger by p d + pi d^2.

    The corners lie on whole pixels, which Clipper would cut them to.
    """
    right, down = np.array(along) * width, np.array((-along[1], along[0])) * height
    quad = np.rint(np.array([(300, 300), right + 300, right + down + 300, down + 300])).astype(np.float32)
    distance = width * height * ratio / (2 * (width + height))
    outline = t.grow(quad, ratio)
    area = width * height + 2 * (width + height) * distance + math.pi * distance**2
    assert shapely.Polygon(outline).area == pytest.approx(area, rel=0.05)
    corners, side = t.smallest_rectangle(outline)
    assert side == pytest.approx(min(width, height) + 2 * distance, abs=1)
    sides = np.linalg.norm(corners - np.roll(corners, 1, axis=0), axis=1)
    assert sides.max() == pytest.approx(max(width, height) + 2 * distance, abs=1)
    assert corners.mean(axis=0) == pytest.approx(quad.mean(axis=0), abs=0.6)


def test_what_vanishes_in_whole_pixels_does_not_grow():
    assert (
        t.grow(np.full((4, 2), 7.3, np.float32) + np.float32([(0, 0), (0.2, 0), (0.2, 0.1), (0, 0.1)]), 1.5)
        is None
    )


@given(st.floats(-60, 60), st.integers(6, 60), st.integers(6, 60))
def test_corners_go_clockwise_from_the_upper_left(degrees, width, height):
    points = rectangle(100, 100, 3 * width, height, degrees).astype(np.float32)
    corners, side = t.smallest_rectangle(points)
    assert side == pytest.approx(min(3 * width, height), rel=1e-3)
    x, y = corners.T
    # The shoelace sum is positive for clockwise in a picture, whose y points down.
    assert sum(x * np.roll(y, -1) - y * np.roll(x, -1)) > 0
    assert max(x[0], x[3]) <= min(x[1], x[2]) + 1e-3 and y[0] <= y[3] and y[1] <= y[2]


def paddleocr(pred, spec, dest_height, dest_width):
    """PaddleOCR's DBPostProcess.boxes_from_bitmap, retold in its own order with lists and loops."""

    def mini_box(contour):
        box = cv2.minAreaRect(contour)
        points = sorted(cv2.boxPoints(box).tolist(), key=lambda p: p[0])
        one, four = (0, 1) if points[1][1] > points[0][1] else (1, 0)
        two, three = (2, 3) if points[3][1] > points[2][1] else (3, 2)
        return [points[one], points[two], points[three], points[four]], min(box[1])

    height, width = pred.shape
    found = []
    bitmap = pred > np.float32(spec.threshold)
    contours, _ = cv2.findContours((bitmap * 255).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    for contour in contours[: spec.max_candidates]:
        points, side = mini_box(contour)
        if side < spec.min_size:
            continue
        box = np.array(points, np.float32)
        xmin, xmax = (
            int(np.clip(f(v), 0, width - 1))
            for f, v in ((math.floor, box[:, 0].min()), (math.ceil, box[:, 0].max()))
        )
        ymin, ymax = (
            int(np.clip(f(v), 0, height - 1))
            for f, v in ((math.floor, box[:, 1].min()), (math.ceil, box[:, 1].max()))
        )
        mask = np.zeros((ymax - ymin + 1, xmax - xmin + 1), np.uint8)
        cv2.fillPoly(mask, (box - np.float32([xmin, ymin])).reshape(1, -1, 2).astype(np.int32), 1)
        score = cv2.mean(pred[ymin : ymax + 1, xmin : xmax + 1], mask)[0]
        if spec.box_threshold > score:
            continue
        polygon = shapely.Polygon(points)
        offset = pyclipper.PyclipperOffset()
        offset.AddPath([[int(x), int(y)] for x, y in points], pyclipper.JT_ROUND, pyclipper.ET_CLOSEDPOLYGON)
        expanded = np.array(offset.Execute(polygon.area * spec.unclip_ratio / polygon.length)).reshape(
            -1, 1, 2
        )
        points, side = mini_box(expanded.astype(np.int32))
        if side < spec.min_size + 2:
            continue
        quad = [
            [
                min(max(round(x / width * dest_width), 0), dest_width),
                min(max(round(y / height * dest_height), 0), dest_height),
            ]
            for x, y in points
        ]
        found.append((quad, score))
    return found


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_postprocess_is_paddleocrs(seed):
    rng = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(rng.random((90, 140)).astype(np.float32), (0, 0), float(rng.uniform(1, 4)))
    pixels = np.clip((noise - noise.mean()) / noise.std() * 0.4 + 0.4, 0, 1).astype(np.float32)
    expected = paddleocr(pixels, SPEC, 270, 200)
    got = t.postprocess(pixels, SPEC, (270, 200))
    assert got.quads.tolist() == [quad for quad, _ in expected]
    assert got.scores.tolist() == pytest.approx([score for _, score in expected])


def test_a_drawn_core_comes_back_grown_and_in_pixels_of_the_picture():
    core = rectangle(160, 80, 180, 24, 10)
    distance = 180 * 24 * 1.5 / (2 * (180 + 24))
    line = rectangle(160, 80, 180 + 2 * distance, 24 + 2 * distance, 10)
    got = t.postprocess(drawn((160, 320), core), SPEC, (320, 960))  # 2 x as high, 3 x as wide
    assert got.quads.shape == (1, 4, 2) and got.scores == pytest.approx([0.85], abs=0.05)
    assert got.quads.dtype == got.scores.dtype == np.float32
    assert t.overlaps([line * (3, 2)], list(got.quads))[0, 0] > 0.9


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({}, 3),
        ({"max_candidates": 2}, 2),
        ({"box_threshold": 0.95}, 0),
        ({"threshold": 0.95}, 0),
        ({"min_size": 12}, 2),
        ({"min_size": 30}, 0),
    ],
)
def test_what_each_setting_does(change, found):
    pixels = drawn(
        (200, 300), rectangle(60, 40, 80, 20), rectangle(200, 100, 90, 24), rectangle(90, 160, 60, 10)
    )
    assert len(t.postprocess(pixels, SPEC.model_copy(update=change), (200, 300)).quads) == found


def test_a_weak_region_goes_by_its_mean():
    pixels = drawn((100, 100), rectangle(50, 50, 60, 20), value=0.59)
    assert not len(t.postprocess(pixels, SPEC, (100, 100)).quads)
    assert len(t.postprocess(pixels + np.float32(0.02), SPEC, (100, 100)).quads) == 1


def test_regions_at_the_edge_are_clipped_and_an_empty_map_has_none():
    got = t.postprocess(drawn((100, 100), rectangle(10, 5, 40, 20)), SPEC, (50, 100))
    assert got.quads.min() == 0 and len(got.quads) == 1
    nothing = t.postprocess(np.zeros((100, 100), np.float32), SPEC, (50, 100))
    assert nothing.quads.shape == (0, 4, 2) and nothing.scores.shape == (0,)
    full = t.postprocess(np.ones((100, 100), np.float32), SPEC, (50, 80))
    assert full.quads.tolist() == [[[0, 0], [80, 0], [80, 50], [0, 50]]]


def info(**preprocess):
    resize = {"kind": "exact", "height": 80, "width": 160, "interpolation": "linear"}
    return ModelInfo.model_validate(
        {
            "name": "m", "task": "text_detection", "inputs": [], "outputs": [], "labels": ["text"],
            "postprocess": {"kind": "text_detection", "map": "m"},
            "preprocess": {"resize": resize, "mean": (0, 0, 0), "std": (1, 1, 1), **preprocess},
        }
    )  # fmt: skip


def test_from_outputs_to_json_and_metrics(tmp_path):
    outputs = {"m": drawn((80, 160), rectangle(80, 40, 100, 20))[None, None]}
    answer = evaluate.answers(info(), outputs, (80, 160))
    (region,) = json.loads(json.dumps(evaluate.answer_json(info(), answer)))["regions"]
    assert region["score"] == pytest.approx(0.9) and region["points"] == answer.quads[0].tolist()
    assert evaluate.compare(info(), [answer], [answer]) == {
        "agreement_hmean": 1, "agreement_hmean75": 1, "agreement_n": 1, "n": 1,
    }  # fmt: skip
    labels = tmp_path / "labels.txt"
    entries = [
        {"transcription": "文字", "points": region["points"]},
        {"transcription": "###", "points": [[0, 0], [5, 0], [0, 5]]},
    ]
    labels.write_text(f"images/a.jpg\t{json.dumps(entries)}\n\nb.jpg\t[]\n")
    assert evaluate.truth(info(), labels, ["a.jpg", "b.jpg"], [answer, regions()]) == {
        "hmean": pytest.approx(2 / 3), "hmean75": pytest.approx(2 / 3), "precision": 1, "recall": 0.5,
        "hmean_n": 2,
    }  # fmt: skip
    with pytest.raises(EdgekitError, match="whole") as caught:
        evaluate.answers(info(crop=(50, 50)), outputs, (80, 160))
    assert caught.value.code == "EK409"
    with pytest.raises(EdgekitError, match="shape"):
        evaluate.answers(info(), {"m": np.zeros((1, 2, 80, 160), np.float32)}, (80, 160))


def test_regions_of_a_page_lie_where_they_lie_in_the_picture():
    """720 pixels became 704, 960 stayed: each side has a scale of its own."""
    page = {"kind": "page", "height": 640, "width": 640, "longest": 960, "interpolation": "linear"}
    pixels = drawn((960, 704), rectangle(352, 480, 200, 40))
    (found,) = evaluate.answers(info(resize=page), {"m": pixels[None, None]}, (960, 720)).quads
    (same,) = t.postprocess(pixels, SPEC, (960, 704)).quads
    assert np.abs(found[:, 0] - same[:, 0] * 720 / 704).max() <= 1  # both are whole pixels
    assert np.array_equal(found[:, 1], same[:, 1])
    assert np.abs(found.mean(axis=0) - (360, 480)).max() <= 1
    # A picture of twice the size has the same regions, twice as large.
    (twice,) = evaluate.answers(info(resize=page), {"m": pixels[None, None]}, (1920, 1440)).quads
    assert np.abs(twice - 2 * found).max() <= 1
    short = {key: "short" if key == "kind" else page[key] for key in page if key != "longest"}
    with pytest.raises(EdgekitError, match=r"exact or page, no crop") as caught:
        evaluate.answers(info(resize=short), {}, (960, 720))
    assert caught.value.code == "EK409"


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        (None, "EK401", "cannot be read"),
        ("b.jpg\t[]\n", "EK408", "no line for 1 of the pictures: a.jpg"),
        ("a.jpg []\n", "EK408", r"line 1, .*1 column\(s\), expected 2"),
        ("a.jpg\t[]\nb.jpg\t[]\tx\n", "EK408", r"line 2, .*3 column\(s\), expected 2"),
        ("a.jpg\t[{}]\n", "EK408", "points"),
        ("\n\na.jpg\t[}\n", "EK408", "line 3, .*text labels"),
        ("a.jpg\t7\n", "EK408", "text labels"),
        ('\na.jpg\t[{"points": [[1, 2], [3, 4]]}]\n', "EK408", "line 2, .*region"),
        ('a.jpg\t[{"points": [[1, 2], [3, 4], [NaN, 1]]}]\n', "EK408", "line 1, .*region"),
    ],
)
def test_labels_that_do_not_fit(tmp_path, text, code, words):
    file = tmp_path / "Label.txt"
    if text is not None:
        file.write_text(text)
    with pytest.raises(EdgekitError, match=words) as caught:
        evaluate.truth(info(), file, ["a.jpg"], [regions()])
    assert caught.value.code == code


def test_identical_answers_allow_for_float_noise_and_no_more():
    from edgekit.stages.validate import _same

    first = regions(SQUARE, shifted(SQUARE, 50))
    assert _same(first, regions(shifted(SQUARE, 52), SQUARE))
    assert not _same(first, regions(shifted(SQUARE, 53), SQUARE))
    weaker = t.Regions(first.quads, first.scores - np.float32(0.01))
    assert not _same(first, weaker)
    assert not _same(first, regions(SQUARE)) and not _same(regions(), first)
    assert _same(regions(), regions())
