"""Governor: brings the age of results under its target in a simulated engine, says so, and undoes it."""

from __future__ import annotations

import numpy as np
import pytest

from streamer.batching import Batching
from streamer.frame import Frame
from streamer.governor import STEPS, Governor
from streamer.inbox import Aborted, Inbox
from streamer.planes import from_rgb


class Plant:
    """A stream of 30 a second before an engine: ages follow from what is held back and what it can do."""

    def __init__(self, target: float) -> None:
        self.batching = Batching()
        self.said: list[str] = []
        self.governor = Governor(target, self.batching, self.said.append)
        self.now = 0.0
        self.lane = Inbox().lane("cam", policy="latest", capacity=2)
        self.requests = 4

    def age(self, service: float) -> float:
        load = service * 30 / self.batching.thin
        if load < 1:
            return service + 0.01
        ahead = self.batching.ahead or self.requests
        return service * (ahead + self.governor.step.lane)

    def run(self, service: float, seconds: int) -> list[float]:
        ages = []
        for _ in range(seconds):
            self.now += 1.0
            ages.append(self.age(service))
            self.governor.look([ages[-1]] * 30, [self.lane], self.now)
        return ages


def test_an_age_under_the_target_changes_nothing():
    plant = Plant(0.15)
    plant.run(0.02, 60)
    assert plant.said == []
    assert plant.governor.level == 0


def test_under_overload_the_age_falls_below_the_target_and_stays():
    plant = Plant(0.15)
    ages = plant.run(0.06, 60)
    assert max(ages[10:]) <= 0.15
    assert all("ms of 150 ms" in line for line in plant.said)


def test_what_was_undone_too_early_is_undone_ever_later():
    plant = Plant(0.15)
    ages = plant.run(0.07, 600)
    assert sum(age > 0.15 for age in ages[300:]) <= 3
    assert sum(age > 0.15 for age in ages[10:]) <= 8


def test_all_is_undone_when_the_load_falls():
    plant = Plant(0.15)
    plant.run(0.06, 30)
    assert plant.governor.level > 0
    plant.run(0.01, 60)
    assert plant.governor.level == 0
    assert (plant.batching.ahead, plant.batching.thin) == (0, 1)
    assert "again queues as they are" in plant.said[-1]


def test_a_target_that_cannot_be_met_is_said_once():
    plant = Plant(0.05)
    plant.run(1.0, 60)
    assert plant.governor.level == len(STEPS) - 1
    assert [line for line in plant.said if "nothing more" in line] == plant.said[-1:]


def test_each_step_turns_all_knobs_and_waits_for_its_effect():
    plant = Plant(0.15)
    knobs, since = [], []
    for _ in range(40):
        plant.now += 0.25
        before = plant.governor.level
        plant.governor.look([1.0], [plant.lane], plant.now)
        for item in range(3):
            plant.lane.put(item)
        if plant.governor.level > before:
            since.append(plant.now)
            knobs.append(
                (len(plant.lane), plant.batching.ahead, plant.batching.max_wait, plant.batching.thin)
            )
    assert knobs == [(step.lane, step.ahead, step.wait, step.thin) for step in STEPS[1:]]
    assert np.diff(since).tolist() == [1.0] * 5


@pytest.mark.parametrize(
    ("late", "acts"), [(4, False), (6, True)], ids=["a few of a hundred", "more than the 95th percentile"]
)
def test_what_counts_is_the_age_of_most_results(late, acts):
    plant = Plant(0.15)
    plant.governor.look([1.0] * late + [0.01] * (100 - late), [plant.lane], 1.0)
    assert plant.governor.level == acts


@pytest.mark.parametrize(
    ("age", "levels"),
    [(0.10, [3] * 20), (0.08, [3] * 4 + [2] * 5 + [1] * 5 + [0] * 6)],
    ids=["not calm", "calm"],
)
def test_a_step_is_taken_back_after_each_calm_time_well_below_the_target(age, levels):
    plant = Plant(0.15)
    for _ in range(3):
        plant.now += 1
        plant.governor.look([1.0], [plant.lane], plant.now)
    seen = []
    for _ in range(20):
        plant.now += 1
        plant.governor.look([age], [plant.lane], plant.now)
        seen.append(plant.governor.level)
    assert seen == levels


def test_a_second_without_results_changes_nothing():
    plant = Plant(0.15)
    plant.run(0.06, 30)
    level = plant.governor.level
    for _ in range(20):
        plant.now += 1
        plant.governor.look([], [plant.lane], plant.now)
    assert plant.governor.level == level


@pytest.mark.parametrize("knob", ["lane", "ahead", "wait", "thin"])
def test_each_step_holds_back_no_more_than_the_one_before(knob):
    values = [getattr(step, knob) or (9 if knob == "ahead" else 0) for step in STEPS]
    assert values == sorted(values, reverse=knob != "thin")


def test_a_step_that_is_taken_back_too_early_again_and_again_is_kept_for_longer():
    plant = Plant(0.15)
    levels = ""
    for _ in range(1500):
        plant.now += 1
        plant.governor.look([0.2 if plant.governor.level == 0 else 0.05], [plant.lane], plant.now)
        levels += str(plant.governor.level)
    assert [len(kept) for kept in levels.split("0")][:8] == [5, 10, 20, 40, 80, 160, 300, 300]


def test_an_overload_long_after_the_last_begins_with_the_usual_patience():
    plant = Plant(0.15)
    plant.run(0.06, 30)
    plant.run(0.01, 1200)
    plant.run(0.06, 5)
    assert plant.governor.level > 0
    plant.run(0.01, 60)
    assert plant.governor.level == 0


@pytest.mark.parametrize(
    ("every", "thin", "due"), [(1, 1, [0, 1, 2, 3, 4, 5, 6]), (1, 3, [0, 3, 6]), (2, 3, [0, 6])]
)
def test_a_thinned_stream_is_inferred_each_so_manieth_frame(every, thin, due):
    batching, picture = Batching(), from_rgb(np.zeros((2, 2, 3), np.uint8))
    batching.every["cam"], batching.thin = every, thin
    assert [n for n in range(7) if batching.is_due(Frame("cam", n, n / 25, picture))] == due


def test_no_more_batches_go_in_than_may_be_in_the_engine():
    def down() -> None:
        raise Aborted

    batching = Batching(ahead=2)
    batching.submitted(1)
    batching.await_turn(down)
    batching.submitted(1)
    with pytest.raises(Aborted):
        batching.await_turn(down)
    batching.collected()
    batching.await_turn(down)
