"""Ledger: the answers that a journal gives: do the sums agree, and where did a frame go."""

from __future__ import annotations

from pathlib import Path

from engines.errors import InputError, nearest
from streamer.journal import Event, Story, read

__all__ = ["print_balance", "print_journey"]

DOING = {"decode": "decoded", "submit": "batched", "collect": "inferred", "track": "tracked", "draw": "drawn"}


def print_balance(path: Path) -> bool:
    """Print for each stage and stream what went in, came out and was lost; True if the sums agree.

    Raises:
        InputError: the file cannot be read, or is no ledger.
        WorkError: it is damaged.
    """
    from rich.table import Table

    from engines.console import plain

    story = read(path)
    table = Table("stage", "stream", "in", "out", "lost", "why")
    for (stage, stream), tally in story.tallies.items():
        why = ", ".join(f"{count} {reason}" for reason, count in tally.dropped.items())
        table.add_row(stage, stream, str(tally.offered), str(tally.out), str(tally.dropped.total()), why)
    console = plain()
    console.print(table)
    faults = story.unbalanced()
    for fault in faults:
        console.print(f"not accounted for: {fault}")
    if not faults:
        console.print("balanced: in = out + lost, at every stage of every stream")
    return not faults


def print_journey(path: Path, frame: int, stream: str = "") -> bool:
    """Print what happened to a frame, in order, with the milliseconds since it was captured; True.

    Raises:
        InputError: the file cannot be read, is no ledger, or knows no such frame or stream.
        WorkError: it is damaged.
    """
    story = read(path, frame=frame)
    known = story.streams()
    if stream and stream not in known:
        raise InputError(f"{path}: no stream {stream!r}{nearest(stream, known)}")
    journeys = {key: events for key, events in story.frames.items() if stream in ("", key[0])}
    if not journeys:
        raise InputError(f"{path}: frame {frame}: is not in it{_withheld(story, stream)}")
    for (name, index), events in journeys.items():
        print(f"{name} #{index}")
        for line in _lines(events):
            print(f"  {line}")
    return True


def _lines(events: list[Event]) -> list[str]:
    start = next((event.captured for event in events if event.captured is not None), events[0].at)
    lines = [f"{0:9.1f} ms  captured"]
    for event in events:
        kind, _, rest = event.stage.partition(":")
        if event.what == "in":
            words = f"waits for {event.stage}"
        elif event.what == "out":
            words = DOING.get(kind, f"written to {rest}" if kind == "write" else f"left {event.stage}")
        else:
            words = f"lost at {event.stage}: {event.what}"
        lines.append(f"{(event.at - start) * 1e3:9.1f} ms  {words}")
    return lines


def _withheld(story: Story, stream: str) -> str:
    """Say what was lost without an index: before a frame had one, or withheld."""
    lost = [
        f"{count} {reason}"
        for (stage, name), tally in story.tallies.items()
        if stage.startswith("decode:") and stream in ("", name)
        for reason, count in tally.dropped.items()
    ]
    return f"; never given out: {', '.join(lost)}" if lost else ""
