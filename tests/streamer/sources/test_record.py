"""Record and replay: the same packets at the same times, and the same lost connections."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from engines.errors import InputError, WorkError
from streamer.frame import Frame
from streamer.sources import Source
from streamer.sources.opening import Opening, settle
from streamer.sources.record import Reel, arrivals, open_record, open_replay
from tests.servers.clip import encode, number_of
from tests.servers.rtsp import RtspServer

from .conftest import Film, picture

pytestmark = pytest.mark.timeout(60)

INDEX = b"NX\xdd\x67\x2f\x23\xe6\x4e"  # what NUT's index begins with


def frames_of(url: str, count: int = 10_000) -> Iterator[Frame]:
    (source,) = settle([Opening(url)])
    try:
        for number, frame in enumerate(source, 1):
            yield frame
            if number == count:
                break
    finally:
        source.stop()
        source.close()


def test_a_session_with_a_lost_connection_comes_again_as_it_was(tmp_path):
    folder = tmp_path / "session"
    with RtspServer({"/cam": encode(300, gop=15)}) as server:
        (source,) = settle([Opening(f"record:{server.url()}?to={folder}")])
        frames, seen = iter(source), []
        for _ in range(2):
            seen += [next(frames) for _ in range(20)]
            server.kick()
        seen += [next(frames) for _ in range(20)]
        source.stop()
        assert list(frames) == []
    films = sorted(folder.glob("*.nut"))
    assert len(films) == 3
    again = list(frames_of(f"replay:{folder}"))
    numbers = [number_of(frame.planes.y) for frame in seen]
    told = [number_of(frame.planes.y) for frame in again]
    at = next(at for at in range(len(told)) if told[at : at + 20] == numbers[:20])
    was = np.array([frame.captured for frame in seen[:20]])
    now = np.array([frame.captured for frame in again[at : at + 20]])
    assert np.abs((now - now[0]) - (was - was[0])).max() < 0.1
    assert [number for number in told if told.count(number)] == told
    last = numbers[-20:]
    assert any(told[at : at + 20] == last for at in range(len(told)))


def test_packets_and_their_times_are_kept_exactly(film: Film, tmp_path: Path):
    path = film("a.mp4", [picture(number) for number in range(30)])
    source = open_record(f"record:{path}?to={tmp_path / 's'}", "a")
    count = len(list(source))
    source.close()
    kept, made = (packets(name) for name in (tmp_path / "s" / "0001.nut", path))
    assert count == 30
    assert steps(kept) == steps(made)
    assert [key for _, _, key, _ in kept] == [key for _, _, key, _ in made]
    assert [data[-200:] for *_, data in kept] == [data[-200:] for *_, data in made]
    assert len(arrivals(tmp_path / "s" / "0001.times")) == 30
    assert INDEX not in (tmp_path / "s" / "0001.nut").read_bytes()  # it grows in memory until the end


def steps(found: list[tuple]) -> list[float]:
    """Return the times of packets, from the first one's on."""
    return [float(pts * base - found[0][0] * found[0][1]) for pts, base, *_ in found]


def packets(path: Path) -> list[tuple]:
    with av.open(str(path)) as container:
        found = [packet for packet in container.demux(video=0) if packet.size]
        return [(packet.pts, packet.time_base, packet.is_keyframe, bytes(packet)) for packet in found]


def session(film: Film, tmp_path: Path, *starts: float) -> Path:
    """Make a session of connections of ten pictures each, one every 10 ms."""
    folder = tmp_path / "session"
    for start in starts:
        path = film(f"{start}.mp4")
        source = open_record(f"record:{path}?to={tmp_path / str(start)}", "a")
        list(source)
        source.close()
        folder.mkdir(exist_ok=True)
        number = len(list(folder.glob("*.nut"))) + 1
        (tmp_path / str(start) / "0001.nut").rename(folder / f"{number:04d}.nut")
        lines = "".join(f"{5000 + start + at / 100:.6f}\n" for at in range(10))
        (folder / f"{number:04d}.times").write_text(lines)
    return folder


def test_a_connection_that_came_later_comes_later_again(film: Film, tmp_path: Path):
    folder = session(film, tmp_path, 0.0, 1.5)
    began = time.monotonic()
    frames = list(frames_of(f"replay:{folder}"))
    assert len(frames) == 20
    assert frames[10].captured - frames[0].captured >= 1.4
    assert [frame.index for frame in frames] == list(range(20))
    assert frames[0].captured - began < 1.0


def test_a_session_that_was_cut_by_a_kill_plays_to_the_cut(film: Film, tmp_path: Path):
    folder = session(film, tmp_path, 0.0)
    whole = (folder / "0001.nut").read_bytes()
    (folder / "0001.nut").write_bytes(whole[: len(whole) * 3 // 4])
    (folder / "0001.times").write_text((folder / "0001.times").read_text() + "5000.1")
    assert 3 <= len(list(frames_of(f"replay:{folder}"))) < 10


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("record:clip.mp4", "record:URL\\?to=FOLDER would be right"),
        ("record:clip.mp4?too=x", "record:URL\\?to=FOLDER would be right"),
        ("record:synthetic:?count=1?to={tmp}/a", "only films, cameras and streams"),
        ("replay:{tmp}/none", "no session in it"),
        ("replay:{tmp}/damaged", "damaged"),
        ("record:clip.mp4?to={tmp}/damaged", "holds a session already"),
    ],
)
def test_mistakes_are_refused(tmp_path, url, words):
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "0001.nut").touch()
    (tmp_path / "damaged" / "0001.times").write_text("x\n")
    with pytest.raises(InputError, match=words):
        settle([Opening(url.format(tmp=tmp_path))])


def test_a_full_disk_is_said_in_one_sentence(film: Film, tmp_path: Path):
    film("a.mp4", [picture(number) for number in range(30)])
    source = open_record(f"record:{tmp_path}/a.mp4?to={tmp_path}/kept", "a")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        with pytest.raises(WorkError, match=r"kept/0001\.nut: cannot be written: File too large"):
            list(source)
        source.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_reel_that_is_over_gives_nothing_more(film: Film, tmp_path: Path):
    folder = session(film, tmp_path, 0.0)
    reel = Reel(f"replay:{folder}")
    first: Source = open_replay(f"replay:{folder}", "a", reel)
    first.close()
    assert reel.is_over
    with pytest.raises(InputError, match="away"):
        open_replay(f"replay:{folder}", "a", reel)
