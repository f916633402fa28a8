"""Quarantine: black, frozen and damaged pictures are told from dark, quiet and sound ones."""

from __future__ import annotations

import numpy as np
import pytest

from streamer import planes as pixels
from streamer.frame import Frame, Planes
from streamer.sources.quarantine import KINDS, Quarantine, is_black


def frame_of(rgb: np.ndarray, at: float = 0.0, *, full: bool = False, damaged: bool = False) -> Frame:
    planes = pixels.from_rgb(rgb, subsampling=(2, 2), matrix="bt709", full_range=full)
    return Frame("cam", 0, at, planes, captured=at, damaged=damaged)


def grey(level: int) -> np.ndarray:
    return np.full((64, 96, 3), level, np.uint8)


def with_light(level: int) -> np.ndarray:
    rgb = grey(level)
    rgb[20:40, 30:60] = 90
    return rgb


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(
    ("rgb", "expected"),
    [
        (grey(0), True),
        (grey(4), True),
        (grey(40), False),
        (with_light(0), False),
        (np.full((64, 96, 3), (0, 0, 60), np.uint8), False),
        (np.random.default_rng(0).integers(0, 30, (64, 96, 3)).astype(np.uint8), False),
    ],
    ids=["black", "nearly black", "dark grey", "one lamp at night", "dark blue", "noise of a night"],
)
def test_only_a_picture_that_is_black_all_over_is_black(rgb, expected, full):
    assert is_black(frame_of(rgb, full=full).planes) is expected


def verdicts(pictures, withheld=KINDS) -> list[str]:
    quarantine = Quarantine(frozenset(withheld), frozen_after=1.0)
    return [quarantine.judge(frame_of(rgb, at / 10)) for at, rgb in enumerate(pictures)]


def test_a_picture_is_frozen_after_its_time_and_until_it_moves():
    moved = grey(100)
    moved[1:7, 1:7] = 180  # between the pixels of the sample
    found = verdicts([grey(100)] * 15 + [moved] * 3)
    assert found == [""] * 10 + ["frozen"] * 5 + [""] * 3


def test_a_still_picture_that_an_encoder_repeats_with_its_flaws_is_frozen():
    group = [grey(100), grey(101), grey(99)]
    assert verdicts(group * 6)[12:] == ["frozen"] * 6


def test_a_film_in_a_loop_is_not_frozen():
    film = [with_light(level) for level in (30, 90, 150)]
    assert set(verdicts(film * 10)) == {""}


def test_noise_is_enough_to_count_as_alive():
    rng = np.random.default_rng(0)
    pictures = [grey(100) + rng.integers(0, 3, (64, 96, 3)).astype(np.uint8) for _ in range(30)]
    assert set(verdicts(pictures)) == {""}


def test_a_change_of_size_is_a_change():
    assert verdicts([grey(100)] * 10 + [np.full((32, 48, 3), 100, np.uint8)] * 5) == [""] * 15


def test_what_is_not_to_be_withheld_passes():
    assert set(verdicts([grey(0)] * 30, withheld=())) == {""}
    assert set(verdicts([grey(0)] * 30, withheld=("black",))) == {"black"}
    assert Quarantine(frozenset({"corrupt"})).judge(frame_of(grey(90), damaged=True)) == "corrupt"
    assert Quarantine(frozenset({"black"})).judge(frame_of(grey(90), damaged=True)) == ""


def test_planes_of_decoders_with_padded_rows_are_read_right():
    wide = np.zeros((64, 128), np.uint8)
    wide[:, 96:] = 255
    chroma = np.full((32, 48), 128, np.uint8)
    assert is_black(Planes(wide[:, :96], chroma, chroma))
