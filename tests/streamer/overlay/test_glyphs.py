"""Glyphs: cropped to the ink, one height for all texts, whatever the OpenCV version's font."""

from __future__ import annotations

import numpy as np
import pytest

from streamer.overlay.glyphs import glyphs


@pytest.mark.parametrize("height", [7, 10, 16, 27])
@pytest.mark.parametrize("text", ["person 0.87", "#12", "gjpqy", "H"])
def test_columns_are_cropped_to_the_ink_and_rows_are_not(text: str, height: int) -> None:
    line = glyphs(text, height)
    assert line.coverage[:, 0].any()
    assert line.coverage[:, -1].any()
    assert line.coverage.shape[0] == glyphs("x", height).coverage.shape[0]
    assert line.base - line.cap_top == height


@pytest.mark.parametrize("text", ["", " "])
def test_text_without_ink_has_no_columns(text: str) -> None:
    assert glyphs(text, 12).coverage.shape[1] == 0


@pytest.mark.parametrize("text", ["żółw", "人", "\N{AUTOMOBILE}", "a\nb", "\x00"])
def test_any_text_can_be_rendered(text: str) -> None:
    assert glyphs(text, 12).coverage.dtype == np.uint8


def test_longer_text_is_wider_and_same_text_is_rendered_once() -> None:
    assert glyphs("person person", 12).coverage.shape[1] > 1.8 * glyphs("person", 12).coverage.shape[1]
    assert glyphs("person", 12) is glyphs("person", 12)
