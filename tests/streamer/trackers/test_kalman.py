"""Kalman: the filter of N boxes is the textbook's filter of each of them, and time may be cut anywhere."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from streamer.trackers import kalman

BOXES = np.array([[10, 20, 60, 160], [200, 50, 420, 130], [0, 0, 8, 8]], np.float32)


def textbook(boxes: list[NDArray[np.float64]], times: list[float]) -> tuple[NDArray[np.float64], ...]:
    """Filter the centre's x of one box with matrices: state (x, velocity)."""
    side = max(boxes[0][2] - boxes[0][0], boxes[0][3] - boxes[0][1])
    push, wander = (kalman.PUSH[0] * side) ** 2, (kalman.WANDER[0] * side) ** 2
    noise = (kalman.MEASURED * side) ** 2
    state = np.array([(boxes[0][0] + boxes[0][2]) / 2, 0.0])
    spread = np.diag([noise, (kalman.UNKNOWN[0] * side) ** 2])
    observe = np.array([[1.0, 0.0]])
    for box, before, now in zip(boxes[1:], times, times[1:], strict=False):
        dt = now - before
        move = np.array([[1, dt], [0, 1]])
        blur = push * np.array([[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]]) + np.diag([wander * dt, 0])
        state, spread = move @ state, move @ spread @ move.T + blur
        gain = spread @ observe.T / (observe @ spread @ observe.T + noise)
        state = state + (gain * ((box[0] + box[2]) / 2 - state[0])).ravel()
        spread = spread - gain @ observe @ spread
    return state, spread


def test_filter_equals_the_textbook() -> None:
    random, times = np.random.default_rng(0), [0.0, 0.1, 0.13, 0.5, 1.7]
    boxes = [BOXES[0] + np.array([1, 0, 1, 0]) * x for x in [0, *random.uniform(0, 50, 4)]]
    states = kalman.initial(boxes[0][None])
    for box, before, now in zip(boxes[1:], times, times[1:], strict=False):
        states = kalman.correct(kalman.predict(states, now - before), box[None])
    state, spread = textbook([box.astype(np.float64) for box in boxes], times)
    assert states[0, [kalman.VALUE, kalman.VELOCITY], 0] == pytest.approx(state)
    found = states[0, [kalman.VAR, kalman.COVAR, kalman.VAR_VELOCITY], 0]
    assert found == pytest.approx(spread[[0, 0, 1], [0, 1, 1]])


@pytest.mark.parametrize("parts", [2, 3, 17])
def test_many_small_steps_are_one_large_step(parts: int) -> None:
    states = kalman.correct(kalman.predict(kalman.initial(BOXES), 0.2), BOXES + 3)
    steps = states
    for _ in range(parts):
        steps = kalman.predict(steps, 0.6 / parts)
    assert steps == pytest.approx(kalman.predict(states, 0.6))


def test_boxes_come_back_as_they_went_in() -> None:
    assert kalman.boxes_of(kalman.initial(BOXES)) == pytest.approx(BOXES)


def test_each_step_of_time_may_differ() -> None:
    states = kalman.correct(kalman.predict(kalman.initial(BOXES), 0.2), BOXES + 3)
    together = kalman.predict(states, np.array([0.1, 0.0, 2.0]))
    for row, dt in enumerate([0.1, 0.0, 2.0]):
        assert together[row] == pytest.approx(kalman.predict(states[row : row + 1], dt)[0])


def test_camera_takes_boxes_and_velocities_along() -> None:
    states = kalman.correct(kalman.predict(kalman.initial(BOXES), 0.2), BOXES + 3)
    affine = np.array([[0.0, -2.0, 7.0], [2.0, 0.0, -5.0]])  # a quarter turn, twice as large
    moved = kalman.warp(states, affine)
    x, y = states[:, kalman.VALUE, 0], states[:, kalman.VALUE, 1]
    assert moved[:, kalman.VALUE, :2] == pytest.approx(np.stack([7 - 2 * y, 2 * x - 5], axis=1))
    assert moved[:, kalman.VALUE, 2:] == pytest.approx(2 * states[:, kalman.VALUE, 2:])
    assert moved[:, kalman.VELOCITY, 1] == pytest.approx(2 * states[:, kalman.VELOCITY, 0])
