from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

import engines
from engines.detections import Detections, Masks
from streamer.analytics.events import Event
from streamer.frame import Frame
from streamer.sinks.studio import Studio
from streamer.sources import open_source
from streamer.web.audience import Gone, Viewer
from streamer.web.settings import WebSettings
from streamer.web.shows import Shows

SPEC = next(spec for spec in engines.models() if spec.name == "tiny-yolo")


def frames(count: int) -> list[Frame]:
    made = list(open_source(f"synthetic:?size=320x180&count={count}", name="cam"))
    return [replace(frame, inferred=True, captured=at / 30) for at, frame in enumerate(made, start=1)]


def told(shown: list[Frame]) -> list[tuple[str, dict[str, Any]]]:
    """Return the notes that a listener gets of these frames."""

    async def listen() -> list[tuple[str, dict[str, Any]]]:
        shows = Shows(WebSettings(), SPEC)
        listener = shows.notes.join()
        for frame in shown:
            shows.write(frame)
        shows.notes.offer(None)  # type: ignore[arg-type] # the end
        notes = []
        while (note := await listener.next()) is not None:
            notes.append((note.kind, json.loads(note.text)))
        return notes

    return asyncio.run(listen())


def test_every_event_is_told_though_detections_are_thinned() -> None:
    shown = frames(30)
    for frame in shown:
        frame.events = (Event("line", "door", frame.pts, "in", track=7, label=0, count=frame.index + 1),)
    notes = told(shown)
    events = [body for kind, body in notes if kind == "event"]
    assert [event["count"] for event in events] == list(range(1, 31))
    assert events[0] == {
        "event": "line", "name": "door", "stream": "cam", "pts": 0.0, "what": "in",
        "id": 7, "class": SPEC.classes[0], "count": 1,
    }  # fmt: skip
    assert 8 <= sum(kind == "detections" for kind, _ in notes) <= 12


def test_a_record_carries_no_masks() -> None:
    (frame,) = frames(1)
    import numpy as np

    boxes = np.array([[10, 10, 50, 50]], np.float32)
    masks = Masks((np.ones((4, 4), np.float32),), boxes)
    frame.detections = Detections.of(boxes, [0.9], [0], masks=masks)
    ((kind, body),) = told([frame])
    assert kind == "detections"
    assert body["detections"][0]["box"] == [10, 10, 50, 50]
    assert "mask" not in body["detections"][0]


def test_nobody_who_listens_costs_no_record() -> None:
    shows = Shows(WebSettings(), SPEC)
    for frame in frames(3):
        shows.write(frame)
    assert shows.notes.sent == 0
    assert shows["cam"].encoders == 0


def test_a_stream_that_is_forgotten_leaves_no_encoder_and_no_viewer_waits_for_it() -> None:
    async def watch() -> None:
        shows, studio = Shows(WebSettings(), SPEC), Studio()
        shows.studio = lambda stream: studio
        viewer = shows["cam"].video.join()
        for frame in frames(3):
            shows.write(frame)
        assert studio.encoders == 1
        shows.forget("cam")
        assert (studio.encoders, shows.all()) == (0, {})
        with pytest.raises(Gone):
            await look(viewer)

    async def look(viewer: Viewer[str | bytes]) -> None:
        while True:
            await viewer.next()

    asyncio.run(watch())
