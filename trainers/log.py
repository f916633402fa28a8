"""What a training run says: a progress bar, a line for each epoch, and results.csv."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from trainers.evaluate import Report

__all__ = ["Log"]

_COLUMNS = ["epoch", "step", "seconds", "rate", "loss"]


class Log:
    """Progress of one run; a context manager.

    ``resume_at`` is the step from which the run goes on: later rows of results.csv are cut off.
    """

    def __init__(self, output: Path, *, resume_at: int = 0, quiet: bool = False) -> None:
        self._path, self._resume_at = output / "results.csv", resume_at
        self._console = Console(stderr=True, quiet=quiet)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[said]}"),
            console=self._console,
            disable=quiet or not self._console.is_terminal,
        )
        self._sums: dict[str, float] = {}
        self._since = 0  # steps that the sums hold
        self._rows: list[dict[str, str]] = []

    def __enter__(self) -> Log:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._resume_at and self._path.exists():
            with self._path.open(newline="") as file:
                rows = list(csv.DictReader(file))
            self._rows = [row for row in rows if int(row["step"]) <= self._resume_at]
        self._started = time.monotonic()
        self._bar.start()
        self._task = self._bar.add_task("render", total=None, said="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def preparing(self, done: int) -> None:
        """Show how many pictures are rendered."""
        self._bar.update(self._task, completed=done)

    def start(self, total: int, steps: int) -> None:
        """Begin to count steps, ``steps`` an epoch."""
        self._bar.update(self._task, description="train", total=total, completed=self._resume_at)
        self._console.print(f"{total} steps, {steps} an epoch, from {self._resume_at}; {self._path.parent}")

    def step(self, step: int, losses: dict[str, float], rate: float) -> None:
        """Note the terms of one step."""
        self._since += 1
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        said = " ".join(f"{name} {value:.3f}" for name, value in losses.items())
        self._bar.update(self._task, completed=step, said=f"{said} lr {rate:.1e}")
        self._step = step

    def epoch(self, epoch: int, rate: float, report: Report | None) -> None:
        """Write the row of an epoch."""
        means = {name: value / max(self._since, 1) for name, value in self._sums.items()}
        row = {
            "epoch": str(epoch),
            "step": str(self._step),
            "seconds": f"{time.monotonic() - self._started:.1f}",
            "rate": f"{rate:.3e}",
            "loss": f"{sum(means.values()):.5f}",
        }
        row |= {name: f"{value:.5f}" for name, value in means.items()}
        if report is not None:
            row |= {"ap": f"{report.ap:.4f}", "ap50": f"{report.ap50:.4f}"}
            row |= {f"ap50_{name}": f"{ap50:.4f}" for name, (_, ap50) in report.classes.items()}
            row |= {f"ap50_{name}": f"{ap50:.4f}" for name, (_, ap50) in report.parts.items()}
        self._rows.append(row)
        self._write()
        self._console.print(" ".join(f"{key} {value}" for key, value in row.items()), soft_wrap=True)
        self._sums, self._since = {}, 0

    def _write(self) -> None:
        columns = list(dict.fromkeys([*_COLUMNS, *(key for row in self._rows for key in row)]))
        with self._path.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(self._rows)
