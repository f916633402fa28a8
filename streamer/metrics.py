"""Numbers of a running graph: duration histograms, and the ledger in which every frame is accounted for."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

__all__ = ["Histogram", "Ledger", "Tally"]

_PER_DECADE = 120  # buckets: each 1.9 % wide
_DECADES = 9  # 1 µs .. 1000 s


class Histogram:
    """Durations in logarithmic buckets 1.9 % wide, from 1 µs to 1000 s; constant memory, one writer."""

    __slots__ = ("_buckets", "count", "total")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget all."""
        self.count = 0
        self.total = 0.0  # seconds
        self._buckets = [0] * (_PER_DECADE * _DECADES)

    def add(self, seconds: float) -> None:
        """Record one duration."""
        self.count += 1
        self.total += seconds
        place = int(math.log10(seconds * 1e6) * _PER_DECADE) if seconds > 1e-6 else 0
        self._buckets[min(place, len(self._buckets) - 1)] += 1

    def quantile(self, q: float) -> float:
        """Return the duration in seconds below which a fraction `q` of all lies; 0 when there is none."""
        if not self.count:
            return 0.0
        sums = np.cumsum(self._buckets)
        place = int(np.searchsorted(sums, q * sums[-1], side="left"))
        return float(10 ** ((place + 0.5) / _PER_DECADE) * 1e-6)

    def cumulative(self, bounds: Sequence[float]) -> list[int]:
        """Return, for each bound in seconds, how many durations are at most so long, to 1.9 %."""
        sums = np.concatenate(([0], np.cumsum(self._buckets)))
        places = np.round(np.log10(np.asarray(bounds) * 1e6) * _PER_DECADE).astype(int)
        counts: list[int] = sums[np.clip(places, 0, len(sums) - 1)].tolist()
        return counts

    @property
    def mean(self) -> float:
        """Seconds; 0 when there is none."""
        return self.total / self.count if self.count else 0.0


@dataclass(slots=True)
class Tally:
    """What became of the frames of one stream at one stage: offered = out + dropped + failed + in flight."""

    offered: int = 0
    out: int = 0
    dropped: Counter[str] = field(default_factory=Counter)  # reason -> frames
    failed: Counter[str] = field(default_factory=Counter)  # reason -> frames

    @property
    def in_flight(self) -> int:
        """Frames that are queued at the stage or inside it."""
        return self.offered - self.out - self.dropped.total() - self.failed.total()

    def copy(self) -> Tally:
        """Return what it says now, which no stage changes any more."""
        return Tally(self.offered, self.out, self.dropped.copy(), self.failed.copy())


class Ledger:
    """A Tally for each (stage, stream); reading it while the graph runs gives a slightly blurred picture."""

    def __init__(self) -> None:
        self._tallies: dict[tuple[str, str], Tally] = {}

    def tally(self, stage: str, stream: str) -> Tally:
        """Return the tally of a stream at a stage, made on first use."""
        key = (stage, stream)
        try:
            return self._tallies[key]
        except KeyError:
            return self._tallies.setdefault(key, Tally())

    def stages(self) -> dict[str, dict[str, Tally]]:
        """Return copies, stage -> stream -> Tally, in the order in which they first appeared."""
        found: dict[str, dict[str, Tally]] = {}
        for (stage, stream), tally in list(self._tallies.items()):
            found.setdefault(stage, {})[stream] = tally.copy()
        return found

    def lost(self) -> Counter[str]:
        """Return "stage: reason" -> frames dropped or failed, over all streams."""
        total: Counter[str] = Counter()
        for stage, streams in self.stages().items():
            for tally in streams.values():
                for reason, count in (tally.dropped + tally.failed).items():
                    total[f"{stage}: {reason}"] += count
        return total

    def write_off(self, reason: str) -> list[tuple[str, str, int]]:
        """Count every frame still in flight as dropped for this reason: nobody works on them any more.

        Return stage, stream and how many frames, for each that had any.
        """
        gone = [(*key, tally.in_flight) for key, tally in self._tallies.items() if tally.in_flight]
        for stage, stream, frames in gone:
            self._tallies[stage, stream].dropped[reason] += frames
        return gone

    def under_way(self, stream: str, stages: Sequence[str]) -> int:
        """Return how many frames of a stream are in flight at these stages."""
        tallies = (self._tallies.get((stage, stream)) for stage in stages)
        return sum(tally.in_flight for tally in tallies if tally is not None)

    def unbalanced(self) -> list[str]:
        """Return one sentence for each stage and stream with frames still in flight; empty is a clean end."""
        return [
            f"{stage}: {stream}: {tally.in_flight} of {tally.offered} frames unaccounted for"
            for stage, streams in self.stages().items()
            for stream, tally in streams.items()
            if tally.in_flight
        ]
