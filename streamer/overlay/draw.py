"""Draw: a list of overlays on a copy of a frame's planes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from engines.spec import ModelSpec
from streamer.frame import Frame
from streamer.overlay.boxes import boxes
from streamer.overlay.canvas import Canvas
from streamer.overlay.heat import Heat
from streamer.overlay.hud import Hud
from streamer.overlay.keypoints import Keypoints
from streamer.overlay.labels import Labels
from streamer.overlay.masks import masks
from streamer.overlay.signs import signs
from streamer.overlay.trails import Trails

__all__ = ["Overlay", "draw", "overlays"]

Overlay = Callable[[Canvas, Frame], None]  # draws one thing of a frame


def overlays(
    spec: ModelSpec, *, trails: float = 0.0, heatmap: float = 0.0, hud: Callable[[Frame], str] | None = None
) -> list[Overlay]:
    """Return what shows this model's detections in one stream, in drawing order.

    trails: seconds of the way that tracks have come. heatmap: seconds after which it has forgotten half,
    0: there is none. ``hud`` says a line for each frame.
    """
    chosen: list[Overlay] = [masks, boxes, Keypoints(spec)]
    if trails > 0:
        chosen.insert(1, Trails(trails))
    if heatmap > 0:
        chosen.insert(0, Heat(heatmap))
    chosen.append(signs)
    if hud is not None:
        chosen.append(Hud(hud))
    return [*chosen, Labels(spec)]


def draw(frame: Frame, overlays: Sequence[Overlay]) -> Frame:
    """Return the frame with the overlays on planes of its own; the frame itself where nothing was drawn."""
    canvas = Canvas(frame.planes, shared=True)
    for overlay in overlays:
        overlay(canvas, frame)
    if canvas.is_untouched:
        return frame
    return replace(frame, planes=canvas.planes)
