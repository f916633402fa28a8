"""What a training run says: a progress bar, a line for each epoch, results.csv, and TensorBoard's scalars."""

from __future__ import annotations

import csv
import io
import math
import time
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from engines.console import plain
from engines.errors import InputError, WorkError
from trainers import files

if TYPE_CHECKING:
    from trainers.evaluate import Report

__all__ = ["Log"]

_COLUMNS = ["epoch", "step", "seconds", "rate", "loss"]


class Log:
    """Progress of one run; a context manager.

    ``resume_at`` is the step from which the run goes on: later rows of results.csv are cut off. ``sums`` are
    of the terms since the last whole epoch; they are kept up to date in place. Without ``writes`` it says and
    leaves nothing. InputError where ``board`` asks for TensorBoard and it is absent.
    """

    def __init__(
        self,
        output: Path,
        *,
        resume_at: int = 0,
        sums: dict[str, float] | None = None,
        quiet: bool = False,
        writes: bool = True,
        board: bool = False,
    ) -> None:
        quiet = quiet or not writes
        self._path, self._resume_at, self._writes = output / "results.csv", resume_at, writes
        self._board: Any = _open_board(output, resume_at) if board and writes else None
        self._console = plain(stderr=True, quiet=quiet)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[said]}"),
            console=self._console,
            disable=quiet or not self._console.is_terminal,
        )
        self._sums: dict[str, float] = {} if sums is None else sums
        self._since = 0  # steps that the sums hold
        self.rows: list[dict[str, str]] = []  # of results.csv

    def __enter__(self) -> Log:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WorkError(f"{self._path.parent}: no folder can be made: {error.strerror}") from error
        if self._resume_at and self._path.exists():
            with self._path.open(newline="") as file:
                rows = list(csv.DictReader(file))
            self.rows = [row for row in rows if int(row["step"]) <= self._resume_at]
        self._started = time.monotonic()
        self._bar.start()
        self._task = self._bar.add_task("render", total=None, said="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
        if self._board is not None:
            self._board.close()

    def say(self, words: str) -> None:
        """Print a line."""
        self._console.print(words, soft_wrap=True)

    def preparing(self, done: int) -> None:
        """Show how many pictures are rendered."""
        self._bar.update(self._task, completed=done)

    def start(self, total: int, steps: int) -> None:
        """Begin to count steps, ``steps`` an epoch."""
        if self._resume_at % steps == 0:
            self._sums.clear()
        self._since = self._resume_at % steps if self._sums else 0
        self._total, self._began = total, time.monotonic()
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
        self._scalars("step", losses | {"rate": rate})

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
            row |= {"ap": _figure(report.ap), "ap50": _figure(report.ap50)}
            row |= {f"ap50_{name}": _figure(ap50) for name, (_, ap50) in report.classes.items()}
            row |= {f"ap50_{name}": _figure(ap50) for name, (_, ap50) in report.parts.items()}
        self.rows.append(row)
        self._write()
        self._scalars("epoch", {name: float(value) for name, value in row.items() if value})
        self.say(" ".join([*(f"{key} {value or '-'}" for key, value in row.items()), f"eta {self._left()}"]))
        self._sums.clear()
        self._since = 0

    def _left(self) -> timedelta:
        """The time that the rest takes if it goes on like this; rendering is over and does not count."""
        each = (time.monotonic() - self._began) / max(self._step - self._resume_at, 1)
        return timedelta(seconds=round(each * (self._total - self._step)))

    def _scalars(self, group: str, values: dict[str, float]) -> None:
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(f"{group}/{name}", value, self._step)

    def _write(self) -> None:
        if not self._writes:
            return
        columns = list(dict.fromkeys([*_COLUMNS, *(key for row in self.rows for key in row)]))
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, columns)
        writer.writeheader()
        writer.writerows(self.rows)
        files.write(self._path, text.getvalue().encode())


def _figure(value: float) -> str:
    """Write an AP; nothing where there is none."""
    return "" if math.isnan(value) else f"{value:.4f}"


def _open_board(output: Path, resume_at: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InputError(
            "tensorboard: it is not installed, pip install tensorboard or tensorboard: false is right"
        ) from error
    return SummaryWriter(str(output / "tensorboard"), purge_step=resume_at + 1 if resume_at else None)
