"""Looking at a source without running anything on it: what it says and what its first frame shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from streamer.frame import Matrix
from streamer.sources import SourceInfo, open_source
from streamer.sources.upright import UPRIGHT
from streamer.sources.video import Video
from streamer.urls import redact

__all__ = ["Probe", "probe"]


@dataclass(frozen=True, slots=True)
class Probe:
    """What is known of a source."""

    url: str  # without passwords
    live: bool
    info: SourceInfo
    matrix: Matrix  # of the first frame
    full_range: bool
    subsampling: tuple[int, int]  # of the planes, luma pixels per chroma sample
    start: float  # seconds, pts of the first frame
    orientation: int = UPRIGHT  # EXIF's 1 to 8, already applied to the planes
    sample_aspect: Fraction = Fraction(1)  # width to height of a pixel as stored, already applied
    decoded: int = 0  # pictures, where counting was asked for
    damaged: int = 0  # of them, given out although the decoder calls them corrupt
    seconds: float = 0.0  # from the first pts to the end of the last picture, where counting was asked for
    failures: dict[str, int] = field(default_factory=dict)  # reason -> pictures that could not be decoded


def probe(url: str, *, count: bool = False) -> Probe:
    """Open a source and look at its first frame; with ``count`` decode it to its end, if it is not live.

    Raises:
        InputError: it cannot be opened.
    """
    source = open_source(url)
    try:
        frames = iter(source)
        first = last = next(frames)
        decoded = 0
        if count and not source.live:
            decoded = 1
            for frame in frames:
                decoded, last = decoded + 1, frame
        video = source if isinstance(source, Video) else None
        return Probe(
            redact(url),
            source.live,
            source.info,
            first.planes.matrix,
            first.planes.full_range,
            first.planes.subsampling,
            first.pts,
            orientation=video.orientation if video else UPRIGHT,
            sample_aspect=video.aspect if video else Fraction(1),
            decoded=decoded,
            damaged=video.damaged if video else 0,
            seconds=last.pts + last.duration - first.pts if decoded else 0.0,
            failures=dict(source.failures),
        )
    finally:
        source.stop()
        source.close()
