"""The CUDA layer, on a driver that refuses what a real one refuses."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from engines.backends.cuda import Device, devices
from engines.errors import InputError, WorkError
from tests.engines.backends.fake_cuda import FakeCuda


@pytest.fixture
def cuda() -> FakeCuda:
    return FakeCuda("Fake H200", "Fake T4")


def test_gpus_are_told_by_name_and_capability(cuda: FakeCuda) -> None:
    found = devices(cuda)
    assert [(gpu.index, gpu.name, gpu.capability, gpu.driver) for gpu in found] == [
        (0, "Fake H200", (9, 0), 13010),
        (1, "Fake T4", (9, 0), 13010),
    ]
    assert devices(None) == ()


def test_a_gpu_that_is_not_there_is_told(cuda: FakeCuda) -> None:
    with pytest.raises(InputError, match="device: cuda:2, this machine has cuda:0, cuda:1"):
        Device(2, cuda)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "int64"])
def test_arrays_travel_to_the_gpu_and_back(cuda: FakeCuda, dtype: str) -> None:
    device = Device(0, cuda)
    stream, there = device.stream(), device.pinned((3, 5), dtype)
    back, address = device.pinned((3, 5), dtype), device.memory(there.nbytes)
    there[...] = np.arange(15).reshape(3, 5)
    stream.copy_in(address, there)
    stream.copy_out(back, address)
    assert not back.any()
    stream.synchronize()
    np.testing.assert_array_equal(back, there)


def test_recorded_work_is_done_at_each_launch_and_not_before(cuda: FakeCuda) -> None:
    device = Device(0, cuda)
    stream, there, back = device.stream(), device.pinned((2,), "float32"), device.pinned((2,), "float32")
    address = device.memory(8)

    def work() -> None:
        stream.copy_in(address, there)
        stream.copy_out(back, address)

    graph = stream.capture(work)
    there[...] = 1
    stream.synchronize()
    assert not back.any()
    for value in (1, 2):
        there[...] = value
        graph.launch(stream)
        stream.synchronize()
        assert (back == value).all()


def test_what_cannot_be_recorded_leaves_the_stream_usable_and_nothing_behind(cuda: FakeCuda) -> None:
    device = Device(0, cuda)
    stream = device.stream()
    with pytest.raises(WorkError, match=r"cuda: cuStreamSynchronize: fake error 800 \(800\)"):
        stream.capture(stream.synchronize)
    stream.synchronize()
    assert not cuda.graphs


def test_another_thread_takes_the_device_up_first(cuda: FakeCuda) -> None:
    device = Device(0, cuda)
    stream = device.stream()

    def use_and_wait() -> None:
        device.use()
        stream.synchronize()

    with ThreadPoolExecutor(1) as other:
        with pytest.raises(WorkError, match=r"fake error 201"):
            other.submit(stream.synchronize).result()
        other.submit(use_and_wait).result()


def test_closing_frees_all_and_leaves_arrays_readable(cuda: FakeCuda) -> None:
    device = Device(0, cuda)
    array = device.pinned((1000,), "float32")
    array[...] = 7
    device.memory(100)
    device.close()
    assert cuda.left == 0
    assert (array == 7).all()
