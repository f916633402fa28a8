"""faststart: a fragmented MP4 or MOV rewritten as a regular one whose index comes before its pictures."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from engines.files import draft_of

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer

__all__ = ["faststart"]

# The most that moov can take for a packet: stts 8, stsz 4, stsc 12, co64 8, stss 4, ctts 8, rounded up.
BYTES_PER_PACKET = 48
BYTES_PER_FILE = 16384


def faststart(path: str, form: str, packets: int) -> None:
    """Replace a fragmented mp4 or mov of ``packets`` packets by a regular one, packets and times untouched.

    The new file is written beside the old one and takes its name in one step, so that the path holds a whole
    file at any moment. Room for the index is left at the front, so that the pictures are written once.
    Raises OSError or av.FFmpegError, with the old file still in its place.
    """
    import av

    draft = str(draft_of(Path(path)))
    options = {"moov_size": str(BYTES_PER_FILE + BYTES_PER_PACKET * packets)}
    try:
        with av.open(path) as source, av.open(draft, "w", format=form, options=options) as result:
            _copy(source, result)
        os.replace(draft, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.remove(draft)
        raise


def _copy(source: InputContainer, result: OutputContainer) -> None:
    streams = {
        stream.index: result.add_stream_from_template(stream, opaque=True) for stream in source.streams
    }
    for packet in source.demux():
        if packet.dts is None:
            continue
        packet.stream = streams[packet.stream.index]
        result.mux(packet)
