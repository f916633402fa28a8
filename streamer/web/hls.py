"""HLS: what the run's own HLS outputs write, served beside the page for players that take nothing else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from streamer.sinks import SINKS
from streamer.sinks.address import parse

if TYPE_CHECKING:
    from streamer.pipeline import Pipeline

__all__ = ["MEDIA", "file_of", "playlist_of"]

MEDIA = {
    ".m3u8": "application/vnd.apple.mpegurl",
    ".mp4": "video/mp4",
    ".m4s": "video/iso.segment",
}


def playlist_of(pipeline: Pipeline, stream: str) -> str:
    """Return the path under which a stream's playlist is served, "" where the run writes none."""
    path = _path(pipeline, stream)
    return f"/hls/{quote(stream)}/{quote(path.name)}" if path is not None else ""


def file_of(pipeline: Pipeline, stream: str, name: str) -> Path | None:
    """Return a file of a stream's playlist: itself, a segment or their header; None for any other."""
    path = _path(pipeline, stream)
    if path is None:
        return None
    own = rf"{re.escape(path.name)}|{re.escape(path.stem)}(-init\.mp4|-\d+\.m4s)"
    return path.with_name(name) if re.fullmatch(own, name) else None


def _path(pipeline: Pipeline, stream: str) -> Path | None:
    for sink in pipeline.settings.sinks:
        address = parse(pipeline.outputs.targets.now(sink.url, stream), stream, SINKS)
        if address.kind == ".m3u8" and (not sink.streams or stream in sink.streams):
            alone = len(pipeline.streams) == 1 or len(sink.streams) == 1
            if "{stream}" in sink.url or alone:
                return Path(address.path)
    return None
