"""The card: how long a run took, also one that was stopped and resumed."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainers.card import _minutes


@pytest.mark.parametrize(
    ("seconds", "minutes"), [((60, 120, 300), 5), ((300, 600, 60, 240), 14), ((600, 60), 11), ((90,), 2)]
)
def test_the_minutes_of_a_resumed_run_are_added(
    seconds: tuple[int, ...], minutes: int, tmp_path: Path
) -> None:
    rows = "".join(f"{epoch},{when}\n" for epoch, when in enumerate(seconds, 1))
    (tmp_path / "results.csv").write_text(f"epoch,seconds\n{rows}")
    assert _minutes(tmp_path / "last.pt") == minutes


def test_a_checkpoint_without_its_results_tells_no_time(tmp_path: Path) -> None:
    assert _minutes(tmp_path / "last.pt") == 0
