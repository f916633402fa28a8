"""Progress: from TensorRT's nested phases to one fraction that never goes back."""

from __future__ import annotations

from typing import Any

from engines.backends import Progress
from engines.backends.tensorrt.binding import Binding

__all__ = ["Phases", "monitor"]


class Phases:
    """How far a build is. A phase is a step of its parent; the innermost comes last."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._open: dict[str, tuple[int, int]] = {}  # name -> (steps done, steps in all)
        self._fraction = 0.0
        self.cancelled = False

    def start(self, name: str, steps: int) -> None:
        """A phase of so many steps begins."""
        self._open[name] = (0, max(steps, 1))
        self._tell(name)

    def step(self, name: str) -> bool:
        """One step of a phase is done; False says that the build shall end."""
        if name in self._open:
            done, steps = self._open[name]
            self._open[name] = (done + 1, steps)
        self._tell(name)
        return not self.cancelled

    def finish(self, name: str) -> None:
        """A phase is over."""
        self._open.pop(name, None)

    def _tell(self, name: str) -> None:
        fraction, weight = 0.0, 1.0
        for done, steps in self._open.values():
            fraction += weight * done / steps
            weight /= steps
        self._fraction = max(self._fraction, min(fraction, 1.0))
        if self._progress(self._fraction, name) is False:
            self.cancelled = True


def monitor(binding: Binding, phases: Phases) -> Any:
    """Return what the library calls while it builds; only where `Binding.tells_progress`."""
    base: Any = binding.trt.IProgressMonitor

    class Monitor(base):  # type: ignore[misc]
        def __init__(self) -> None:
            base.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            phases.start(phase_name, num_steps)

        def phase_finish(self, phase_name: str) -> None:
            phases.finish(phase_name)

        def step_complete(self, phase_name: str, step: int) -> bool:
            return phases.step(phase_name)

    return Monitor()
