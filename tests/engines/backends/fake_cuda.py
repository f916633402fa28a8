"""A CUDA driver of nothing but Python: work on a stream is done when somebody waits for it, never earlier.

It refuses what a real driver refuses: a thread without a context, copies past an allocation, copies from
memory that is not pinned, waiting while a stream is recorded.
"""
# ruff: noqa: N802, N815

from __future__ import annotations

import ctypes
import itertools
import threading
from collections.abc import Callable
from typing import Any

INVALID_VALUE, INVALID_CONTEXT, NOT_PERMITTED, INVALIDATED = 1, 201, 800, 901
Work = Callable[[], None]


class FakeCuda:
    """The library: its attributes are the driver's functions."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.memory: dict[int, Any] = {}  # address -> buffer
        self.pinned: dict[int, int] = {}  # address -> bytes
        self.streams: dict[int, list[Work]] = {}  # handle -> work to do
        self.recording: dict[int, list[Work]] = {}
        self.graphs: dict[int, list[Work]] = {}
        self.events: dict[int, int] = {}  # handle -> stream
        self.contexts = 0  # retained
        self.launched = 0
        self._handles = itertools.count(0x1000)
        self._thread = threading.local()

    @property
    def left(self) -> int:
        """How much is still allocated."""
        things = (self.memory, self.pinned, self.streams, self.graphs, self.events)
        return sum(map(len, things)) + self.contexts

    def enqueue(self, stream: int, work: Work) -> None:
        """Put work on a stream, as a library that runs on top does."""
        self.recording.get(stream, self.streams[stream]).append(work)

    def at(self, address: int, size: int) -> Any:
        """The bytes of device memory from an address on; None where they are not all allocated."""
        for start, buffer in self.memory.items():
            if start <= address and address + size <= start + len(buffer):
                return (ctypes.c_char * size).from_buffer(buffer, address - start)
        return None

    def __getattribute__(self, name: str) -> Any:
        found = object.__getattribute__(self, name)
        free = ("cuInit", "cuDevice", "cuDriver", "cuCtx", "cuGetErrorString")
        if name.startswith("cu") and not name.startswith(free) and not hasattr(self._thread, "context"):
            return lambda *_: INVALID_CONTEXT
        return found

    def cuInit(self, flags: int) -> int:
        return 0

    def cuGetErrorString(self, code: int, text: Any) -> int:
        text._obj.value = f"fake error {code}".encode()
        return 0

    def cuDriverGetVersion(self, version: Any) -> int:
        version._obj.value = 13010
        return 0

    def cuDeviceGetCount(self, count: Any) -> int:
        count._obj.value = len(self.names)
        return 0

    def cuDeviceGet(self, device: Any, index: int) -> int:
        device._obj.value = index
        return 0

    def cuDeviceGetName(self, name: Any, size: int, device: int) -> int:
        name.value = self.names[device].encode()
        return 0

    def cuDeviceGetAttribute(self, value: Any, what: int, device: int) -> int:
        value._obj.value = {75: 9, 76: 0}[what]
        return 0

    def cuDevicePrimaryCtxRetain(self, context: Any, device: int) -> int:
        context._obj.value = 0xC0DE
        self.contexts += 1
        return 0

    def cuDevicePrimaryCtxRelease_v2(self, device: int) -> int:
        self.contexts -= 1
        return 0

    def cuCtxSetCurrent(self, context: Any) -> int:
        self._thread.context = context.value
        return 0

    def cuMemAlloc_v2(self, address: Any, size: Any) -> int:
        address._obj.value = next(self._handles) << 32
        self.memory[address._obj.value] = bytearray(size.value)
        return 0

    def cuMemFree_v2(self, address: Any) -> int:
        return 0 if self.memory.pop(address.value, None) is not None else INVALID_VALUE

    def cuMemHostRegister_v2(self, address: Any, size: Any, flags: int) -> int:
        self.pinned[address.value] = size.value
        return 0

    def cuMemHostUnregister(self, address: Any) -> int:
        return 0 if self.pinned.pop(address.value, None) else INVALID_VALUE

    def cuMemcpyHtoDAsync_v2(self, device: Any, host: Any, size: Any, stream: Any) -> int:
        return self._copy(device.value, host.value, size.value, stream.value, to_device=True)

    def cuMemcpyDtoHAsync_v2(self, host: Any, device: Any, size: Any, stream: Any) -> int:
        return self._copy(device.value, host.value, size.value, stream.value, to_device=False)

    def cuMemcpyDtoDAsync_v2(self, target: Any, source: Any, size: Any, stream: Any) -> int:
        buffers = [self.at(address.value, size.value) for address in (target, source)]
        if None in buffers:
            return INVALID_VALUE
        self.enqueue(stream.value, lambda: ctypes.memmove(*buffers, size.value))
        return 0

    def cuStreamCreate(self, stream: Any, flags: int) -> int:
        stream._obj.value = next(self._handles)
        self.streams[stream._obj.value] = []
        return 0

    def cuStreamDestroy_v2(self, stream: Any) -> int:
        del self.streams[stream.value]
        return 0

    def cuStreamSynchronize(self, stream: Any) -> int:
        if stream.value in self.recording:
            return NOT_PERMITTED
        work = self.streams[stream.value]
        while work:
            work.pop(0)()
        return 0

    def cuStreamBeginCapture_v2(self, stream: Any, mode: int) -> int:
        self.recording[stream.value] = []
        return 0

    def cuStreamEndCapture(self, stream: Any, graph: Any) -> int:
        graph._obj.value = next(self._handles)
        self.graphs[graph._obj.value] = self.recording.pop(stream.value)
        return 0

    def cuGraphInstantiateWithFlags(self, runnable: Any, graph: Any, flags: Any) -> int:
        runnable._obj.value = next(self._handles)
        self.graphs[runnable._obj.value] = list(self.graphs[graph.value])
        return 0

    def cuGraphDestroy(self, graph: Any) -> int:
        del self.graphs[graph.value]
        return 0

    cuGraphExecDestroy = cuGraphDestroy

    def cuGraphLaunch(self, graph: Any, stream: Any) -> int:
        self.streams[stream.value] += self.graphs[graph.value]
        self.launched += 1
        return 0

    def cuEventCreate(self, event: Any, flags: int) -> int:
        event._obj.value = next(self._handles)
        self.events[event._obj.value] = 0
        return 0

    def cuEventDestroy_v2(self, event: Any) -> int:
        del self.events[event.value]
        return 0

    def cuEventRecord(self, event: Any, stream: Any) -> int:
        self.events[event.value] = stream.value
        return 0

    def cuEventSynchronize(self, event: Any) -> int:
        stream = self.events[event.value]
        return self.cuStreamSynchronize(ctypes.c_void_p(stream)) if stream else 0

    def cuEventElapsedTime(self, milliseconds: Any, first: Any, last: Any) -> int:
        milliseconds._obj.value = 8.0
        return 0

    def _copy(self, device: int, host: int, size: int, stream: int, *, to_device: bool) -> int:
        buffer = self.at(device, size)
        pinned = any(start <= host and host + size <= start + length for start, length in self.pinned.items())
        if buffer is None or not pinned:
            return INVALID_VALUE
        pair = (buffer, host, size) if to_device else (host, buffer, size)
        self.enqueue(stream, lambda: ctypes.memmove(*pair))
        return 0
