"""TensorRT's Python module in the versions that differ, over ONNX Runtime and `FakeCuda`.

A plan is the ONNX file behind a line of JSON: what was asked of the builder. Enumerations are those of the
real modules 8.5.3, 8.6.1, 10.16.1, 11.4.0 and tensorrt_rtx 1.7.1; members that a version lacks are absent.
"""

from __future__ import annotations

import enum
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from tests.engines.backends.fake_cuda import FakeCuda

VERSIONS = {"8.5.3.1": "tensorrt", "8.6.1": "tensorrt", "10.16.1": "tensorrt", "11.4.0": "tensorrt"}
VERSIONS |= {"1.7.1.116": "tensorrt_rtx"}

_ENUMS: dict[str, dict[str, dict[str, int]]] = {
    "NetworkDefinitionCreationFlag": {
        "8": {"EXPLICIT_BATCH": 0, "EXPLICIT_PRECISION": 1},
        "10": {"EXPLICIT_BATCH": 0, "STRONGLY_TYPED": 1},
        "11": {"STRONGLY_TYPED": 0},
    },
    "BuilderFlag": {
        "8": {"FP16": 0, "INT8": 1, "TF32": 7, "PREFER_PRECISION_CONSTRAINTS": 11},
        "10": {"FP16": 0, "INT8": 1, "TF32": 6, "PREFER_PRECISION_CONSTRAINTS": 10, "BF16": 17},
        "11": {"TF32": 6},
    },
    "TacticSource": {
        "8": {"CUBLAS": 0, "CUBLAS_LT": 1, "CUDNN": 2, "EDGE_MASK_CONVOLUTIONS": 3, "JIT_CONVOLUTIONS": 4},
        "10": {"CUBLAS": 0, "CUBLAS_LT": 1, "CUDNN": 2, "EDGE_MASK_CONVOLUTIONS": 3, "JIT_CONVOLUTIONS": 4},
        "11": {"EDGE_MASK_CONVOLUTIONS": 0, "JIT_CONVOLUTIONS": 1},
    },
    "PreviewFeature": {
        "8.5": {"FASTER_DYNAMIC_SHAPES_0805": 0, "DISABLE_EXTERNAL_TACTIC_SOURCES_FOR_CORE_0805": 1},
        "8": {"DISABLE_EXTERNAL_TACTIC_SOURCES_FOR_CORE_0805": 1, "PROFILE_SHARING_0806": 2},
        "10": {"PROFILE_SHARING_0806": 0, "ALIASED_PLUGIN_IO_10_03": 1},
        "11": {"ALIASED_PLUGIN_IO_10_03": 0},
    },
    "DataType": {
        "8": {"FLOAT": 0, "HALF": 1, "INT8": 2, "INT32": 3, "BOOL": 4, "UINT8": 5},
        "10": {"FLOAT": 0, "HALF": 1, "INT8": 2, "INT32": 3, "BOOL": 4, "UINT8": 5, "BF16": 7, "INT64": 8},
    },
    "TensorIOMode": {"8": {"NONE": 0, "INPUT": 1, "OUTPUT": 2}},
    "ProfilingVerbosity": {"8": {"LAYER_NAMES_ONLY": 0, "NONE": 1, "DETAILED": 2}},
    "LayerInformationFormat": {"8": {"ONELINE": 0, "JSON": 1}},
    "ComputeCapability": {"rtx": {"NONE": 0, "CURRENT": 1, "SM80": 80}},
}


class Severity(enum.IntEnum):
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


class ILogger:
    Severity = Severity

    def log(self, level: Severity, text: str) -> None:
        raise NotImplementedError


class Monitor:
    """Base class of the library for progress."""


def fake_tensorrt(version: str, cuda: FakeCuda) -> Any:
    """A module; ``module.built`` lists what was asked of each build."""
    name = VERSIONS[version]
    modern = name == "tensorrt_rtx" or not version.startswith("8")
    trt = SimpleNamespace(__name__=name, __version__=version, cuda=cuda, built=[], capturable=True)
    trt.refuse = lambda plan: False  # a plan that this GPU does not take
    trt.ran = lambda pictures: None  # told of each run
    for kind, versions in _ENUMS.items():
        keys = (
            ["rtx", "11", "10", "8"] if name == "tensorrt_rtx" else [version[:3], version.partition(".")[0]]
        )
        keys += [older for older in ("11", "10", "8") if int(older) <= int(version.partition(".")[0])]
        members = next((versions[key] for key in keys if key in versions), None)
        if members:
            setattr(trt, kind, enum.IntEnum(kind, members))
    trt.ILogger = ILogger
    if modern:
        trt.IProgressMonitor = Monitor
    trt.Builder = lambda logger: Builder(trt, logger)
    trt.OnnxParser = lambda network, logger: Parser(trt, network)
    trt.Runtime = lambda logger: Runtime(trt, logger)
    return trt


