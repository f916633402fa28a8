"""Kalman filter of N boxes at once: centre with velocity, size without, in seconds of the stream's own time.

Centre x, centre y, width and height are filtered each by itself (their noises are independent, so this is the
full filter, not an approximation), which leaves no matrix to invert. Noise is continuous in time: predicting
twice by dt is predicting once by 2 dt, to rounding, so a dropped frame changes nothing but what it hides.
A size has no velocity: extrapolated through an occlusion it would grow or vanish.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "VALUE",
    "VELOCITY",
    "boxes_of",
    "correct",
    "initial",
    "measured",
    "predict",
    "spread",
    "warp",
]

States = NDArray[np.float64]  # (N, 5, 4): value, velocity, their variances and covariance; of cx, cy, w, h
Boxes = NDArray[np.float64]

VALUE, VELOCITY, VAR, COVAR, VAR_VELOCITY = range(5)

# Standard deviations in units of the box's longer side: those of DeepSORT and ByteTrack (h/20 of position and
# h/160 of velocity per frame of 1/30 s), made independent of the frame rate.
MEASURED = 1 / 10
WANDER = np.array([0.27, 0.27, 0.27, 0.27])  # of the value, per square root of a second
PUSH = np.array([1.0, 1.0, 0.0, 0.0])  # of the velocity per second, per square root of a second
UNKNOWN = np.array([1.9, 1.9, 0.0, 0.0])  # of the velocity of a new track, per second


def measured(boxes: NDArray[np.floating]) -> Boxes:
    """Return cx, cy, w, h of xyxy boxes, (N,4)."""
    low, high = boxes[:, :2].astype(np.float64), boxes[:, 2:].astype(np.float64)
    return np.concatenate([(low + high) / 2, high - low], axis=1)


def boxes_of(states: States) -> Boxes:
    """Return the xyxy boxes of states, (N,4)."""
    value = states[:, VALUE]
    half = value[:, 2:] / 2
    return np.concatenate([value[:, :2] - half, value[:, :2] + half], axis=1)


def initial(boxes: NDArray[np.floating]) -> States:
    """Return the states of boxes seen for the first time, at rest with a velocity that is anyone's guess."""
    states = np.zeros((len(boxes), 5, 4))
    states[:, VALUE] = measured(boxes)
    side = _side(states)
    states[:, VAR] = (MEASURED * side) ** 2
    states[:, VAR_VELOCITY] = (UNKNOWN * side) ** 2
    return states


def predict(states: States, dt: NDArray[np.float64] | float) -> States:
    """Return the states dt seconds on; dt is one number or (N,)."""
    step = np.asarray(dt, np.float64)[..., None] if np.ndim(dt) else np.float64(dt)
    power = _side(states) ** 2
    push, wander = PUSH**2 * power * step, WANDER**2 * power * step
    value, velocity, var, covar, var_velocity = states.transpose(1, 0, 2)
    ahead = np.empty_like(states)
    ahead[:, VALUE] = value + velocity * step
    ahead[:, VELOCITY] = velocity
    ahead[:, VAR] = var + step * (2 * covar + step * var_velocity) + wander + push * step**2 / 3
    ahead[:, COVAR] = covar + step * var_velocity + push * step / 2
    ahead[:, VAR_VELOCITY] = var_velocity + push
    return ahead


def correct(states: States, boxes: NDArray[np.floating]) -> States:
    """Return the states after seeing xyxy boxes (N,4), one of each."""
    seen = measured(boxes)
    value, velocity, var, covar, var_velocity = states.transpose(1, 0, 2)
    total = var + (MEASURED * np.maximum(seen[:, 2], seen[:, 3])[:, None]) ** 2
    gain, push, miss = var / total, covar / total, seen - value
    after = np.empty_like(states)
    after[:, VALUE] = value + gain * miss
    after[:, VELOCITY] = velocity + push * miss
    after[:, VAR] = (1 - gain) * var
    after[:, COVAR] = (1 - gain) * covar
    after[:, VAR_VELOCITY] = var_velocity - push * covar
    return after


def spread(states: States) -> Boxes:
    """Return the standard deviation of a measurement of each centre about its prediction, (N,2) pixels."""
    deviation: Boxes = np.sqrt(states[:, VAR, :2] + (MEASURED * _side(states)) ** 2)
    return deviation


def warp(states: States, affine: NDArray[np.float64]) -> States:
    """Return the states in the picture of a camera that has moved; affine is (2,3), old pixels to new.

    Sizes and deviations follow the scale; a rotation moves and turns centres and velocities only.
    """
    turn = affine[:, :2]
    scale = np.sqrt(abs(np.linalg.det(turn)))
    moved = states.copy()
    moved[:, VALUE, :2] = states[:, VALUE, :2] @ turn.T + affine[:, 2]
    moved[:, VELOCITY, :2] = states[:, VELOCITY, :2] @ turn.T
    moved[:, VALUE, 2:] *= scale
    moved[:, VAR:] *= scale**2
    return moved


def _side(states: States) -> Boxes:
    """The longer side of each box, (N,1): noise is told in its units. Predicting leaves it as it is."""
    return np.maximum(states[:, VALUE, 2], states[:, VALUE, 3])[:, None]
