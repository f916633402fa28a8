"""Palette: one thing, one colour; different things can be told apart; letters can be read."""

from __future__ import annotations

from itertools import combinations

import cv2
import numpy as np
import pytest

from engines.detections import Detections
from streamer.overlay.palette import BLACK, PALETTE, WHITE, colour_indices, ink_on

# Full dichromacy on linear RGB: Viénot, Brettel, Mollon 1999, another source than the palette was chosen by.
DICHROMATS = {
    "protan": [[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]],
    "deutan": [[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]],
}


def found(classes: list[int], ids: list[int]) -> Detections:
    n = len(ids)
    return Detections.of(np.zeros((n, 4)), np.ones(n), classes, ids=np.array(ids, np.int64))


def linear(rgb: object) -> np.ndarray:
    part = np.array(rgb, float) / 255
    return np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)


def lab(light: np.ndarray) -> np.ndarray:
    shown = np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.clip(light, 0, 1) ** (1 / 2.4) - 0.055)
    return cv2.cvtColor(shown.astype(np.float32).reshape(1, 1, 3), cv2.COLOR_RGB2LAB).ravel()


def test_colour_follows_the_track_and_else_the_class() -> None:
    a = colour_indices(found([3, 3, 5, 3], [-1, -1, -1, 8]))
    assert a[0] == a[1] != a[2]
    b = colour_indices(found([0, 7], [8, 8]))
    assert a[3] == b[0] == b[1]


@pytest.mark.parametrize("first", [0, 15, 10**9, 2**62])
def test_tracks_one_after_the_other_differ(first: int) -> None:
    indices = colour_indices(found([0] * len(PALETTE), list(range(first, first + len(PALETTE)))))
    assert len(set(indices)) == len(PALETTE)


def test_colours_can_be_told_apart() -> None:
    assert min(np.linalg.norm(lab(linear(a)) - lab(linear(b))) for a, b in combinations(PALETTE, 2)) > 15


@pytest.mark.parametrize("kind", DICHROMATS)
def test_first_colours_can_be_told_apart_by_the_colour_blind(kind: str) -> None:
    seen = [lab(np.clip(np.array(DICHROMATS[kind]) @ linear(rgb), 0, 1)) for rgb in PALETTE[:8]]
    assert min(np.linalg.norm(a - b) for a, b in combinations(seen, 2)) > 12


@pytest.mark.parametrize("rgb", PALETTE)
def test_ink_has_the_contrast_of_large_print(rgb: tuple[int, int, int]) -> None:
    """WCAG 2.2 asks for 3 : 1."""
    lights = sorted(float(linear(c) @ (0.2126, 0.7152, 0.0722)) for c in (rgb, ink_on(rgb)))
    assert (lights[1] + 0.05) / (lights[0] + 0.05) > 3
    assert ink_on(rgb) in (BLACK, WHITE)
