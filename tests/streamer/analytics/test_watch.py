"""Watch: what the signs of a stream say."""

from __future__ import annotations

import numpy as np
import pytest

from engines.detections import Detections
from streamer.analytics.plan import LinePlan, Plan, SpeedPlan, ZonePlan
from streamer.analytics.watch import Watch
from streamer.frame import Frame
from streamer.planes import from_rgb


def test_signs_say_how_many_of_each_class_where_there_are_several() -> None:
    door = LinePlan("door", ((0.5, 1), (0.5, 0)))
    hall = ZonePlan("hall", ((0, 0), (1, 0), (1, 1), (0, 1)))
    watch = Watch(Plan((door,), (hall,)), "cam", (100, 100), ("person", "car"))
    planes, said = from_rgb(np.zeros((100, 100, 3), np.uint8)), []
    for pts, (x, classes) in enumerate([(30, [1]), (70, [1]), (70, [1, 0]), (30, [1, 0, 9]), (30, [1])]):
        boxes = [[x - 2, 40, x + 2, 60]] * len(classes)
        rows = Detections.of(boxes, [0.9] * len(classes), classes, ids=np.array([3, 1, 2])[: len(classes)])
        watch.update(Frame("cam", pts, float(pts), planes, detections=rows))
        said.append([sign.text for sign in watch.signs()])
    assert said[:2] == [["door in 0 out 0", "hall 1"], ["door in 1 out 0", "hall 1"]]
    assert said[2] == ["door in 1 out 0", "hall 2 (1 car, 1 person)"]
    assert said[3] == ["door in 1 out 2 (1 car, 1 person)", "hall 3 (1 car, 1 person, 1 9)"]


@pytest.mark.parametrize(
    ("streams", "watched"), [((), 3), (("cam",), 3), (("cam", "gate"), 3), (("gate",), 0)]
)
def test_a_stream_is_watched_for_what_is_meant_for_it(streams: tuple[str, ...], watched: int) -> None:
    corners = ((0, 0), (0, 1), (1, 1), (1, 0))
    plan = Plan(
        (LinePlan("door", corners[:2], streams=streams),),
        (ZonePlan("hall", corners, streams=streams),),
        (SpeedPlan("yard", corners, corners, streams=streams),),
    )
    assert len(Watch(plan, "cam", (100, 100), ()).signs()) == watched
