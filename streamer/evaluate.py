"""Evaluate: tracks held against a ground truth, both MOTChallenge text, with the measures of TrackEval."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.errors import InputError
from engines.suppress import iou_matrix

__all__ = ["Boxes", "Score", "evaluate", "print_scores", "read_mot"]


@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """All boxes of one sequence; every array has one row for each."""

    frames: NDArray[np.int64]  # (N,) from 1
    ids: NDArray[np.int64]  # (N,)
    boxes: NDArray[np.float32]  # (N, 4) xyxy


@dataclass(frozen=True, slots=True)
class Score:
    """How well one sequence was tracked, at an overlap of half; HOTA over all of its overlaps."""

    name: str
    mota: float  # 1 - (false + missed + switches) / boxes of the truth; may be negative
    idf1: float  # 0..1
    hota: float  # 0..1
    switches: int
    false: int  # boxes without one in the truth
    missed: int  # boxes of the truth that were not found
    tracks: int


def evaluate(truth: Path, tracks: Sequence[Path]) -> list[Score]:
    """Score each file of tracks against the sequence of its name; more than one gets a line for all.

    truth: a folder of sequences (NAME/gt/gt.txt), a sequence's own folder, or its gt.txt. Boxes of the truth
    whose seventh column is 0 are not looked for.

    Raises:
        InputError: files that are missing or no MOTChallenge text, or TrackEval is not installed.
    """
    measures = _measures()
    pairs = [(path.stem, _compare(read_mot(_truth_of(truth, path)), read_mot(path))) for path in tracks]
    results = [[measure.eval_sequence(data) for measure in measures] for _, data in pairs]
    scores = [
        _score(name, result, data["num_tracker_ids"])
        for (name, data), result in zip(pairs, results, strict=True)
    ]
    if len(scores) > 1:
        together = [
            measure.combine_sequences(
                {name: result[row] for (name, _), result in zip(pairs, results, strict=True)}
            )
            for row, measure in enumerate(measures)
        ]
        scores.append(_score("all", together, sum(score.tracks for score in scores)))
    return scores


def read_mot(path: Path) -> Boxes:
    """Read MOTChallenge text: frame, id, left, top, width, height, and whether it counts (0: it does not).

    Raises:
        InputError: the file is missing, or a line is not that.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    rows = [_row(f"{path}:{number}", line) for number, line in enumerate(lines, 1) if line.strip()]
    table = np.array(rows, np.float64).reshape(-1, 7)
    table = table[table[:, 6] != 0]
    corner = table[:, 2:4]
    boxes = np.concatenate([corner, corner + table[:, 4:6]], axis=1).astype(np.float32)
    return Boxes(table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), boxes)


def print_scores(scores: Sequence[Score]) -> None:
    """Print a table, one line for each sequence."""
    from rich.table import Table

    from engines.console import plain

    table = Table("sequence", "MOTA", "IDF1", "HOTA", "switches", "false", "missed", "tracks")
    for score in scores:
        shares = (f"{share * 100:.1f}" for share in (score.mota, score.idf1, score.hota))
        counts = (str(count) for count in (score.switches, score.false, score.missed, score.tracks))
        table.add_row(score.name, *shares, *counts)
    plain().print(table)


def _row(where: str, line: str) -> list[float]:
    try:
        values = [float(word) for word in line.split(",")]
    except ValueError:
        values = []
    if len(values) < 6 or not np.isfinite(values).all():
        raise InputError(f"{where}: {line[:40]!r}, would be frame,id,left,top,width,height,...")
    return [*values[:6], values[6] if len(values) > 6 else 1.0]


def _truth_of(truth: Path, tracks: Path) -> Path:
    places = [truth / tracks.stem / "gt" / "gt.txt", truth / "gt" / "gt.txt", truth]
    for place in places:
        if place.is_file():
            return place
    raise InputError(f"{truth}: no ground truth for {tracks.name}, would have {places[0]}")


def _measures() -> list[Any]:
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what parts of it lack
            from trackeval.metrics.clear import CLEAR
            from trackeval.metrics.hota import HOTA
            from trackeval.metrics.identity import Identity
    except ImportError as error:
        raise InputError(f"evaluate: {error}; install it with: pip install 'streamer[evaluate]'") from None
    quiet = {"PRINT_CONFIG": False}
    return [CLEAR(quiet), Identity(quiet), HOTA()]


def _compare(truth: Boxes, tracks: Boxes) -> dict[str, Any]:
    """Return what TrackEval's measures are made from: ids from 0, and overlaps frame by frame."""
    if not len(truth.frames):
        raise InputError("evaluate: the ground truth has no boxes")
    known, truth_ids = np.unique(truth.ids, return_inverse=True)
    given, track_ids = np.unique(tracks.ids, return_inverse=True)
    frames = range(1, int(max(truth.frames.max(), tracks.frames.max(initial=0))) + 1)
    real = [np.flatnonzero(truth.frames == frame) for frame in frames]
    found = [np.flatnonzero(tracks.frames == frame) for frame in frames]
    overlaps = [
        iou_matrix(truth.boxes[one], tracks.boxes[other]).astype(np.float64)
        for one, other in zip(real, found, strict=True)
    ]
    return {
        "num_timesteps": len(frames),
        "num_gt_ids": len(known),
        "num_tracker_ids": len(given),
        "num_gt_dets": len(truth.ids),
        "num_tracker_dets": len(tracks.ids),
        "gt_ids": [truth_ids[rows] for rows in real],
        "tracker_ids": [track_ids[rows] for rows in found],
        "similarity_scores": overlaps,
    }


def _score(name: str, results: Sequence[dict[str, Any]], tracks: int) -> Score:
    clear, identity, hota = results
    return Score(
        name,
        mota=float(clear["MOTA"]),
        idf1=float(identity["IDF1"]),
        hota=float(np.mean(hota["HOTA"])),
        switches=int(clear["IDSW"]),
        false=int(clear["CLR_FP"]),
        missed=int(clear["CLR_FN"]),
        tracks=tracks,
    )
