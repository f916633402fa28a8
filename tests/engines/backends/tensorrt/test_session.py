"""Sessions: several shapes of one plan at once, and what is told where a shape cannot be had."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.backends.cuda import Device
from engines.backends.tensorrt.binding import Binding
from engines.backends.tensorrt.builder import Profile, Recipe, build_plan
from engines.backends.tensorrt.session import Session
from engines.errors import WorkError
from tests.engines.backends.fake_tensorrt import fake_tensorrt


def shape(batch: int) -> tuple[int, ...]:
    return (batch, 2)


@pytest.fixture
def session(trt: Any, tmp_path: Path) -> Session:
    """A plan that doubles (batch, 2) numbers, for batches of 1 to 4 and two contexts at once."""
    from onnx import TensorProto, helper

    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 2]) for name in ("in", "out")]
    node = helper.make_node("Add", ["in", "in"], ["out"])
    graph = helper.make_graph([node], "double", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "double.onnx"
    path.write_bytes(model.SerializeToString())
    binding = Binding(trt)
    recipe = Recipe(path, "fp32", (Profile("in", shape(1), shape(2), shape(4)),), contexts=2)
    return Session(binding, build_plan(binding, recipe), Device(0, trt.cuda))


def test_each_shape_has_buffers_of_its_own(session: Session) -> None:
    slots = [session.slot({"in": shape(batch)}) for batch in (1, 3)]
    for slot in slots:
        slot.inputs["in"][...] = np.arange(slot.inputs["in"].size).reshape(-1, 2)
        slot.start()
    for slot in reversed(slots):
        np.testing.assert_array_equal(slot.wait()["out"], 2 * slot.inputs["in"])
    assert [slot.wait()["out"].shape for slot in slots] == [(1, 2), (3, 2)]
    assert slots[0].compute(times=4) == 2.0, "8 ms of the fake's events for 4 runs"


def test_outputs_come_only_when_they_are_waited_for(session: Session) -> None:
    slot = session.slot({"in": shape(1)})
    slot.inputs["in"][...] = 21
    slot.start()
    outputs = slot._outputs["out"].copy()
    assert (outputs == 0).all(), "of the run on zeros"
    assert (slot.wait()["out"] == 42).all()


def test_a_shape_that_the_plan_does_not_serve_is_told(session: Session) -> None:
    with pytest.raises(WorkError, match=r"in: \(5, 2\), the plan does not serve this shape"):
        session.slot({"in": shape(5)})


def test_a_shape_that_is_left_open_is_told(session: Session) -> None:
    with pytest.raises(WorkError, match=r"in: \(-1, 2\), a shape known before it runs is needed"):
        session.slot()


@pytest.mark.parametrize("trt", ["8.5.3.1"], indirect=True)
def test_profiles_that_are_not_shared_limit_the_contexts(session: Session) -> None:
    for _ in range(2):
        session.slot({"in": shape(2)})
    with pytest.raises(WorkError, match="the plan serves 2 contexts, not more"):
        session.slot({"in": shape(2)})


def test_a_plan_of_another_version_is_refused_with_the_librarys_reason(trt: Any, session: Session) -> None:
    other = fake_tensorrt("10.16.1" if trt.__version__ != "10.16.1" else "11.4.0", trt.cuda)
    plan = b'{"version": "0"}\n'
    with pytest.raises(WorkError, match=r"the plan is not taken: Serialization assertion failed: 0$"):
        Session(Binding(other), plan, session.device)


def test_a_slot_that_failed_leaves_nothing_behind(trt: Any, session: Session) -> None:
    session.slot({"in": shape(1)})
    with pytest.raises(WorkError):
        session.slot({"in": shape(5)})
    session.close()
    session.device.close()
    assert trt.cuda.left == 0
