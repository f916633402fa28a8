"""Durations: what people write, in seconds, or refused with what would be right."""

from __future__ import annotations

import pytest

from streamer.durations import seconds_of


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("150ms", 0.15), ("5s", 5), ("2m", 120), ("1.5h", 5400), ("7", 7), (" .5 ", 0.5), ("-2s", -2)],
)
def test_a_number_and_its_unit_are_read(text: str, seconds: float) -> None:
    assert seconds_of(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "5d", "5 s", "1e3", "nan"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"{text!r}, a duration such as 150ms, 5s or 2m would be right"):
        seconds_of(text)
