"""The sieve: classes, changes and rate, each stream for itself."""

from __future__ import annotations

from typing import Any

import pytest

from streamer.sinks.sieve import Sieve


def _record(pts: float, *found: tuple[str, int | None], stream: str = "cam") -> dict[str, Any]:
    rows = [{"class": name, "id": track} for name, track in found]
    return {"stream": stream, "index": 0, "pts": pts, "detections": rows}


def _passed(sieve: Sieve, records: list[dict[str, Any]]) -> list[float]:
    return [record["pts"] for record in records if sieve(record) is not None]


def test_only_detections_of_the_wanted_classes_are_kept() -> None:
    kept = Sieve(("car",))(_record(0, ("person", 1), ("car", 2)))
    assert kept is not None
    assert kept["detections"] == [{"class": "car", "id": 2}]


def test_a_stream_that_is_forgotten_is_new_when_it_comes_again() -> None:
    sieve = Sieve(changes=True, rate=1.0)
    assert _passed(sieve, [_record(10), _record(10.5)]) == [10]
    sieve.forget("cam")
    assert _passed(sieve, [_record(10.5), _record(10.6)]) == [10.5]


@pytest.mark.parametrize(
    ("found", "passed"),
    [
        ([[], [], []], [0]),
        ([[("car", 1)], [("car", 1)], [("car", 2)]], [0, 2]),
        ([[("car", None)], [("car", None)] * 2, [("car", None)] * 2], [0, 1]),
        ([[("car", 1), ("person", 2)], [("person", 2), ("car", 1)], []], [0, 2]),
    ],
    ids=["nothing", "another track", "another number", "another order"],
)
def test_changes_are_what_is_there_not_where(found: list[list[Any]], passed: list[float]) -> None:
    records = [_record(pts, *rows) for pts, rows in enumerate(found)]
    assert _passed(Sieve(changes=True), records) == passed


def test_a_change_is_seen_within_the_wanted_classes() -> None:
    records = [_record(0, ("car", 1)), _record(1, ("car", 1), ("person", 2)), _record(2, ("person", 2))]
    assert _passed(Sieve(("car",), changes=True), records) == [0, 2]


def test_the_rate_is_held_in_the_streams_own_time() -> None:
    sieve = Sieve(rate=5)
    assert len(_passed(sieve, [_record(index / 30) for index in range(300)])) == 50


def test_a_change_held_back_by_the_rate_is_sent_when_its_time_comes() -> None:
    records = [_record(0), _record(0.1, ("car", 1)), _record(0.5, ("car", 1)), _record(1.0, ("car", 1))]
    assert _passed(Sieve(changes=True, rate=1), records) == [0, 1.0]


def test_time_that_falls_back_does_not_silence_a_stream() -> None:
    assert _passed(Sieve(rate=1), [_record(pts) for pts in (100, 100.5, 0, 0.5, 1)]) == [100, 0, 1]


def test_each_stream_is_sieved_for_itself() -> None:
    sieve = Sieve(changes=True, rate=1)
    assert sieve(_record(0, stream="a")) is not None
    assert sieve(_record(0, stream="b")) is not None
    assert sieve(_record(0.1, ("car", 1), stream="b")) is None
