"""Analytics: what tracks did: crossed lines, entered zones, stayed, moved at some speed."""

from streamer.analytics.events import Event
from streamer.analytics.lines import Line, LineCounter
from streamer.analytics.zones import Zone, ZoneCounter

__all__ = ["Event", "Line", "LineCounter", "Zone", "ZoneCounter"]
