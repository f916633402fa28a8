"""CUDA: the little of NVIDIA's driver interface that running an engine needs, without any package.

The driver library is a parameter, found by `find_driver`. Every call is one of NVIDIA's "CUDA Driver API"
reference; ctypes lets other threads run meanwhile.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.errors import InputError, WorkError

__all__ = ["Device", "DeviceInfo", "Event", "Graph", "Stream", "devices", "find_driver"]

_LIBRARY = "libcuda.so.1"
_COMPUTE_CAPABILITY = (75, 76)  # attributes: major, minor
_NON_BLOCKING = 1  # stream: does not wait for the default stream
_THREAD_LOCAL = 1  # capture: other threads may allocate meanwhile
_BLOCKING_SYNC, _NO_TIMING = 1, 2  # event: a waiting thread sleeps; no time stamps


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """One GPU as the driver tells of it."""

    index: int
    name: str  # "NVIDIA H200"
    capability: tuple[int, int]  # (9, 0)
    driver: int  # the newest CUDA that it runs: 13010 is 13.1


class Driver:
    """The library, every return code checked."""

    def __init__(self, library: Any) -> None:
        self._library = library

    def __call__(self, function: str, *arguments: Any) -> None:
        code = self.code(function, *arguments)
        if code:
            text = ctypes.c_char_p()
            self._library.cuGetErrorString(code, ctypes.byref(text))
            raise WorkError(f"cuda: {function}: {(text.value or b'unknown error').decode()} ({code})")

    def code(self, function: str, *arguments: Any) -> int:
        """Call, and return the code: 0 is good."""
        return int(getattr(self._library, function)(*arguments))

    def integer(self, function: str, *arguments: Any) -> int:
        """Call what writes one int through its first argument."""
        value = ctypes.c_int()
        self(function, ctypes.byref(value), *arguments)
        return value.value

    def pointer(self, function: str, *arguments: Any) -> ctypes.c_void_p:
        """Call what writes one pointer or handle through its first argument."""
        value = ctypes.c_void_p()
        self(function, ctypes.byref(value), *arguments)
        return value


@cache
def find_driver() -> Any | None:
    """Return the driver library, or None where there is none, or no GPU that it can use."""
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError:
        return None
    return library if library.cuInit(0) == 0 else None


def devices(library: Any | None) -> tuple[DeviceInfo, ...]:
    """Return the GPUs that ``library`` (of `find_driver`) reaches; none for None."""
    if library is None:
        return ()
    driver = Driver(library)
    return tuple(_info(driver, index) for index in range(driver.integer("cuDeviceGetCount")))


class Device:
    """One GPU in use: everything allocated through it lives until `close`.

    Any thread calls `use` before it touches streams, events or graphs of this device.
    """

    def __init__(self, index: int, library: Any) -> None:
        self._driver = Driver(library)
        self._driver("cuInit", 0)
        count = self._driver.integer("cuDeviceGetCount")
        if not 0 <= index < count:
            known = ", ".join(f"cuda:{number}" for number in range(count)) or "no GPU"
            raise InputError(f"device: cuda:{index}, this machine has {known}")
        self.info = _info(self._driver, index)
        self._handle = self._driver.integer("cuDeviceGet", index)
        self._context = self._driver.pointer("cuDevicePrimaryCtxRetain", self._handle)
        self._memory: list[int] = []
        self._pinned: list[NDArray[np.uint8]] = []
        self.use()

    def use(self) -> None:
        """Make this device the calling thread's own."""
        self._driver("cuCtxSetCurrent", self._context)

    def memory(self, size: int) -> int:
        """Allocate ``size`` bytes on the GPU; returns their address."""
        address = ctypes.c_uint64()
        self._driver("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(max(size, 1)))
        self._memory.append(address.value)
        return address.value

    def pinned(self, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
        """Allocate zeros in host memory that the GPU copies from and to by itself.

        Whole pages of our own are registered, so the array stays readable after `close`.
        """
        kind = np.dtype(dtype)
        size = int(np.prod(shape)) * kind.itemsize
        pages = np.frombuffer(mmap.mmap(-1, -(-max(size, 1) // mmap.PAGESIZE) * mmap.PAGESIZE), np.uint8)
        self._driver("cuMemHostRegister_v2", _address(pages), ctypes.c_size_t(pages.nbytes), 0)
        self._pinned.append(pages)
        return pages[:size].view(kind).reshape(shape)

    def stream(self) -> Stream:
        """Make an order of work of its own."""
        return Stream(self._driver)

    def event(self, *, sleep: bool = True, timing: bool = False) -> Event:
        """Make a point in a stream to wait for: asleep, or spinning where ``sleep`` is False."""
        return Event(self._driver, (_BLOCKING_SYNC if sleep else 0) | (0 if timing else _NO_TIMING))

    def close(self) -> None:
        """Free all memory; streams must have come to rest."""
        self.use()
        for address in self._memory:
            self._driver("cuMemFree_v2", ctypes.c_uint64(address))
        for pages in self._pinned:
            self._driver("cuMemHostUnregister", _address(pages))
        self._memory, self._pinned = [], []
        self._driver("cuDevicePrimaryCtxRelease_v2", self._handle)


class Stream:
    """Work that the GPU does in order, beside other streams."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._handle = driver.pointer("cuStreamCreate", _NON_BLOCKING)

    @property
    def handle(self) -> int:
        """The stream as an integer, as TensorRT takes it."""
        return self._handle.value or 0

    def copy_in(self, address: int, array: NDArray[Any]) -> None:
        """Begin to copy a pinned array to the GPU."""
        size = ctypes.c_size_t(array.nbytes)
        self._driver("cuMemcpyHtoDAsync_v2", ctypes.c_uint64(address), _address(array), size, self._handle)

    def copy_out(self, array: NDArray[Any], address: int) -> None:
        """Begin to copy from the GPU into a pinned array."""
        size = ctypes.c_size_t(array.nbytes)
        self._driver("cuMemcpyDtoHAsync_v2", _address(array), ctypes.c_uint64(address), size, self._handle)

    def copy(self, target: int, source: int, size: int) -> None:
        """Begin to copy bytes from one address of the GPU to another."""
        told = (ctypes.c_uint64(target), ctypes.c_uint64(source), ctypes.c_size_t(size))
        self._driver("cuMemcpyDtoDAsync_v2", *told, self._handle)

    def record(self, event: Event) -> None:
        """Put an event after all work that was begun."""
        self._driver("cuEventRecord", event.handle, self._handle)

    def synchronize(self) -> None:
        """Wait until all work is done."""
        self._driver("cuStreamSynchronize", self._handle)

    def capture(self, work: Callable[[], None]) -> Graph:
        """Record the work that ``work`` begins on this stream, without doing it.

        Raises WorkError where something in it cannot be recorded; the stream is usable afterwards.
        """
        self._driver("cuStreamBeginCapture_v2", self._handle, _THREAD_LOCAL)
        recorded = ctypes.c_void_p()
        try:
            work()
        except BaseException:
            # A stream left in capture would take no more work; what was recorded so far may be nothing.
            self._driver.code("cuStreamEndCapture", self._handle, ctypes.byref(recorded))
            if recorded:
                self._driver("cuGraphDestroy", recorded)
            raise
        self._driver("cuStreamEndCapture", self._handle, ctypes.byref(recorded))
        return Graph(self._driver, recorded)

    def close(self) -> None:
        """Wait, and free the stream."""
        self.synchronize()
        self._driver("cuStreamDestroy_v2", self._handle)


class Graph:
    """Recorded work that starts with one call."""

    def __init__(self, driver: Driver, recorded: ctypes.c_void_p) -> None:
        self._driver = driver
        self._handle = driver.pointer("cuGraphInstantiateWithFlags", recorded, ctypes.c_uint64(0))
        driver("cuGraphDestroy", recorded)

    def launch(self, stream: Stream) -> None:
        """Begin the work on a stream."""
        self._driver("cuGraphLaunch", self._handle, ctypes.c_void_p(stream.handle))

    def close(self) -> None:
        """Free it; it must not be running."""
        self._driver("cuGraphExecDestroy", self._handle)


class Event:
    """A point in a stream."""

    def __init__(self, driver: Driver, flags: int) -> None:
        self._driver = driver
        self.handle = driver.pointer("cuEventCreate", flags)

    def wait(self) -> None:
        """Wait until the stream has passed this point."""
        self._driver("cuEventSynchronize", self.handle)

    def milliseconds_since(self, earlier: Event) -> float:
        """Time on the GPU between two events made with ``timing``, both passed."""
        value = ctypes.c_float()
        self._driver("cuEventElapsedTime", ctypes.byref(value), earlier.handle, self.handle)
        return value.value

    def close(self) -> None:
        """Free it."""
        self._driver("cuEventDestroy_v2", self.handle)


def _info(driver: Driver, index: int) -> DeviceInfo:
    handle = driver.integer("cuDeviceGet", index)
    name = ctypes.create_string_buffer(128)
    driver("cuDeviceGetName", name, len(name), handle)
    major, minor = (driver.integer("cuDeviceGetAttribute", what, handle) for what in _COMPUTE_CAPABILITY)
    return DeviceInfo(index, name.value.decode(), (major, minor), driver.integer("cuDriverGetVersion"))


def _address(array: NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
