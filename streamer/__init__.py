"""Real-time video through detectors: sources, a graph that accounts for every frame, overlays and sinks.

    import streamer
    for frame in streamer.stream("street.mp4", model="yolox_nano.onnx"):
        print(frame.pts, frame.detections.boxes)

Names are imported when they are first used, so that `import streamer` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamer.frame import Frame, Planes
    from streamer.pipeline import Pipeline, run, stream
    from streamer.report import Report
    from streamer.settings import Settings, SinkSettings, SourceSettings, gather
    from streamer.sinks import Sink, open_sink
    from streamer.sources import Source, SourceInfo, open_source

__all__ = [
    "Frame",
    "Pipeline",
    "Planes",
    "Report",
    "Settings",
    "Sink",
    "SinkSettings",
    "Source",
    "SourceInfo",
    "SourceSettings",
    "gather",
    "open_sink",
    "open_source",
    "run",
    "stream",
]

_HOMES = {
    "Frame": "frame",
    "Pipeline": "pipeline",
    "Planes": "frame",
    "Report": "report",
    "Settings": "settings",
    "Sink": "sinks",
    "SinkSettings": "settings",
    "Source": "sources",
    "SourceInfo": "sources",
    "SourceSettings": "settings",
    "gather": "settings",
    "open_sink": "sinks",
    "open_source": "sources",
    "run": "pipeline",
    "stream": "pipeline",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'streamer' has no attribute {name!r}")
    return getattr(importlib.import_module(f"streamer.{_HOMES[name]}"), name)
