"""Evaluate: published figures come out, and so do those worked out by hand."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from engines.detections import Detections
from engines.errors import InputError
from streamer.evaluate import Score, evaluate, read_mot
from streamer.trackers import open_tracker

pytest.importorskip("trackeval", reason="needs the extra [evaluate]")

FPS = 25.0  # of TUD-Campus


def written(path: Path, rows: Iterable[tuple[float, ...]]) -> Path:
    path.write_text("".join(",".join(map(str, row)) + ",1,-1,-1,-1\n" for row in rows))
    return path


def test_published_figures_of_a_result_come_out(data_dir: Path) -> None:
    result = data_dir / "gt/mot15/results/TUD-Campus.txt"
    [score] = evaluate(data_dir / "gt/mot15", [result])
    assert (round(score.mota, 3), round(score.idf1, 3), score.switches) == (0.526, 0.558, 7)


def tracked(name: str, data_dir: Path, folder: Path) -> Score:
    """Track the public detections of TUD-Campus and score what comes out."""
    table = np.loadtxt(data_dir / "gt/mot15_sort_det/TUD-Campus/det.txt", delimiter=",")
    tracker, rows = open_tracker(name), []
    for frame in range(1, 72):
        seen = table[table[:, 0] == frame]
        boxes = np.concatenate([seen[:, 2:4], seen[:, 2:4] + seen[:, 4:6]], axis=1)
        found = tracker.update(Detections.of(boxes, seen[:, 6], np.zeros(len(seen))), frame / FPS)
        for number, (x1, y1, x2, y2) in zip(found.ids.tolist(), found.boxes.tolist(), strict=True):
            if number >= 0:
                rows.append((frame, number, x1, y1, x2 - x1, y2 - y1))
    return evaluate(data_dir / "gt/mot15", [written(folder / "TUD-Campus.txt", rows)])[0]


def test_trackers_reach_the_figures_of_sort_and_beyond(data_dir: Path, tmp_path: Path) -> None:
    scores = {name: tracked(name, data_dir, tmp_path) for name in ("sort", "bytetrack", "ocsort", "botsort")}
    assert scores["sort"].mota >= 0.62
    assert scores["sort"].switches <= 7
    for name in ("bytetrack", "ocsort", "botsort"):
        assert scores[name].idf1 >= scores["sort"].idf1


def test_figures_are_those_worked_out_by_hand(tmp_path: Path) -> None:
    truth = [(frame, who, 100 * who, 0, 50, 100) for frame in range(1, 11) for who in (1, 2)]
    rows = [(frame, 5 if frame <= 6 else 6, 100, 0, 50, 100) for frame in range(1, 11)]
    rows += [(frame, 9, 200, 0, 50, 100) for frame in range(1, 9)]  # missed twice
    rows += [(1, 7, 500, 500, 9, 9)]  # nobody
    [score] = evaluate(written(tmp_path / "gt.txt", truth), [written(tmp_path / "run.txt", rows)])
    assert (score.switches, score.false, score.missed, score.tracks) == (1, 1, 2, 4)
    assert score.mota == pytest.approx(1 - (1 + 1 + 2) / 20)
    assert score.idf1 == pytest.approx(2 * (6 + 8) / (20 + 19))


def test_sequences_are_summed_up(tmp_path: Path) -> None:
    for name, count in (("one", 4), ("two", 12)):
        (tmp_path / name / "gt").mkdir(parents=True)
        written(tmp_path / name / "gt/gt.txt", [(frame, 1, 0, 0, 9, 9) for frame in range(1, count + 1)])
    right = written(tmp_path / "one.txt", [(frame, 3, 0, 0, 9, 9) for frame in range(1, 5)])
    wrong = written(tmp_path / "two.txt", [(1, 3, 50, 50, 9, 9)])
    scores = evaluate(tmp_path, [right, wrong])
    assert [score.name for score in scores] == ["one", "two", "all"]
    assert [score.mota for score in scores] == pytest.approx([1, -1 / 12, 1 - 13 / 16])


def test_truth_that_does_not_count_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "gt.txt"
    path.write_text("1,1,10,20,30,40,1,-1,-1,-1\n1,2,10,20,30,40,0,-1,-1,-1\n")
    assert read_mot(path).ids.tolist() == [1]
    assert read_mot(path).boxes.tolist() == [[10, 20, 40, 60]]


@pytest.mark.parametrize("line", ["1,2,3", "1,2,x,4,5,6", "1,2,3,4,nan,6"])
def test_mistakes_name_the_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "run.txt"
    path.write_text(f"1,1,0,0,9,9\n{line}\n")
    with pytest.raises(InputError, match=r"run\.txt:2: .*would be frame,id"):
        read_mot(path)


def test_missing_truth_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no ground truth for run\.txt"):
        evaluate(tmp_path, [written(tmp_path / "run.txt", [(1, 1, 0, 0, 9, 9)])])
