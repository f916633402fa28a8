"""Overlays: drawn on the YUV planes themselves, so that file, overlay and encoder never pass through BGR."""

from streamer.overlay.canvas import Canvas
from streamer.overlay.draw import Overlay, draw, overlays

__all__ = ["Canvas", "Overlay", "draw", "overlays"]
