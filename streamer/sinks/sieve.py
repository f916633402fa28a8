"""Sieve: which records and events a sink of messages sends: some classes, changes only, so many a second."""

from __future__ import annotations

from typing import Any

__all__ = ["Sieve"]


class Sieve:
    """Decides record by record; keeps what each stream last sent."""

    def __init__(self, classes: tuple[str, ...] = (), *, changes: bool = False, rate: float = 0.0) -> None:
        """Keep detections of ``classes`` (names, () = all); records that say something else than the last
        (``changes``); and at most ``rate`` of them in a second of the stream's own time (0 = all).
        """
        self._classes = frozenset(classes)
        self._changes = changes
        self._rate = rate
        self._sent: dict[str, object] = {}  # stream -> what its last record said
        self._due: dict[str, float] = {}  # stream -> pts from which it may send again

    def __call__(self, record: dict[str, Any]) -> dict[str, Any] | None:
        """Return what is to be sent of a record, or None."""
        stream, pts = record["stream"], record["pts"]
        if self._classes:
            kept = [row for row in record["detections"] if row["class"] in self._classes]
            record = record | {"detections": kept}
        said = _gist(record)
        if self._changes and self._sent.get(stream) == said:
            return None
        if self._rate and not self._is_due(stream, pts):
            return None
        self._sent[stream] = said
        return record

    def forget(self, stream: str) -> None:
        """Drop what a stream last sent."""
        self._sent.pop(stream, None)
        self._due.pop(stream, None)

    def takes(self, event: dict[str, Any]) -> bool:
        """Tell whether an event is to be sent: by its class, where it is about one."""
        return not self._classes or event.get("class", "") in {*self._classes, ""}

    def _is_due(self, stream: str, pts: float) -> bool:
        step, due = 1 / self._rate, self._due.get(stream, pts)
        if due - pts > 2 * step:  # the stream's time fell back
            due = pts
        if pts < due - 1e-6:
            return False
        self._due[stream] = max(due, pts - step) + step
        return True


def _gist(record: dict[str, Any]) -> object:
    """Return what of a record counts as a change: which tracks, or how many of each class, are there."""
    return sorted((row["class"], -1 if row["id"] is None else row["id"]) for row in record["detections"])
