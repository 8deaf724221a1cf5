import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import EdgekitError
from edgekit.folder import Preprocess, Resize
from edgekit.tasks.preprocessing import centre_crop, preprocess, resized_size

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def spec(**changes):
    resize = {"kind": "exact", "height": 5, "width": 7, "interpolation": "linear"}
    return Preprocess.model_validate({"resize": resize, "mean": MEAN, "std": STD, **changes})


def picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
def test_each_pixel_is_scaled_shifted_and_divided(channels):
    image = picture(5, 7)
    got = preprocess(image, spec(channels=channels))
    assert got.shape == (3, 5, 7) and got.dtype == np.float32 and got.flags.c_contiguous
    for c in range(3):
        for y in range(5):
            for x in range(7):
                value = float(image[y, x, 2 - c if channels == "rgb" else c])
                assert got[c, y, x] == pytest.approx((value / 255 - MEAN[c]) / STD[c], abs=2e-6)


def test_short_resize_then_crop_is_what_a_pixel_loop_takes():
    image = picture(41, 77)
    resize = {"kind": "short", "height": 32, "width": 32, "interpolation": "cubic"}
    got = preprocess(
        image, spec(resize=resize, crop=(24, 25), channels="bgr", scale=1.0, mean=(0, 0, 0), std=(1, 1, 1))
    )
    assert round(77 * 32 / 41) == 60
    resized = cv2.resize(image, (60, 32), interpolation=cv2.INTER_CUBIC)
    for y in range(24):
        for x in range(25):
            assert got[:, y, x].tolist() == resized[(32 - 24) // 2 + y, (60 - 25) // 2 + x].tolist()


@pytest.mark.parametrize("name", ["nearest", "linear", "cubic", "area"])
def test_interpolation_is_the_one_asked_for(name):
    image = picture(20, 30)
    resize = {"kind": "exact", "height": 9, "width": 11, "interpolation": name}
    got = preprocess(image, spec(resize=resize, channels="bgr", scale=1.0, mean=(0, 0, 0), std=(1, 1, 1)))
    method = getattr(cv2, f"INTER_{name.upper()}")
    assert np.array_equal(got.transpose(1, 2, 0), cv2.resize(image, (11, 9), interpolation=method))


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 600))
def test_short_sets_the_shorter_side_and_keeps_the_aspect(height, width, short):
    resize = Resize(kind="short", height=short, width=short, interpolation="linear")
    got = resized_size(height, width, resize)
    assert min(got) == short
    assert abs(got[0] * width - got[1] * height) <= max(height, width)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 5), st.integers(0, 5))
def test_a_crop_lies_in_the_middle(height, width, more_height, more_width):
    rows = np.arange(height + more_height)[:, None] + np.zeros(width + more_width, dtype=int)
    crop = centre_crop(rows, height, width)
    assert crop.shape == (height, width)
    assert crop[0, 0] == more_height // 2


@pytest.mark.parametrize(
    "image",
    [
        picture(4, 4)[:, :, 0],
        picture(4, 4).astype(np.float32),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
    ],
)
def test_an_array_that_is_no_picture_is_refused(image):
    with pytest.raises(EdgekitError) as caught:
        preprocess(image, spec())
    assert caught.value.code == "EK406"


def test_a_hair_thin_picture_is_refused_before_memory_runs_out():
    resize = {"kind": "short", "height": 256, "width": 256, "interpolation": "linear"}
    with pytest.raises(EdgekitError) as caught:
        preprocess(np.zeros((1, 5000, 3), np.uint8), spec(resize=resize))
    assert caught.value.code == "EK406"


def test_a_crop_larger_than_the_picture_names_both_sizes():
    with pytest.raises(EdgekitError, match="crops 6x6 from a picture of 5x7") as caught:
        preprocess(picture(5, 7), spec(crop=(6, 6)))
    assert caught.value.code == "EK409"


def as_paddleocr(image, height, width):
    """What PaddleOCR's recogniser does to a batch of one line, by its own words (resize_norm_img)."""
    ratio = image.shape[1] / float(image.shape[0])
    batch_width = int(height * max(width / height, ratio))
    resized_width = min(batch_width, int(np.ceil(height * ratio)))
    line = cv2.resize(image, (resized_width, height)).astype("float32").transpose((2, 0, 1)) / 255
    line -= 0.5
    line /= 0.5
    padded = np.zeros((3, height, batch_width), dtype=np.float32)
    padded[:, :, :resized_width] = line
    return padded


def line_spec(**changes):
    resize = {"kind": "line", "height": 48, "width": 320, "widest": 3200, "interpolation": "linear"}
    half = (0.5, 0.5, 0.5)
    return spec(resize={**resize, **changes}, channels="bgr", mean=half, std=half)


