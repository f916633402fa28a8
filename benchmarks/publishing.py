"""What live outputs cost and how late they are: ``python -m benchmarks.publishing cost|latency``.

``cost``: CPU time per frame of `streamer run` with one output that is watched (the page), with five (page,
RTSP, HLS, a push, JSON lines), and with one and five outputs that nobody watches (page, RTSP). The
process of the push is counted with it, those of the viewers are not. ``latency``: milliseconds from capture
to the viewer, by WebSocket, in a browser where there is Chromium with playwright, and by RTSP.
Prints one line of JSON; exit code 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import streamer
from streamer.frame import Frame
from streamer.pipeline import Pipeline
from streamer.settings import gather
from tests.servers.clip import PART, encode, moving, number_of
from tests.servers.rtsp import RtspServer
from tests.servers.website import free_port

MODEL = "tiny-yolo"
SIZE = (640, 360)
BAR_COST, BAR_IDLE, BAR_LATENCY = 15.0, 5.0, 250.0  # percent, percent (of noise), milliseconds
WATCH_WEB = """
import sys, struct, time
from websockets.sync.client import connect
with connect(sys.argv[1], max_size=None) as viewer:
    while True:
        media, captured = struct.unpack_from("<dd", viewer.recv())
        if media >= 0:
            print((time.time() - captured) * 1e3, flush=True)
"""
WATCH_RTSP = """
import sys, time
import av
from benchmarks.publishing import number_below
options = {"rtsp_transport": "tcp", "fflags": "nobuffer", "flags": "low_delay", "max_delay": "0"}
with av.open(sys.argv[1], options=options, timeout=(15, 10)) as container:
    container.streams.video[0].thread_count = 1
    for frame in container.decode(video=0):
        print(number_below(frame.to_ndarray(format="gray")), time.time(), flush=True)
