"""Session: a plan on a GPU; for every request a context, fixed buffers and a CUDA graph of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.backends import STATE
from engines.backends.cuda import Device, Event, Graph, Stream
from engines.backends.tensorrt.binding import Binding
from engines.engine import Memory, TensorSpec
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
        taken = [name for name in names if self.engine.get_tensor_mode(name) == wanted]
        self.state = [name for name in names if name.startswith(STATE)]  # stays on the GPU
        self.takes_state = any(name in taken for name in self.state)
        self.inputs = [name for name in taken if name not in self.state]
        self.outputs = [name for name in names if name not in (*taken, *self.state)]
        self._kernels: Any = None
        self._config = self._runtime_config()
        self._slots: list[Slot] = []
        self._contexts = 0  # that were made

    def slot(self, shapes: Shapes | None = None, *, graph: bool = True, sleep: bool = True) -> Slot:
        """Make a place in flight, for fixed shapes; ``graph`` and ``sleep`` as `Slot` has them."""
        self.device.use()
        slot = Slot(self, shapes or {}, graph=graph, sleep=sleep)
        self._slots.append(slot)
        slot.prepare()
        return slot

    def context(self, stream: Stream, *, open_shapes: bool) -> Any:
        """Make what one order of runs needs: activations, and a profile where they are not shared."""
        context = self.engine.create_execution_context(*([self._config] if self._config else []))
        if context is None:
            raise WorkError(f"{self.binding.name}: no execution context: {self._reason()}")
        number, self._contexts = self._contexts, self._contexts + 1
        chooses = open_shapes and number and not self.binding.shares_profiles
        if chooses and not context.set_optimization_profile_async(number, stream.handle):
            raise WorkError(f"{self.binding.name}: the plan serves {number} contexts, not more")
        return context

    def open_shapes(self, batch: int) -> Shapes:
        """The shapes of a place in flight for ``batch`` pictures; none where the plan fixes them."""
        known = {name: tuple(self.engine.get_tensor_shape(name)) for name in self.inputs}
        return {name: (batch, *shape[1:]) for name, shape in known.items() if shape[0] < 0}

    def state_bytes(self) -> dict[str, int]:
        """How large the tensors of one stream's state are."""
        return {
            name.split("/")[1]: self.bytes_of(name, tuple(self.engine.get_tensor_shape(name)))
            for name in self.state
            if name.endswith("/0")
        }

    def bytes_of(self, name: str, shape: tuple[int, ...]) -> int:
        """How large a tensor of the plan is with this shape."""
        dtype = np.dtype(self.binding.dtype(self.engine.get_tensor_dtype(name)))
        return int(np.prod(shape)) * dtype.itemsize

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
    recorded as a CUDA graph, which starts with one call to the driver. Of a plan of open batches a start with
    fewer pictures runs the least power of two that holds them; each is made when it is first wanted. A state
    is copied on the GPU from or to the memory bound to its row, in the order of the stream.
    """

    def __init__(self, session: Session, shapes: Shapes, *, graph: bool, sleep: bool) -> None:
        self._session, self._shapes, self._wants_graph = session, shapes, graph
        self._device = session.device
        self._stream: Stream = self._device.stream()
        self._done: Event = self._device.event(sleep=sleep)  # spinning is quicker and takes a core
        self.inputs: dict[str, NDArray[Any]] = {}
        self._outputs: dict[str, NDArray[Any]] = {}
        self._addresses: dict[str, int] = {}
        self._bytes = session.state_bytes()
        self._bound: dict[int, Memory] = {}  # by row
        self._whole: _Run | None = None
        self._closed = False
        self._parts: dict[int, _Run] = {}  # by pictures

    @property
    def graph(self) -> bool:
        """Whether the work was recorded."""
        return bool(self._whole and self._whole.graph)

    @property
    def no_graph(self) -> str:
        """Why the work was not recorded, where that was wanted."""
        return self._whole.no_graph if self._whole else ""

    def prepare(self) -> None:
        """Fix shapes and buffers, run once, and record."""
        session = self._session
        context = session.context(self._stream, open_shapes=bool(self._shapes))
        self._whole = run = _Run(session.binding.name, context, self._stream)
        run.fix(self._shapes)
        for name in (*session.inputs, *session.outputs):
            shape = run.shape(name)
            array = self._device.pinned(shape, session.binding.dtype(session.engine.get_tensor_dtype(name)))
            self._addresses[name] = self._device.memory(array.nbytes)
            (self.inputs if name in session.inputs else self._outputs)[name] = array
        for name in session.state:
            self._addresses[name] = self._device.memory(session.bytes_of(name, run.shape(name)))
        self._record(run, self.inputs, self._outputs)

    def bind(self, row: int, memory: Memory) -> None:
        """Let a row write or read its state there; the host sees nothing of it."""
        self._bound[row] = memory

    def start(self, filled: int = 0) -> None:
        """Begin and return at once."""
        self._device.use()
        if self._session.takes_state:
            self._move(into=True)
        self._run(filled).start()
        if not self._session.takes_state:
            self._move(into=False)
        self._stream.record(self._done)

    def wait(self) -> dict[str, NDArray[Any]]:
        """Block until the outputs are there, without holding the interpreter; closed, they are."""
        if not self._closed:
            self._device.use()
            self._done.wait()
        return self._outputs

    def compute(self, times: int) -> float:
        """Milliseconds of the GPU for one run without copies, over ``times`` runs one after the other."""
        self._device.use()
        assert self._whole
        recorded = self._stream.capture(self._whole.compute) if self.graph else None
        first, last = self._device.event(timing=True), self._device.event(timing=True)
        self._stream.record(first)
        for _ in range(times):
            if recorded:
                recorded.launch(self._stream)
            else:
                self._whole.compute()
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
        if self._closed:
            return
        self._device.use()
        self._stream.close()
        for run in (*self._parts.values(), *([self._whole] if self._whole else [])):
            run.close()
        self._done.close()
        self._whole, self._parts, self._closed = None, {}, True

    def _move(self, *, into: bool) -> None:
        """Begin to copy each bound state into the place of its row, or out of it."""
        for row, memory in self._bound.items():
            for name, size in self._bytes.items():
                own, kept = self._addresses[f"{STATE}{name}/{row}"], memory[name]
                target, source = (own, kept) if into else (kept, own)
                self._stream.copy(target, source, size)

    def _run(self, filled: int) -> _Run:
        assert self._whole
        batch = min((len(array) for array in self.inputs.values()), default=1)
        if not self._shapes or not 0 < filled < batch:
            return self._whole
        size = 1 << (filled - 1).bit_length()
        if size >= batch:
            return self._whole
        if size not in self._parts:
            self._parts[size] = self._part(size)
        return self._parts[size]

    def _part(self, size: int) -> _Run:
        """For fewer pictures: the first rows of the same buffers."""
        session = self._session
        run = _Run(session.binding.name, session.context(self._stream, open_shapes=True), self._stream)
        run.fix({name: (size, *shape[1:]) for name, shape in self._shapes.items()})
        inputs, outputs = (
            {name: array[:size] for name, array in arrays.items()} for arrays in (self.inputs, self._outputs)
        )
        for name, array in (inputs | outputs).items():
            if run.shape(name) != array.shape:
                raise WorkError(
                    f"{session.binding.name}: {name}: {run.shape(name)} of {size} pictures, "
                    f"{array.shape} is right"
                )
        self._record(run, inputs, outputs)
        return run

    def _record(self, run: _Run, inputs: dict[str, NDArray[Any]], outputs: dict[str, NDArray[Any]]) -> None:
        run.bind(inputs, outputs, self._addresses)
        run.prepare(graph=self._wants_graph)


class _Run:
    """A context of fixed shapes and addresses, with what is copied around it."""

    def __init__(self, backend: str, context: Any, stream: Stream) -> None:
        self._backend, self._context, self._stream = backend, context, stream
        self._copies_in: list[tuple[int, NDArray[Any]]] = []
        self._copies_out: list[tuple[NDArray[Any], int]] = []
        self.graph: Graph | None = None
        self.no_graph = ""  # why there is none, where one was wanted

    def fix(self, shapes: Shapes) -> None:
        """Choose the shapes of open inputs."""
        for name, shape in shapes.items():
            if not self._context.set_input_shape(name, shape):
                raise WorkError(f"{self._backend}: {name}: {shape}, the plan does not serve this shape")

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor now."""
        shape = tuple(self._context.get_tensor_shape(name))
        if min(shape, default=1) < 0:
            raise WorkError(f"{self._backend}: {name}: {shape}, a shape known before it runs is needed")
        return shape

    def bind(
        self,
        inputs: dict[str, NDArray[Any]],
        outputs: dict[str, NDArray[Any]],
        addresses: dict[str, int],
    ) -> None:
        """Tie tensors to memory on both sides."""
        for name, address in addresses.items():
            if not self._context.set_tensor_address(name, address):
                raise WorkError(f"{self._backend}: {name}: the buffer is not taken")
        self._copies_in = [(addresses[name], array) for name, array in inputs.items()]
        self._copies_out = [(array, addresses[name]) for name, array in outputs.items()]

    def prepare(self, *, graph: bool) -> None:
        """Run once, since what the library does once it must not do while it is recorded; and record."""
        self._enqueue()
        self._stream.synchronize()
        if graph:
            try:
                self.graph = self._stream.capture(self._enqueue)
            except WorkError as error:
                self.no_graph = str(error)

    def start(self) -> None:
        """Begin to copy in, compute and copy out."""
        if self.graph:
            self.graph.launch(self._stream)
        else:
            self._enqueue()

    def compute(self) -> None:
        """Begin to compute."""
        if not self._context.execute_async_v3(self._stream.handle):
            raise WorkError(f"{self._backend}: the network was not started")

    def close(self) -> None:
        """Free it; nothing may be in flight."""
        if self.graph:
            self.graph.close()
        self._context = self.graph = None

    def _enqueue(self) -> None:
        for address, array in self._copies_in:
            self._stream.copy_in(address, array)
        self.compute()
        for array, address in self._copies_out:
            self._stream.copy_out(array, address)


def _specs(arrays: dict[str, NDArray[Any]]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(name, array.shape, str(np.dtype(array.dtype))) for name, array in arrays.items())
