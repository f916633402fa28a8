"""Progress: nested phases become one fraction that only grows."""

from __future__ import annotations

import pytest

from engines.backends.tensorrt.progress import Phases


def test_an_inner_phase_fills_one_step_of_its_parent() -> None:
    seen: list[tuple[float, str]] = []
    phases = Phases(lambda at, name: seen.append((at, name)))
    phases.start("build", 2)
    phases.start("tactics", 4)
    phases.step("tactics")
    phases.step("tactics")
    phases.finish("tactics")
    phases.step("build")
    phases.start("memory", 1)
    phases.step("memory")
    phases.finish("memory")
    phases.step("build")
    expected = [0, 0, 1 / 8, 2 / 8, 4 / 8, 4 / 8, 1, 1]
    assert [at for at, _ in seen] == pytest.approx(expected)
    assert seen[2][1] == "tactics"


def test_it_never_goes_back_and_never_past_the_end() -> None:
    seen: list[float] = []
    phases = Phases(lambda at, name: seen.append(at))
    phases.start("build", 1)
    for _ in range(3):  # more steps than were announced
        phases.step("build")
    phases.start("build", 10)  # a name that comes again
    phases.step("nobody's")
    assert seen == sorted(seen)
    assert seen[-1] == 1


def test_false_ends_the_build_and_nothing_else_does() -> None:
    answers = iter([None, True, False, None])
    phases = Phases(lambda at, name: next(answers))
    phases.start("build", 3)
    assert phases.step("build")
    assert not phases.step("build")
    assert not phases.step("build"), "and it stays so"