def asked(plan: bytes) -> dict[str, Any]:
    """What the builder was asked for."""
    return dict(json.loads(plan.partition(b"\n")[0]))


class Builder:
    def __init__(self, trt: Any, logger: ILogger) -> None:
        self.trt, self.logger = trt, logger

    def create_network(self, flags: int) -> Any:
        known = {1 << int(flag): flag.name for flag in self.trt.NetworkDefinitionCreationFlag}
        assert not flags & ~sum(known), f"bits of flags that {self.trt.__version__} does not have: {flags:b}"
        names = [name for bit, name in known.items() if flags & bit]
        if self.trt.__version__.startswith("8"):
            assert names == ["EXPLICIT_BATCH"], "a parser of version 8 needs it"
        layers = [Layer(self.trt.DataType.FLOAT), Layer(self.trt.DataType.HALF), Layer(None)]
        return SimpleNamespace(flags=names, layers=layers, num_layers=3, get_layer=layers.__getitem__)

    def create_builder_config(self) -> Config:
        return Config(self.trt)

    def create_optimization_profile(self) -> Any:
        shapes: dict[str, Any] = {}
        return SimpleNamespace(shapes=shapes, set_shape=lambda name, *three: shapes.update({name: three}))

    def build_serialized_network(self, network: Any, config: Config) -> bytes | None:
        monitor = getattr(config, "progress_monitor", None)
        if monitor:
            monitor.phase_start("build", None, 2)
            for step in range(2):
                monitor.phase_start("tactics", "build", 4)
                goes = all(monitor.step_complete("tactics", inner) for inner in range(4))
                monitor.phase_finish("tactics")
                if not (goes and monitor.step_complete("build", step)):
                    self.logger.log(Severity.ERROR, "Build canceled by user")
                    return None
            monitor.phase_finish("build")
        precisions = [layer.precision.name for layer in network.layers if layer.precision is not None]
        wish = {
            "version": self.trt.__version__,
            "network": network.flags,
            "on": sorted(config.on),
            "off": sorted(config.off),
            "tactics": config.tactics,
            "preview": sorted(config.preview),
            "profiles": config.profiles,
            "forced": precisions,
            "here": config.capability == "CURRENT",
            "timings": len(config.timings) if config.timings is not None else -1,
        }
        if config.timings is not None:
            config.timings.append("measured")
        self.trt.built.append(wish)
        return json.dumps(wish).encode() + b"\n" + network.model


class Layer:
    num_outputs = 1

    def __init__(self, dtype: Any) -> None:
        self.dtype, self.precision = dtype, None

    def get_output(self, number: int) -> Any:
        return self


class Timings(list[str]):
    def serialize(self) -> bytes:
        return "\n".join(self).encode()

    def combine(self, other: Timings, ignore_mismatch: bool) -> bool:
        self.extend(other)
        return True


class Config:
    def __init__(self, trt: Any) -> None:
        self.trt = trt
        self.on: set[str] = set()
        self.off: set[str] = set()
        self.tactics: list[str] | None = None
        self.preview: set[str] = set()
        self.profiles: list[Any] = []
        self.timings: Timings | None = None
        self.capability = ""
        self.profiling_verbosity: Any = None
        self.num_compute_capabilities = 0

    def set_flag(self, flag: Any) -> None:
        self.on.add(flag.name)

    def clear_flag(self, flag: Any) -> None:
        self.off.add(flag.name)

    def set_tactic_sources(self, bits: int) -> None:
        self.tactics = [source.name for source in self.trt.TacticSource if bits & (1 << int(source))]

    def set_preview_feature(self, feature: Any, on: bool) -> None:
        self.preview.add(feature.name)

    def set_compute_capability(self, capability: Any, index: int) -> None:
        assert index < self.num_compute_capabilities
        self.capability = capability.name

    def add_optimization_profile(self, profile: Any) -> int:
        ordered = all(
            a <= b <= c
            for least, usual, most in profile.shapes.values()
            for a, b, c in zip(least, usual, most, strict=True)
        )
        self.profiles.append(profile.shapes)
        return len(self.profiles) - 1 if ordered else -1

    def create_timing_cache(self, kept: bytes) -> Timings | None:
        return None if b"garbage" in kept else Timings(kept.decode().split())

    def set_timing_cache(self, timings: Timings, ignore_mismatch: bool) -> None:
        assert isinstance(timings, Timings)
        self.timings = timings

    def get_timing_cache(self) -> Timings | None:
        return self.timings


