"""Session: a plan on a GPU; for every request a context, fixed buffers and a CUDA graph of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.backends.cuda import Device, Event, Graph, Stream
from engines.backends.tensorrt.binding import Binding
from engines.engine import TensorSpec
from engines.errors import WorkError

__all__ = ["Session", "Slot"]

Shapes = dict[str, tuple[int, ...]]  # of the inputs with open axes


class Session:
    """A deserialised plan. Raises WorkError where the library does not take it on this GPU."""

    def __init__(self, binding: Binding, plan: bytes, device: Device) -> None:
        self.binding, self.device = binding, device
        self._errors: list[str] = []
        self._logger = binding.logger(lambda error, text: self._errors.append(text) if error else None)
        device.use()
        self._runtime = binding.trt.Runtime(self._logger)
        self.engine = self._runtime.deserialize_cuda_engine(plan)
        if self.engine is None:
            self._runtime = None
            raise WorkError(f"{binding.name}: the plan is not taken: {self._reason()}")
        names = [self.engine.get_tensor_name(number) for number in range(self.engine.num_io_tensors)]
        wanted = binding.trt.TensorIOMode.INPUT
        self.inputs = [name for name in names if self.engine.get_tensor_mode(name) == wanted]
        self.outputs = [name for name in names if name not in self.inputs]
        self._kernels: Any = None
        self._config = self._runtime_config()
        self._slots: list[Slot] = []

    def slot(self, shapes: Shapes | None = None, *, graph: bool = True, sleep: bool = True) -> Slot:
        """Make a place in flight, for fixed shapes; ``graph`` and ``sleep`` as `Slot` has them."""
        self.device.use()
        context = self.engine.create_execution_context(*([self._config] if self._config else []))
        if context is None:
            raise WorkError(f"{self.binding.name}: no execution context: {self._reason()}")
        slot = Slot(self, context, shapes or {}, sleep=sleep)
        self._slots.append(slot)
        if shapes and not self.binding.shares_profiles:
            slot.choose_profile(len(self._slots) - 1)
        slot.prepare(graph=graph)
        return slot

    def layers(self) -> str:
        """What the library tells of every layer of the plan, as JSON."""
        inspector = self.engine.create_engine_inspector()
        return str(inspector.get_engine_information(self.binding.trt.LayerInformationFormat.JSON))

    def load_kernels(self, path: Path) -> None:
        """RTX compiles kernels when contexts are made: take those that an earlier process kept."""
        if self._kernels and path.exists():
            self._kernels.deserialize(path.read_bytes())  # refuses what is not of this machine by itself

    def kernels(self) -> bytes:
        """What `load_kernels` may read next time; nothing where the library has no such cache."""
        return bytes(memoryview(self._kernels.serialize())) if self._kernels else b""

    def close(self) -> None:
        """Close the slots and let go of the plan: before the device, whose context all of it lives in."""
        self.device.use()
        for slot in self._slots:
            slot.close()
        self._slots = []
        self._config = self._kernels = self.engine = self._runtime = None

    def _runtime_config(self) -> Any:
        if not hasattr(self.engine, "create_runtime_config"):
            return None
        config = self.engine.create_runtime_config()
        if not hasattr(config, "create_runtime_cache"):
            return None
        self._kernels = config.create_runtime_cache()
        config.set_runtime_cache(self._kernels)
        return config

    def _reason(self) -> str:
        return "; ".join(self._errors[-2:]) or "no reason given"


class Slot:
    """One place in flight, see `engines.engine.Request`.

    Inputs and outputs lie in pinned memory. One start copies in, computes and copies out; where it can, it is
    recorded as a CUDA graph, which starts with one call to the driver.
    """

    def __init__(self, session: Session, context: Any, shapes: Shapes, *, sleep: bool) -> None:
        self._session, self._context, self._shapes = session, context, shapes
        self._device = session.device
        self._stream: Stream = self._device.stream()
        self._done: Event = self._device.event(sleep=sleep)  # spinning is quicker and takes a core
        self._graph: Graph | None = None
        self.inputs: dict[str, NDArray[Any]] = {}
        self._outputs: dict[str, NDArray[Any]] = {}
        self._copies_in: list[tuple[int, NDArray[Any]]] = []
        self._copies_out: list[tuple[NDArray[Any], int]] = []
        self.no_graph = ""  # why there is none, where one was wanted

    @property
    def graph(self) -> bool:
        """Whether the work was recorded."""
        return self._graph is not None

    def choose_profile(self, number: int) -> None:
        """Versions that do not share profiles want one for each context."""
        if number and not self._context.set_optimization_profile_async(number, self._stream.handle):
            raise WorkError(f"{self._session.binding.name}: the plan serves {number} contexts, not more")

    def prepare(self, *, graph: bool) -> None:
        """Fix shapes and buffers, run once, and record."""
        session, context = self._session, self._context
        for name, shape in self._shapes.items():
            if not context.set_input_shape(name, shape):
                raise WorkError(
                    f"{session.binding.name}: {name}: {shape}, the plan does not serve this shape"
                )
        for name in (*session.inputs, *session.outputs):
            shape = tuple(context.get_tensor_shape(name))
            if min(shape, default=1) < 0:
                raise WorkError(
                    f"{session.binding.name}: {name}: {shape}, a shape known before it runs is needed"
                )
            array = self._device.pinned(shape, session.binding.dtype(session.engine.get_tensor_dtype(name)))
            address = self._device.memory(array.nbytes)
            if not context.set_tensor_address(name, address):
                raise WorkError(f"{session.binding.name}: {name}: the buffer is not taken")
            if name in session.inputs:
                self.inputs[name] = array
                self._copies_in.append((address, array))
            else:
                self._outputs[name] = array
                self._copies_out.append((array, address))
        self._enqueue()  # what the library does once, it must not do while it is recorded
        self._stream.synchronize()
        if graph:
            try:
                self._graph = self._stream.capture(self._enqueue)
            except WorkError as error:
                self.no_graph = str(error)

    def start(self) -> None:
        """Begin and return at once."""
        self._device.use()
        if self._graph:
            self._graph.launch(self._stream)
        else:
            self._enqueue()
        self._stream.record(self._done)

    def wait(self) -> dict[str, NDArray[Any]]:
        """Block until the outputs are there, without holding the interpreter."""
        self._device.use()
        self._done.wait()
        return self._outputs

    def compute(self, times: int) -> float:
        """Milliseconds of the GPU for one run without copies, over ``times`` runs one after the other."""
        self._device.use()
        recorded = self._stream.capture(self._compute) if self._graph else None
        first, last = self._device.event(timing=True), self._device.event(timing=True)
        self._stream.record(first)
        for _ in range(times):
            if recorded:
                recorded.launch(self._stream)
            else:
                self._compute()
        self._stream.record(last)
        last.wait()
        took = last.milliseconds_since(first) / times
        if recorded:
            recorded.close()
        first.close()
        last.close()
        return took

    def tensors(self) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        """Inputs and outputs as they are fixed here."""
        return _specs(self.inputs), _specs(self._outputs)

    def close(self) -> None:
        """Wait for what is in flight and free all but the buffers, which the device frees."""
        if self._context is None:
            return
        self._device.use()
        self._stream.close()
        if self._graph:
            self._graph.close()
        self._done.close()
        self._context = self._graph = None

    def _enqueue(self) -> None:
        for address, array in self._copies_in:
            self._stream.copy_in(address, array)
        self._compute()
        for array, address in self._copies_out:
            self._stream.copy_out(array, address)

    def _compute(self) -> None:
        if not self._context.execute_async_v3(self._stream.handle):
            raise WorkError(f"{self._session.binding.name}: the network was not started")


def _specs(arrays: dict[str, NDArray[Any]]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(name, array.shape, str(np.dtype(array.dtype))) for name, array in arrays.items())
