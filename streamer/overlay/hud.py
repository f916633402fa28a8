"""Hud: a line of figures in the corner of the picture."""

from __future__ import annotations

from collections.abc import Callable

from streamer.frame import Frame
from streamer.overlay.canvas import Canvas
from streamer.overlay.sprite import kind_of, panel
from streamer.overlay.style import style_for

__all__ = ["Hud"]

GROUND = (12, 14, 18)
OPACITY = 0.6


class Hud:
    """An overlay that shows what ``text`` says of the frame, and nothing where it says nothing."""

    def __init__(self, text: Callable[[Frame], str]) -> None:
        self._text = text

    def __call__(self, canvas: Canvas, frame: Frame) -> None:
        """Lay the line on a dark panel in the top left corner, which labels then stay clear of."""
        text = self._text(frame)
        if not text:
            return
        style = style_for(canvas.size)
        measures = (style.text, style.padding, style.radius)
        sprite = panel(text, GROUND, OPACITY, measures, kind_of(frame.planes))
        margin = 2 * (style.padding // 2)
        width, height = sprite.size
        canvas.paste((margin, margin), sprite)
        canvas.space.claim((margin, margin, margin + width, margin + height))