@given(st.integers(1, 90), st.integers(1, 900), st.integers(0, 9))
def test_a_line_is_prepared_as_paddleocr_does(height, width, seed):
    if width / height > 3200 / 48:
        return
    image = picture(height, width, seed)
    wanted = as_paddleocr(image, 48, 320)
    got = preprocess(image, line_spec())
    assert got.shape == wanted.shape and got.dtype == np.float32 and got.flags.c_contiguous
    np.testing.assert_allclose(got, wanted, atol=1e-6)


@pytest.mark.parametrize(("height", "width", "wanted"), [(48, 100, 320), (48, 321, 321), (30, 300, 480)])
def test_a_line_is_as_wide_as_it_must_be(height, width, wanted):
    got = preprocess(picture(height, width), line_spec())
    assert got.shape == (3, 48, wanted)
    filled = width * 48 // height
    assert (got[:, :, filled + 1 :] == 0).all() and (got[:, :, : filled - 1] != 0).any(axis=(0, 1)).all()


def test_an_endless_line_is_squeezed():
    image = picture(2, 5000)
    got = preprocess(image, line_spec())
    assert got.shape == (3, 48, 3200)
    np.testing.assert_allclose((got + 1) * 127.5, cv2.resize(image, (3200, 48)).transpose(2, 0, 1), atol=1e-3)
    # Without `widest` every line has one width, as for PP-OCR's classifier of directions.
    assert preprocess(image, line_spec(widest=None)).shape == (3, 48, 320)
    assert preprocess(picture(48, 30), line_spec(widest=None)).shape == (3, 48, 320)


@pytest.mark.parametrize(
    "changes",
    [{"resize": {"kind": "exact", "widest": 640}}, {"resize": {"widest": 300}}, {"crop": (48, 300)}],
)
def test_what_does_not_go_with_a_line(changes):
    resize = {"kind": "line", "height": 48, "width": 320, "interpolation": "linear"}
    with pytest.raises(ValueError, match=r"widest|crop"):
        spec(**{**changes, "resize": {**resize, **changes.get("resize", {})}})


def det_resize_for_test(height, width, limit, kind, most):
    """PaddleOCR's sizes for its text detector, by its own words (DetResizeForTest, resize_image_type0)."""
    ratio = 1.0
    if kind == "max" and max(height, width) > limit:
        ratio = float(limit) / height if height > width else float(limit) / width
    if kind == "min" and min(height, width) < limit:
        ratio = float(limit) / height if height < width else float(limit) / width
    resize_h, resize_w = int(height * ratio), int(width * ratio)
    if max(resize_h, resize_w) > most:
        ratio = float(most) / max(resize_h, resize_w)
        resize_h, resize_w = int(resize_h * ratio), int(resize_w * ratio)
    return max(int(round(resize_h / 32) * 32), 32), max(int(round(resize_w / 32) * 32), 32)


def page_resize(**changes):
    page = {"kind": "page", "height": 640, "width": 640, "longest": 960, "interpolation": "linear"}
    return spec(resize={**page, **changes}, channels="bgr").resize


@given(st.integers(1, 30000), st.integers(1, 30000))
def test_a_page_is_as_large_as_paddleocr_has_it(height, width):
    wanted = det_resize_for_test(height, width, 960, "max", 4000)
    assert resized_size(height, width, page_resize()) == wanted
    wanted = det_resize_for_test(height, width, 736, "min", 4000)
    assert resized_size(height, width, page_resize(shortest=736, longest=4000)) == wanted


@pytest.mark.parametrize(
    ("size", "wanted"),
    # 720 / 32 is 22.5, which goes to the even 22; 752 / 32 is 23.5 and goes to 24.
    [((960, 720), (960, 704)), ((752, 960), (768, 960)), ((4000, 3000), (960, 704)), ((1, 5000), (32, 960)),
     ((5, 3), (32, 32)), ((30000, 30000), (960, 960))],
)  # fmt: skip
def test_the_sides_of_a_page(size, wanted):
    assert resized_size(*size, page_resize()) == wanted


@given(st.integers(1, 200), st.integers(1, 200))
def test_a_page_keeps_to_the_sides_that_it_states(height, width):
    how = spec(resize=page_resize(height=64, width=32, longest=96, multiple=16).model_dump())
    got = preprocess(picture(height, width), how)
    for side, allowed in zip(got.shape[1:], how.sides, strict=True):
        assert allowed.least <= side <= allowed.most and side % allowed.multiple == 0
    assert preprocess(picture(height, width), how.nominal).shape == (3, 64, 32)
    assert (how.sides[0].least, how.sides[0].most, how.sides[0].multiple) == (16, 96, 16)


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"longest": 950}, "`longest` is 950"), ({"width": 650}, "`width` is 650"),
     ({"longest": 320}, "longest"), ({"shortest": 992}, "longest"), ({"longest": None}, "longest"),
     ({"widest": 3200}, "widest")],
)  # fmt: skip
def test_what_does_not_go_with_a_page(changes, words):
    with pytest.raises(ValueError, match=words):
        page_resize(**changes)
    with pytest.raises(ValueError, match=r"no `crop` with resize\.kind page"):
        spec(resize=page_resize().model_dump(), crop=(50, 50))
