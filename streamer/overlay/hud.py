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
        padding, margin = style.padding, style.padding // 2 * 2
        line = glyphs(text, style.text)
        # Digits change their width from frame to frame; a panel that grows in steps does not tremble.
        width = -(-(line.coverage.shape[1] + 2 * padding) // STEP) * STEP
        size = (width, style.text + 2 * padding)
        ground = panel(size, GROUND, OPACITY, style.radius, kind_of(frame.planes))
        canvas.paste((margin, margin), ground)
        canvas.text((margin + padding, margin + padding + style.text), text, INK, style.text)
        canvas.space.claim((margin, margin, margin + ground.size[0], margin + ground.size[1]))
