"""Space: what is claimed is taken, what is apart is free."""

from __future__ import annotations

import pytest

from streamer.overlay.space import Space


@pytest.mark.parametrize(
    ("rect", "free"),
    [
        pytest.param((40, 40, 80, 60), False, id="the same"),
        pytest.param((79, 59, 200, 200), False, id="corner shared"),
        pytest.param((0, 0, 500, 500), False, id="around it"),
        pytest.param((50, 45, 60, 50), False, id="within it"),
        pytest.param((80, 40, 120, 60), True, id="right beside it"),
        pytest.param((40, 60, 80, 80), True, id="right below it"),
        pytest.param((0, 40, 40, 60), True, id="right before it"),
        pytest.param((3840, 2160, 3900, 2200), True, id="far away"),
    ],
)
def test_claims_take_only_what_they_cover(rect: tuple[int, int, int, int], free: bool) -> None:
    space = Space(cell=4)
    space.claim((40, 40, 80, 60))
    assert (space.taken(rect) == 0) is free


def test_less_overlap_counts_less() -> None:
    space = Space(cell=4)
    space.claim((0, 0, 40, 40))
    assert space.taken((36, 36, 76, 76)) < space.taken((20, 20, 60, 60)) < space.taken((0, 0, 40, 40))
