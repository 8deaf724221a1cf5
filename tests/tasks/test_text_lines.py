from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.tasks.text_lines import cut_out, reading_order, sides


def as_paddleocr(img: Any, points: Any) -> Any:
    """get_rotate_crop_image by its own words."""
    img_crop_width = int(max(np.linalg.norm(points[0] - points[1]), np.linalg.norm(points[2] - points[3])))
    img_crop_height = int(max(np.linalg.norm(points[0] - points[3]), np.linalg.norm(points[1] - points[2])))
    pts_std = np.float32(
        [[0, 0], [img_crop_width, 0], [img_crop_width, img_crop_height], [0, img_crop_height]]
    )
    M = cv2.getPerspectiveTransform(points, pts_std)
    dst_img = cv2.warpPerspective(
        img, M, (img_crop_width, img_crop_height), borderMode=cv2.BORDER_REPLICATE, flags=cv2.INTER_CUBIC
    )
    dst_img_height, dst_img_width = dst_img.shape[0:2]
    if dst_img_height * 1.0 / dst_img_width >= 1.5:
        dst_img = np.rot90(dst_img)
    return dst_img


def quad(x: float, y: float, width: float, height: float, angle: float = 0.0) -> Any:
    corners = np.asarray([(-width, -height), (width, -height), (width, height), (-width, height)]) / 2
    c, s = np.cos(angle), np.sin(angle)
    return (corners @ np.asarray([[c, s], [-s, c]]) + (x, y)).astype(np.float32)


@given(
    st.floats(20, 80), st.floats(20, 80), st.floats(5, 60), st.floats(5, 60), st.floats(-0.7, 0.7),
    st.integers(0, 9),
)  # fmt: skip
def test_a_line_is_cut_out_as_paddleocr_does(
    x: float, y: float, width: float, height: float, angle: float, seed: int
) -> None:
    noise = np.random.default_rng(seed).integers(0, 256, (100, 100, 3)).astype(np.uint8)
    corners = quad(x, y, width, height, angle)
    got = cut_out(noise, corners, 1.5)
    assert np.array_equal(got, as_paddleocr(noise, corners))
    assert got.shape[:2] in (sides(corners), sides(corners)[::-1])


@pytest.mark.parametrize("angle", [-30, 0, 30])
def test_a_turned_card_is_upright_again(angle: int) -> None:
    card = cv2.GaussianBlur(
        np.random.default_rng(0).integers(0, 256, (20, 60, 3)).astype(np.uint8), (0, 0), 2
    )
    turn = cv2.getRotationMatrix2D((30, 10), angle, 1)
    turn[:, 2] += (60, 60)
    page = cv2.warpAffine(card, turn, (150, 150), flags=cv2.INTER_CUBIC, borderValue=(255, 255, 255))
    corners = np.asarray([(0, 0, 1), (60, 0, 1), (60, 20, 1), (0, 20, 1)]) @ turn.T
    inside = (slice(3, -3), slice(3, -3))  # at its edge the card is blended with the page
    got = cut_out(page, corners.astype(np.float32), 1.5)
    got = cv2.resize(got, (60, 20))
    assert np.abs(got[inside].astype(float) - card[inside]).mean() < 3


def test_a_line_from_top_to_bottom_lies_afterwards() -> None:
    image = np.zeros((60, 40, 3), np.uint8)
    image[:30] = 200  # the upper half comes to lie at the left
    got = cut_out(image, quad(20, 30, 20, 30), 1.5)
    assert got.shape[:2] == (20, 30) and got[:, :12].min() > 190 and got[:, 18:].max() < 10
    assert cut_out(image, quad(20, 30, 20, 29), 1.5).shape[:2] == (29, 20), "1.45 is not enough"


# Two columns and three rows, a tall title beside the first row; the numbers are the order to be found.
PAGE = [
    quad(100, 20, 120, 30), quad(300, 24, 100, 12), quad(100, 60, 120, 12), quad(300, 57, 100, 14),
    quad(100, 90, 120, 12), quad(300, 93, 100, 12),
]  # fmt: skip


@pytest.mark.parametrize("angle", [-0.4, -0.1, 0.0, 0.1, 0.4])
@given(order=st.permutations(range(len(PAGE))))
def test_rows_from_left_to_right_also_on_a_page_that_lies_askew(angle: float, order: list[int]) -> None:
    turn = np.asarray([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    quads = np.stack([PAGE[k] @ turn for k in order]).astype(np.float32)
    assert [order[k] for k in reading_order(quads)] == list(range(len(PAGE)))


def test_a_line_from_top_to_bottom_does_not_turn_the_page() -> None:
    quads = np.stack([quad(300, 60, 14, 100), quad(100, 20, 120, 14), quad(100, 60, 120, 14)])
    assert reading_order(quads) == [1, 2, 0]
    assert reading_order(quads[:1]) == [0]
    assert reading_order(np.zeros((0, 4, 2), np.float32)) == []