"""
TICKS = os.sysconf("SC_CLK_TCK")


def cost(options: argparse.Namespace) -> dict[str, Any]:
    """Compare five outputs with one, watched and not."""
    with tempfile.TemporaryDirectory() as folder:
        clip = f"{folder}/clip.mp4"
        streamer.run(
            f"synthetic:?size={SIZE[0]}x{SIZE[1]}&fps=30&count=300", model=MODEL, sinks=[clip], overlay=False
        )
        cases = {
            "one": _one,
            "five": _five,
            "one unwatched": _one_unwatched,
            "five unwatched": _five_unwatched,
        }
        found: dict[str, list[float]] = {name: [] for name in cases}
        for _ in range(options.rounds):
            for name, case in cases.items():
                web = free_port()
                found[name].append(_cpu_per_frame(clip, web, case(folder, web), options.seconds))
    middle = {name: statistics.median(values) for name, values in found.items()}
    added = 100 * (middle["five"] / middle["one"] - 1)
    idle = 100 * (middle["five unwatched"] / middle["one unwatched"] - 1)
    return {
        "cpu_ms_per_frame": {name: round(value, 2) for name, value in middle.items()},
        "rounds": {name: [round(value, 2) for value in values] for name, values in found.items()},
        "added_percent": round(added, 1),
        "added_unwatched_percent": round(idle, 1),
        "ok": added <= BAR_COST and idle <= BAR_IDLE,
    }


@dataclass(frozen=True)
class Case:
    """Outputs and who takes them: servers that are there before the run, viewers who come to it."""

    sinks: list[str]
    servers: list[list[str]] = field(default_factory=list)
    viewers: list[list[str]] = field(default_factory=list)


def _one(folder: str, web: int) -> Case:
    return Case([_page(web)], viewers=[_watch_web(web)])


def _five(folder: str, web: int) -> Case:
    rtsp, push = free_port(), free_port()
    sinks = [
        _page(web),
        f"rtsp://:{rtsp}/cam",
        f"{folder}/live.m3u8",
        f"push+rtsp://127.0.0.1:{push}/cam",
        f"{folder}/records.jsonl",
    ]
    take = ["ffmpeg", "-v", "error", "-rtsp_flags", "listen", "-i", f"rtsp://127.0.0.1:{push}/cam"]
    play = ["ffmpeg", "-v", "error", "-rtsp_transport", "tcp", "-i", f"rtsp://127.0.0.1:{rtsp}/cam"]
    nowhere = ["-c", "copy", "-f", "null", "-"]
    return Case(sinks, [[*take, *nowhere]], [_watch_web(web), [*play, *nowhere]])


def _one_unwatched(folder: str, web: int) -> Case:
    return Case([_page(web)])


def _five_unwatched(folder: str, web: int) -> Case:
    rtsp = [f"rtsp://:{free_port()}/cam{query}" for query in ("", "?crf=30", "?crf=20", "?gop=10")]
    return Case([_page(web), *rtsp])


def _page(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def _watch_web(port: int) -> list[str]:
    return [sys.executable, "-c", WATCH_WEB, f"ws://127.0.0.1:{port}/video/clip"]


def _cpu_per_frame(clip: str, web: int, case: Case, seconds: float) -> float:
    """Return milliseconds of CPU for each result, of the run and its children, once all is under way."""
    told = [word for sink in case.sinks for word in ("--sink", sink)]
    command = [sys.executable, "-c", "from streamer.cli import main; main()", "run", clip, "--model", MODEL]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    watching = [subprocess.Popen(server, **quiet) for server in case.servers]
    run = subprocess.Popen([*command, "--realtime", "--loop", "--track", "sort", "--quiet", *told])
    try:
        _await_results(web, 30)
        watching += [subprocess.Popen(viewer, **quiet) for viewer in case.viewers]
        _await_results(web, _results(web) + 150)
        gone = [viewer.args for viewer in watching if viewer.poll() is not None]
        if gone:
            raise SystemExit(f"a viewer has ended: {gone}")
        began, frames = _cpu(run.pid), _results(web)
        time.sleep(seconds)
        return 1e3 * (_cpu(run.pid) - began) / (_results(web) - frames)
    finally:
        for viewer in watching:
            viewer.kill()
            viewer.wait()
        run.send_signal(signal.SIGINT)
        run.wait(30)


def _results(web: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{web}/streams", timeout=10) as reply:
        streams = json.load(reply)
    return sum(stream["results"] for stream in streams)


def _await_results(web: int, count: int) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with contextlib.suppress(OSError):
            if _results(web) >= count:
                return
        time.sleep(0.1)
    raise SystemExit("no results for a minute")


def _cpu(pid: int) -> float:
    """Return the CPU seconds of a process and of its children that live (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own = sum(int(field) for field in fields[11:15]) / TICKS
    children = {
        int(child)
        for task in Path(f"/proc/{pid}/task").glob("*/children")
        for child in task.read_text().split()
    }
    return own + sum(_cpu(child) for child in children)


def latency(options: argparse.Namespace) -> dict[str, Any]:
    """Measure from capture to viewers, who watch side by side."""
    captured: dict[int, float] = {}
    web, rtsp = free_port(), free_port()
    clip = encode(60, SIZE, paint=below)
    with RtspServer({"/cam": clip}) as server:
        sinks = [f"http://127.0.0.1:{web}", f"rtsp://:{rtsp}/cam"]
        settings = gather([server.url()], MODEL, sinks, track="sort")
        with Pipeline(settings) as pipeline:
            (member,) = pipeline.streams.values()
            draw = member.studio.draw

            def noted(frame: Frame) -> Frame:
                number = number_below(frame.planes.y)
                captured[number] = time.time() - (time.monotonic() - frame.captured)
                return draw(frame)

            member.studio.draw = noted  # type: ignore[method-assign]
            pipeline.start()
            url = f"rtsp://127.0.0.1:{rtsp}/cam"
            with (
                _viewer(WATCH_WEB, f"ws://127.0.0.1:{web}/video/{member.name}") as by_web,
                _viewer(WATCH_RTSP, url) as by_rtsp,
            ):
                delays: list[float] = []
                until = time.monotonic() + options.seconds
                for line in by_rtsp:
                    number, seen = line.split()
                    if int(number) in captured:
                        delays.append((float(seen) - captured[int(number)]) * 1e3)
                    if time.monotonic() > until:
                        break
                web_delays = [float(line) for line in _ready(by_web)]
                on_screen = _in_browser(web, options.seconds)
            pipeline.stop()
            pipeline.join()
    figures: dict[str, Any] = {
        "websocket_ms": quantiles(web_delays[30:]),
        "rtsp_ms": quantiles([delay for delay in delays[30:] if 0 <= delay < 2000]),
        "pictures": [len(web_delays), len(delays)],
    }
    if on_screen:
        figures["browser_ms"] = quantiles(on_screen)
    met = all(figures[name][1] <= BAR_LATENCY for name in figures if name.endswith("_ms"))
    return figures | {"ok": met and len(delays) > 60 and len(web_delays) > 60}


def below(number: int, size: tuple[int, int]) -> np.ndarray:
    """Return a numbered picture with its number also at the lower edge, where nothing is drawn over it."""
    rgb = moving(number, size)
    side = size[0] // PART
    rgb[-side:] = rgb[:side]
    return rgb


def number_below(luma: np.ndarray) -> int:
    """Read the number at the lower edge."""
    return number_of(luma[-(luma.shape[1] // PART) :])


@contextlib.contextmanager
def _viewer(program: str, url: str) -> Iterator[Any]:
    """Run a viewer and give the lines that it prints."""
    child = subprocess.Popen([sys.executable, "-c", program, url], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    try:
        yield child.stdout
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def _ready(lines: Any) -> list[str]:
    """Return what was printed so far."""
    os.set_blocking(lines.fileno(), False)
    found = []
    while piece := lines.read(65536):
        found.append(piece)
    return "".join(found).rpartition("\n")[0].splitlines()


def _in_browser(web: int, seconds: float) -> list[float]:
    """Return the page's own milliseconds from capture to screen; nothing where there is no browser."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return []
    if chromium is None:
        return []
    arguments = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    with sync_playwright() as player:
        browser = player.chromium.launch(
            executable_path=chromium, args=[*arguments, "--autoplay-policy=no-user-gesture-required"]
        )
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{web}/", wait_until="domcontentloaded")
        page.wait_for_timeout(3000)
        page.evaluate("window.streamerTiles.forEach((tile) => { tile.player.delays.length = 0; })")
        page.wait_for_timeout(seconds * 1e3)
        delays: list[float] = page.evaluate(
            "[...window.streamerTiles.values()].flatMap((t) => t.player.delays)"
        )
        browser.close()
    return delays


def quantiles(values: Sequence[float]) -> list[float]:
    """Return median and 95th percentile."""
    return [round(float(np.quantile(values, q)), 1) for q in (0.5, 0.95)] if len(values) else [0.0, 0.0]


CASES = {case.__name__: case for case in (cost, latency)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("case", choices=CASES)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=5, help="of cost; medians are compared")
    options = parser.parse_args()
    figures = CASES[options.case](options)
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs"
    print(json.dumps({"case": options.case, **figures, "machine": machine}))
    sys.exit(not figures["ok"])


if __name__ == "__main__":
    main()
