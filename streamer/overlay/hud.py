"""Hud: a line of figures in the corner of the picture."""

from __future__ import annotations

from collections.abc import Callable

from streamer.frame import Frame
from streamer.overlay.canvas import Canvas
from streamer.overlay.glyphs import glyphs
from streamer.overlay.sprite import kind_of, panel
from streamer.overlay.style import style_for

__all__ = ["Hud"]

GROUND = (12, 14, 18)
INK = (245, 245, 245)
OPACITY = 0.6
STEP = 16
LEAST = 5  # pixels, the height of a capital that can be read


class Hud:
    """An overlay that shows what ``text`` says of the frame, and nothing where it says nothing."""

    def __init__(self, text: Callable[[Frame], str]) -> None:
        self._text = text

    def __call__(self, canvas: Canvas, frame: Frame) -> None:
        """Lay the line on a dark panel in the top left corner, smaller where the picture is narrow."""
        text = self._text(frame)
        if not text:
            return
        style = style_for(canvas.size)
        padding, margin = style.padding, style.padding // 2 * 2
        tall, width = style.text, _width(text, style.text, padding)
        if width > (room := canvas.size[0] - 2 * margin):
            tall = max(tall * room // width, LEAST)
            width = _width(text, tall, padding)
        size = (width, tall + 2 * padding)
        ground = panel(size, GROUND, OPACITY, style.radius, kind_of(frame.planes))
        canvas.paste((margin, margin), ground)
        canvas.text((margin + padding, margin + padding + tall), text, INK, tall)
        canvas.space.claim((margin, margin, margin + ground.size[0], margin + ground.size[1]))


def _width(text: str, height: int, padding: int) -> int:
    """Digits change their width from frame to frame; a panel that grows in steps does not tremble."""
    letters: int = glyphs(text, height).coverage.shape[1]
    return -(-(letters + 2 * padding) // STEP) * STEP
