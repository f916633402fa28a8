"""Fit: what comes out is always 4:2:0 of one even size, and nothing is copied that fits."""

from __future__ import annotations

import numpy as np
import pytest

from streamer.frame import Planes
from streamer.planes import from_rgb, to_rgb
from streamer.sinks.fit import Fit


def _flat(size: tuple[int, int], subsampling: tuple[int, int] = (2, 2), **rest: object) -> Planes:
    (width, height), (sx, sy) = size, subsampling
    chroma = np.full((-(-height // sy), -(-width // sx)), 90, np.uint8)
    return Planes(np.full((height, width), 150, np.uint8), chroma, chroma + 80, **rest)  # type: ignore[arg-type]


def test_a_picture_that_fits_is_not_copied() -> None:
    planes = _flat((64, 48))
    assert Fit(planes)(planes) is planes


@pytest.mark.parametrize("subsampling", [(2, 2), (2, 1), (1, 1)])
@pytest.mark.parametrize("first", [(64, 48), (65, 49), (1, 1), (3, 2)])
@pytest.mark.parametrize("later", [(64, 48), (65, 49), (48, 64), (1, 300), (300, 1), (640, 480)])
def test_every_size_and_layout_comes_out_in_the_first_one_s_even_size(
    first: tuple[int, int], later: tuple[int, int], subsampling: tuple[int, int]
) -> None:
    fit = Fit(_flat(first))
    width, height = max(first[0] // 2 * 2, 2), max(first[1] // 2 * 2, 2)
    for planes in (fit(_flat(first, subsampling)), fit(_flat(later, subsampling))):
        shapes = [plane.shape for plane in (planes.y, planes.u, planes.v)]
        assert shapes == [(height, width), (height // 2, width // 2), (height // 2, width // 2)]
        assert 150 in planes.y
        assert 90 in planes.u
        assert 170 in planes.v


def test_chroma_is_averaged_over_what_a_sample_covers() -> None:
    planes = _flat((4, 4), (1, 1))
    planes.u[:] = np.arange(16).reshape(4, 4) * 4
    u = Fit(planes)(planes).u
    np.testing.assert_array_equal(u, [[10, 18], [42, 50]])


@pytest.mark.parametrize(("full_range", "black"), [(False, 16), (True, 0)])
def test_the_bars_of_a_letterbox_are_black(full_range: bool, black: int) -> None:
    fit = Fit(_flat((64, 32), full_range=full_range))
    planes = fit(_flat((32, 32), full_range=full_range))
    assert set(planes.y[:, :14].ravel().tolist()) == {black}
    assert set(planes.u[:, :7].ravel().tolist()) == {128}
    assert set(planes.y[:, 18:46].ravel().tolist()) == {150}


def test_a_later_matrix_or_range_is_converted_to_the_first() -> None:
    rgb = np.full((32, 32, 3), (180, 90, 40), np.uint8)
    fit = Fit(from_rgb(rgb, subsampling=(2, 2), matrix="bt601", full_range=False))
    planes = fit(from_rgb(rgb, subsampling=(2, 2), matrix="bt709", full_range=True))
    assert (planes.matrix, planes.full_range) == ("bt601", False)
    np.testing.assert_allclose(to_rgb(planes), rgb, atol=3)
