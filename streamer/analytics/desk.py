"""Desk: the lines and zones of a run as they are now, to be changed while it goes on and kept in its file."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any, Literal

from engines.errors import InputError
from streamer.analytics.plan import LinePlan, Plan, SpeedPlan, ZonePlan

__all__ = ["Desk", "Kind", "told"]

Kind = Literal["lines", "zones"]
MOST = 64  # lines, and zones, that may be added while a run goes on
MOST_POINTS = 64  # of one


class Desk:
    """One plan, read by the stage that counts; changes come from any thread, one at a time.

    Raises:
        InputError: a class that the model does not have.
    """

    def __init__(self, plan: Plan, names: Sequence[str], file: str = "") -> None:
        plan.check(names)
        self.plan = plan  # replaced as a whole, never changed
        self.file = file  # the pipeline file in which changes are kept, "" = none
        self.names = tuple(names)  # the model's classes
        self._lock = threading.Lock()

    def change(self, plan: Plan) -> None:
        """Watch another plan from the next frame on; what is as it was goes on counting.

        Raises:
            InputError: a class that the model does not have.
        """
        with self._lock:
            plan.check(self.names)
            self.plan = plan

    def put(self, kind: Kind, name: str, shape: Mapping[str, object]) -> None:
        """Set one line or zone, told as in a pipeline file, and keep it there.

        Raises:
            InputError: it cannot be; the sentence says what would be right.
            WorkError: the file cannot be written; then nothing is changed.
        """
        from streamer.config import read_analytics

        made = getattr(read_analytics({kind: {name: dict(shape)}}), kind)
        if len(made[0].points) > MOST_POINTS:
            raise InputError(
                f"{kind}.{name}: points: {len(made[0].points)}, at most {MOST_POINTS} would be right"
            )
        with self._lock:
            parts = getattr(self.plan, kind)
            at = next((at for at, part in enumerate(parts) if part.name == name), len(parts))
            if at >= MOST:
                raise InputError(f"{kind}: {MOST} at most, remove one first")
            self._take(replace(self.plan, **{kind: (*parts[:at], *made, *parts[at + 1 :])}))

    def remove(self, kind: Kind, name: str) -> bool:
        """Forget one line or zone, also in the file; False if there is none. Raises WorkError."""
        with self._lock:
            left = tuple(part for part in getattr(self.plan, kind) if part.name != name)
            if len(left) == len(getattr(self.plan, kind)):
                return False
            self._take(replace(self.plan, **{kind: left}))
        return True

    def _take(self, plan: Plan) -> None:
        plan.check(self.names)
        if self.file:
            from streamer.analytics.section import keep

            keep(Path(self.file), plan)
        self.plan = plan


def told(part: LinePlan | ZonePlan | SpeedPlan) -> dict[str, Any]:
    """Return a line, zone or ground as a pipeline file tells it: points, and what is not the default."""
    shape: dict[str, Any] = {}
    for field in fields(part):
        value = getattr(part, field.name)
        if field.name != "name" and (field.default is MISSING or value != field.default):
            shape[field.name] = _plain(value)
    return shape


def _plain(value: object) -> object:
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