class Parser:
    """Takes what ONNX Runtime takes, but nothing that quantises as it runs."""

    def __init__(self, trt: Any, network: Any) -> None:
        self._trt, self._network = trt, network
        self._errors: list[Any] = []

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, number: int) -> Any:
        return self._errors[number]

    def parse_from_file(self, path: str) -> bool:
        import onnx

        self._network.model = Path(path).read_bytes()
        for number, node in enumerate(onnx.load_model_from_string(self._network.model).graph.node):
            if node.op_type == "DynamicQuantizeLinear":
                error = SimpleNamespace(node=lambda n=number: n, desc=lambda: "no importer")
                if not self._trt.__version__.startswith("8"):
                    error.node_name = lambda n=node: n.name
                    error.node_operator = lambda n=node: n.op_type
                self._errors.append(error)
        return not self._errors


class Runtime:
    def __init__(self, trt: Any, logger: ILogger) -> None:
        self._trt, self._logger = trt, logger

    def deserialize_cuda_engine(self, plan: bytes) -> Engine | None:
        try:
            version = asked(plan)["version"]
        except (ValueError, KeyError):
            version = "no plan"
        if version != self._trt.__version__ or self._trt.refuse(plan):
            self._logger.log(Severity.WARNING, "only a warning")
            self._logger.log(Severity.ERROR, f"Serialization assertion failed: {version}")
            return None
        return Engine(self._trt, plan)


class Engine:
    def __init__(self, trt: Any, plan: bytes) -> None:
        import onnxruntime

        self.trt, self.asked = trt, asked(plan)
        model = plan.partition(b"\n")[2]
        self.session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        self.tensors = {
            value.name: value for value in (*self.session.get_inputs(), *self.session.get_outputs())
        }
        self.inputs = [value.name for value in self.session.get_inputs()]
        self.num_io_tensors = len(self.tensors)
        self.contexts = 0
        if trt.__name__ == "tensorrt_rtx":
            self.create_runtime_config = RuntimeConfig

    def get_tensor_name(self, number: int) -> str:
        return list(self.tensors)[number]

    def get_tensor_mode(self, name: str) -> Any:
        return self.trt.TensorIOMode.INPUT if name in self.inputs else self.trt.TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> Any:
        kinds = {"uint8": "UINT8", "float": "FLOAT", "int32": "INT32", "int64": "INT64"}
        return getattr(self.trt.DataType, kinds[self.tensors[name].type[7:-1]])

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(axis if isinstance(axis, int) else -1 for axis in self.tensors[name].shape)

    def create_execution_context(self, config: Any = None) -> Context:
        if config:
            config.cache.kernels.add("compiled")
        return Context(self)

    def create_engine_inspector(self) -> Any:
        told = {self.trt.LayerInformationFormat.JSON: json.dumps({"Layers": list(self.tensors)})}
        return SimpleNamespace(get_engine_information=told.__getitem__)


class RuntimeConfig:
    def create_runtime_cache(self) -> Any:
        kernels: set[str] = set()
        return SimpleNamespace(
            kernels=kernels,
            serialize=lambda: " ".join(sorted(kernels)).encode(),
            deserialize=lambda blob: kernels.update(blob.decode().split()),
        )

    def set_runtime_cache(self, cache: Any) -> None:
        self.cache = cache


class Context:
    def __init__(self, engine: Engine) -> None:
        self.engine, self.shapes, self.addresses = engine, dict[str, Any](), dict[str, int]()
        self.profile = 0

    def set_optimization_profile_async(self, profile: int, stream: int) -> bool:
        self.profile = profile
        return profile < max(len(self.engine.asked["profiles"]), 1)

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        least, _, most = self.engine.asked["profiles"][self.profile][name]
        self.shapes[name] = tuple(shape)
        return all(low <= size <= high for low, size, high in zip(least, shape, most, strict=True))

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        if name in self.shapes:
            return tuple(self.shapes[name])
        batch = next((shape[0] for shape in self.shapes.values()), -1)
        shape = self.engine.tensors[name].shape
        return tuple(axis if isinstance(axis, int) else batch for axis in shape)

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        cuda = self.engine.trt.cuda
        if stream in cuda.recording and not self.engine.trt.capturable:
            return False
        cuda.enqueue(stream, self._run)
        return True

    def _run(self) -> None:
        cuda, engine = self.engine.trt.cuda, self.engine
        feeds = {}
        for name in engine.inputs:
            shape = self.get_tensor_shape(name)
            kind = {"uint8": np.uint8, "float": np.float32}[engine.tensors[name].type[7:-1]]
            size = int(np.prod(shape)) * np.dtype(kind).itemsize
            feeds[name] = np.frombuffer(cuda.at(self.addresses[name], size), kind).reshape(shape)
        engine.trt.ran(len(next(iter(feeds.values()))))
        names = [name for name in engine.tensors if name not in engine.inputs]
        for name, values in zip(names, engine.session.run(names, feeds), strict=True):
            cuda.at(self.addresses[name], values.nbytes)[:] = values.tobytes()
