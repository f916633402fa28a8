"""Runner: a pipeline in the foreground of a terminal, with signals, progress and a closing summary."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType
from typing import TYPE_CHECKING, Any

from streamer.progress import progress

if TYPE_CHECKING:
    from streamer.pipeline import Pipeline

__all__ = ["run_to_end", "summary"]

_INTERRUPTED = 130


def run_to_end(pipeline: Pipeline, *, quiet: bool = False) -> int:
    """Run until the sources end or a signal comes; return the exit code.

    The first SIGINT or SIGTERM ends the sources and finishes what is under way; the second stops at once.
    """
    signals: list[int] = []

    def on_signal(number: int, frame: FrameType | None) -> None:
        signals.append(number)
        if len(signals) > 1:
            os._exit(128 + number)
        # Not here: the handler runs inside whatever the main thread holds.
        threading.Thread(target=pipeline.stop, name="stop", daemon=True).start()

    before: dict[int, Any] = {}
    for caught in (signal.SIGINT, signal.SIGTERM):
        before[caught] = signal.signal(caught, on_signal)
    try:
        pipeline.start()
        with progress(pipeline, quiet=quiet):
            pipeline.join()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 128 + signals[0] if signals else 0


def summary(pipeline: Pipeline) -> None:
    """Print to stderr what the run did, and every frame that was lost."""
    figures = pipeline.report()
    median, p95, _ = figures.latency_ms
    say(
        f"{figures.results} frames in {figures.seconds:.1f} s, {figures.fps:.1f} fps, "
        f"latency median {median:.0f} ms, p95 {p95:.0f} ms"
    )
    keys = sum(stream.key_frames for stream in figures.streams)
    if pipeline.keys is not None:
        whole = keys + sum(stream.frames_between for stream in figures.streams)
        say(f"{keys} key frames among {whole}, {pipeline.keys.policy}")
    for stream in figures.streams:
        losses = {**stream.dropped, **stream.failed}
        if losses:
            lost = ", ".join(f"{count} {reason}" for reason, count in losses.items())
            say(f"{stream.name}: {stream.decoded} decoded, {stream.results} results; lost: {lost}")
    if figures.invalid:
        say(f"{figures.invalid} candidates of the engine were dropped: they were not finite numbers")
    for sentence in figures.unbalanced:
        say(f"not accounted for: {sentence}")


def say(line: str) -> None:
    """Print one line to stderr."""
    print(line, file=sys.stderr, flush=True)
