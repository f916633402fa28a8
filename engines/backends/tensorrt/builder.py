"""Builder: from an ONNX file whose types are the precision to a plan, in this process.

`engines.backends.tensorrt.child` runs it in a process of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.backends import Progress, silent
from engines.backends.tensorrt.binding import Binding
from engines.backends.tensorrt.progress import Phases, monitor
from engines.errors import CancelledError, InputError, WorkError
from engines.files import write_whole

__all__ = ["Profile", "Recipe", "build_plan"]

_SHOWN = 3  # errors of a refused model that are told
_EXTERNAL_OFF = "DISABLE_EXTERNAL_TACTIC_SOURCES_FOR_CORE_0805"


@dataclass(frozen=True, slots=True)
class Profile:
    """The shapes of one input with open axes that a plan shall serve."""

    tensor: str
    least: tuple[int, ...]
    usual: tuple[int, ...]  # the plan is tuned for these
    most: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Recipe:
    """What to build, and how."""

    model: Path  # ONNX; its own types are the precision
    precision: str  # "fp32" forbids the 10-bit mantissas of TF32
    profiles: tuple[Profile, ...] = ()  # one for each input with open axes
    contexts: int = 1  # that will run at once; versions before 8.6 need a copy of the profiles for each
    timings: Path | None = None  # what earlier builds measured; read, and written anew
    here_only: bool = False  # RTX: for this machine's GPU instead of every RTX GPU


def build_plan(binding: Binding, recipe: Recipe, progress: Progress = silent) -> bytes:
    """Build. Raises InputError for a model that TensorRT does not take, WorkError for a failed build."""
    trt = binding.trt
    errors: list[str] = []
    logger = binding.logger(lambda error, text: errors.append(text) if error else None)
    builder = trt.Builder(logger)
    flags = ["EXPLICIT_BATCH", "STRONGLY_TYPED"][: 1 if binding.weakly_typed else 2]
    network = builder.create_network(binding.bits("NetworkDefinitionCreationFlag", *flags))
    _parse(binding, network, logger, recipe.model)
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # names of layers, for `Session.layers`
    if recipe.precision == "fp32":
        config.clear_flag(trt.BuilderFlag.TF32)
    if binding.weakly_typed:
        _allow_types(binding, config, network, recipe.precision)
        _own_tactics_only(binding, config)
    if binding.has("PreviewFeature", "PROFILE_SHARING_0806"):
        config.set_preview_feature(trt.PreviewFeature.PROFILE_SHARING_0806, True)
    if recipe.here_only:
        config.num_compute_capabilities = 1
        config.set_compute_capability(trt.ComputeCapability.CURRENT, 0)
    _add_profiles(builder, config, recipe, 1 if binding.shares_profiles else recipe.contexts)
    if recipe.timings and not binding.rtx:  # for RTX there is nothing to measure
        config.set_timing_cache(_timings(config, recipe.timings), False)
    phases = Phases(progress)
    if binding.tells_progress:
        config.progress_monitor = monitor(binding, phases)
    plan = builder.build_serialized_network(network, config)
    if phases.cancelled:
        raise CancelledError(f"{binding.name}: the build was cancelled")
    if plan is None:
        reason = "; ".join(errors[-_SHOWN:]) or "no reason given"
        raise WorkError(f"{binding.name}: {recipe.model}: not built: {reason}")
    if recipe.timings and not binding.rtx:
        _keep_timings(config, recipe.timings)
    return bytes(memoryview(plan))


def _parse(binding: Binding, network: Any, logger: Any, model: Path) -> None:
    if hasattr(binding.trt, "init_libnvinfer_plugins"):
        binding.trt.init_libnvinfer_plugins(logger, "")
    parser = binding.trt.OnnxParser(network, logger)
    if parser.parse_from_file(str(model)):
        return
    found = [_told(parser.get_error(number)) for number in range(min(parser.num_errors, _SHOWN))]
    more = f" and {parser.num_errors - _SHOWN} more" if parser.num_errors > _SHOWN else ""
    raise InputError(
        f"{binding.name} {binding.version}: {model}: does not take {'; '.join(found) or 'this file'}{more}"
    )


def _told(error: Any) -> str:
    """One parser error for people; versions before 10 know no names of nodes."""
    name = error.node_name() if hasattr(error, "node_name") else f"number {error.node()}"
    kind = error.node_operator() if hasattr(error, "node_operator") else ""
    # One line of its text, of which those about the missing GPU and the mere name tell least.
    lines = [line for line in error.desc().splitlines() if line.strip() and "checkMacros" not in line]
    lines.sort(key=lambda line: line.startswith("Invalid Node"))
    told = lines[0] if lines else "no reason given"
    return f"node {name} {f'({kind}) ' if kind else ''}: {told.strip()}".replace(" :", ":")


def _allow_types(binding: Binding, config: Any, network: Any, precision: str) -> None:
    """Make a builder that chooses types by speed keep to those of the file, as later versions do."""
    trt = binding.trt
    wanted = {"fp16": ("FP16",), "bf16": ("BF16",), "int8": ("INT8",)}.get(precision, ())
    for name in wanted:
        if not binding.has("BuilderFlag", name):
            raise InputError(f"precision: {precision!r}, tensorrt {binding.version} does not know it")
        config.set_flag(getattr(trt.BuilderFlag, name))
    if precision != "fp16":
        return
    config.set_flag(trt.BuilderFlag.PREFER_PRECISION_CONSTRAINTS)
    for layer in map(network.get_layer, range(network.num_layers)):
        if layer.num_outputs and layer.get_output(0).dtype == trt.DataType.FLOAT:
            layer.precision = trt.DataType.FLOAT


def _own_tactics_only(binding: Binding, config: Any) -> None:
    """Build without cuDNN and cuBLAS: neither need be installed, and plans then do not depend on them."""
    config.set_tactic_sources(binding.bits("TacticSource", "EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS"))
    if binding.has("PreviewFeature", _EXTERNAL_OFF):
        config.set_preview_feature(getattr(binding.trt.PreviewFeature, _EXTERNAL_OFF), True)


def _add_profiles(builder: Any, config: Any, recipe: Recipe, copies: int) -> None:
    for _ in range(copies if recipe.profiles else 0):
        profile = builder.create_optimization_profile()
        for shapes in recipe.profiles:
            profile.set_shape(shapes.tensor, shapes.least, shapes.usual, shapes.most)
        if config.add_optimization_profile(profile) < 0:
            seen = "; ".join(f"{shapes.tensor} {shapes.least} to {shapes.most}" for shapes in recipe.profiles)
            raise InputError(f"{recipe.model}: shapes: {seen}: the model does not take them")


def _timings(config: Any, path: Path) -> Any:
    """What a file remembers; nothing where it is absent or damaged."""
    kept = path.read_bytes() if path.exists() else b""
    return config.create_timing_cache(kept) or config.create_timing_cache(b"")


def _keep_timings(config: Any, path: Path) -> None:
    """Add what was measured to what other builds have measured meanwhile; it only saves time, so may fail."""
    measured = config.get_timing_cache()
    measured.combine(_timings(config, path), False)
    try:
        write_whole(path, bytes(memoryview(measured.serialize())))
    except OSError:
        return
