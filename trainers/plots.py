"""Plots of a run as pictures, drawn by OpenCV: losses and AP over the epochs, precision, confusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from trainers import files
from trainers.evaluate import Report

__all__ = ["confusion_matrix", "curves", "plot_report", "plot_run"]

_WIDTH, _HEIGHT = 900, 560
_LEFT, _RIGHT, _TOP, _BOTTOM = 80, 220, 50, 60
_INK, _GRID, _PAPER = (60, 60, 60), (225, 225, 225), (255, 255, 255)
_COLOURS = (  # BGR, apart also for those who see few colours (Okabe and Ito)
    (178, 114, 0), (0, 94, 213), (115, 158, 0), (167, 121, 204), (0, 159, 230), (233, 180, 86),
)  # fmt: skip
_MOST = 14  # lines that have room in the legend
_FIXED = {"epoch", "step", "seconds", "rate"}  # columns of results.csv that are no curve

Line = Sequence[tuple[float, float]]


def plot_run(folder: Path, rows: Sequence[Mapping[str, str]], report: Report | None) -> None:
    """Write ``loss.png`` and ``ap.png`` from the rows of results.csv, and the plots of a validation."""
    names = dict.fromkeys(name for row in rows for name in row if name not in _FIXED)
    lines = {name: [(float(r["epoch"]), float(r[name])) for r in rows if r.get(name)] for name in names}
    measured = {name: line for name, line in lines.items() if name.startswith("ap")}
    losses = {name: line for name, line in lines.items() if name not in measured}
    files.write(folder / "loss.png", _png(curves("Loss", "epoch", losses)))
    if measured:
        files.write(folder / "ap.png", _png(curves("Average precision", "epoch", measured, top=1.0)))
    if report is not None:
        plot_report(folder, report)


def plot_report(folder: Path, report: Report) -> None:
    """Write ``precision.png`` (precision over recall at IoU .50) and ``confusion.png``."""
    recall = np.linspace(0, 1, 101)
    lines = {
        f"{name} {report.classes[name][1]:.3f}": list(zip(recall.tolist(), curve, strict=True))
        for name, curve in report.curves.items()
    }
    title = f"Precision at IoU .50, AP50 {report.ap50:.3f}"
    files.write(folder / "precision.png", _png(curves(title, "recall", lines, top=1.0)))
    names = (*report.classes, "background")
    files.write(folder / "confusion.png", _png(confusion_matrix(np.array(report.confusion), names)))


def curves(title: str, across: str, lines: Mapping[str, Line], top: float = 0.0) -> NDArray[np.uint8]:
    """Draw lines of (x, y) as a picture (H, W, 3) BGR with axes and a legend.

    y begins at 0 and ends at ``top``, or at the greatest value; values that are not finite leave gaps.
    """
    sheet = np.full((_HEIGHT, _WIDTH, 3), _PAPER, np.uint8)
    points = np.array([point for line in lines.values() for point in line], float).reshape(-1, 2)
    points = points[np.isfinite(points).all(axis=1)]
    low, high = (points[:, 0].min(), points[:, 0].max()) if len(points) else (0.0, 1.0)
    high = max(high, low + 1e-9)
    top = top or max(float(points[:, 1].max(initial=0.0)) * 1.05, 1e-9)
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    for step in range(6):
        y, x = bottom - (bottom - _TOP) * step // 5, _LEFT + (right - _LEFT) * step // 5
        cv2.line(sheet, (_LEFT, y), (right, y), _GRID, 1)
        cv2.line(sheet, (x, _TOP), (x, bottom), _GRID, 1)
        _text(sheet, f"{top * step / 5:.3g}", (_LEFT - 60, y + 5))
        _text(sheet, f"{low + (high - low) * step / 5:.3g}", (x - 12, bottom + 22))
    cv2.rectangle(sheet, (_LEFT, _TOP), (right, bottom), _INK, 1)
    _text(sheet, title, (_LEFT, 30), 0.7)
    _text(sheet, across, ((_LEFT + right) // 2 - 25, _HEIGHT - 12))
    for number, (name, line) in enumerate(list(lines.items())[:_MOST]):
        colour = _COLOURS[number % len(_COLOURS)]
        at = np.array(line, float).reshape(-1, 2)
        at = at[np.isfinite(at).all(axis=1)]
        x = _LEFT + (at[:, 0] - low) / (high - low) * (right - _LEFT)
        y = bottom - np.clip(at[:, 1] / top, 0, 1) * (bottom - _TOP)
        path = np.stack([x, y], 1).round().astype(np.int32)
        cv2.polylines(sheet, [path[:, None]], False, colour, 2, cv2.LINE_AA)
        for spot in path if len(path) <= 30 else ():
            cv2.circle(sheet, spot.tolist(), 3, colour, -1, cv2.LINE_AA)
        y0 = _TOP + 14 + 26 * number
        cv2.line(sheet, (right + 14, y0 - 5), (right + 40, y0 - 5), colour, 3)
        _text(sheet, name[:20], (right + 48, y0))
    return sheet


def confusion_matrix(table: NDArray[np.int64], names: Sequence[str]) -> NDArray[np.uint8]:
    """Draw counts [truth][found] as a picture (H, W, 3) BGR, shaded by the share of each truth's row."""
    cell = max(min(90, 900 // max(len(names), 1)), 14)
    left, top = 150, 110
    side = cell * len(names)
    sheet = np.full((top + side + 30, left + side + 30, 3), _PAPER, np.uint8)
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    _text(sheet, "truth down, found across", (10, 30), 0.7)
    for row, name in enumerate(names):
        if cell >= 20 or not row % 5:
            _text(sheet, name[:16], (10, top + row * cell + cell // 2 + 5))
            _text(sheet, name[: max(cell // 9, 3)], (left + row * cell + 4, top - 10))
        for column in range(len(names)):
            x, y = left + column * cell, top + row * cell
            dark = float(shares[row, column])
            colour = tuple(round(255 - dark * (255 - part)) for part in _COLOURS[0])
            cv2.rectangle(sheet, (x, y), (x + cell - 1, y + cell - 1), colour, -1)
            if cell >= 30 and table[row, column]:
                ink = _PAPER if dark > 0.6 else _INK
                _text(sheet, str(table[row, column]), (x + 6, y + cell // 2 + 5), 0.45, ink)
    cv2.rectangle(sheet, (left, top), (left + side, top + side), _INK, 1)
    return sheet


def _text(
    sheet: NDArray[np.uint8],
    words: str,
    at: tuple[int, int],
    size: float = 0.45,
    ink: tuple[int, int, int] = _INK,
) -> None:
    cv2.putText(sheet, words, at, cv2.FONT_HERSHEY_SIMPLEX, size, ink, 1, cv2.LINE_AA)


def _png(sheet: NDArray[np.uint8]) -> bytes:
    return bytes(cv2.imencode(".png", sheet)[1].tobytes())
