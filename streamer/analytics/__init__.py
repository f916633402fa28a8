"""Analytics: what tracks did: crossed lines, entered zones, stayed, moved at some speed."""

from streamer.analytics.events import Event
from streamer.analytics.heatmap import HeatMap
from streamer.analytics.lines import Line, LineCounter
from streamer.analytics.speed import Ground, SpeedMeter
from streamer.analytics.zones import Zone, ZoneCounter

__all__ = ["Event", "Ground", "HeatMap", "Line", "LineCounter", "SpeedMeter", "Zone", "ZoneCounter"]
