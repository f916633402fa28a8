"""Export of YolactEdge's video model: two files, one for key frames and one for the frames between.

``NAME.key.onnx``: images -> the outputs of layout "dense", and the state ``p4``, ``p5``, ``lateral``.
``NAME.between.onnx``: images and the state -> the outputs of layout "dense", and ``motion`` (B,), how far the
picture moved since its key frame. Both need opset 16 (GridSample); the batch is free. The state may stay on
the device: outputs of one are inputs of the other.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from engines.errors import WorkError
from engines.spec import ModelSpec
from trainers.export import OUTPUTS, save, store_half
from trainers.models import prepare
from trainers.models.yolactedge import State, YolactEdgeVideo, motion

__all__ = ["write_video"]

_OPSET = 17
_FAR = 1e-3  # what the files may differ from torch, as a share of each tensor's largest value
_ROUNDED = 0.03  # and after their weights are rounded


def write_video(
    net: YolactEdgeVideo,
    spec: ModelSpec,
    output: Path,
    *,
    half: bool = False,
    words: Mapping[str, str] = MappingProxyType({}),
) -> tuple[Path, Path]:
    """Write both files beside ``output`` (NAME.onnx) and return their paths, key frames first.

    Each is compared with torch in ONNX Runtime for batches of 1 and 2; WorkError if they differ. ``half``
    stores the weights as FP16, ``words`` are further entries of the metadata.
    """
    import onnx

    net = net.eval()
    width, height = spec.size
    images = prepare(torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(1)), net.input)
    with torch.no_grad():
        _, state = net.key(images)
    spec = replace(spec, state=State._fields, between=output.with_suffix(".between.onnx").name)
    paths = []
    for role, graph, inputs, outputs in (
        ("key", _Key(net), (images,), (*OUTPUTS["segment"], *State._fields)),
        ("between", _Between(net), (images.flip(0), *state), (*OUTPUTS["segment"], "motion")),
    ):
        names = ("images", *State._fields)[: len(inputs)]
        model = onnx.load_from_string(_traced(graph.eval(), inputs, names, outputs))
        _compare(graph, model, inputs, names, outputs, _FAR)
        if half:
            store_half(model)
            _compare(graph, model, inputs, names, outputs, _ROUNDED)
        path = output.with_suffix(f".{role}.onnx")
        save(model, spec, {"role": role, **words}, path)
        paths.append(path)
    return paths[0], paths[1]


class _Key(nn.Module):
    def __init__(self, net: YolactEdgeVideo) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        output, state = self.net.key(images)
        return (*self.net.decode(output).values(), *state)


class _Between(nn.Module):
    def __init__(self, net: YolactEdgeVideo) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor, p4: Tensor, p5: Tensor, lateral: Tensor) -> tuple[Tensor, ...]:
        made = self.net.transform(images, State(p4, p5, lateral))
        output = self.net.read(self.net.fpn_phase_2(made.levels), images)
        return (*self.net.decode(output).values(), motion(made.flows))


def _traced(
    graph: nn.Module, inputs: tuple[Tensor, ...], names: Sequence[str], outputs: Sequence[str]
) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings():
        # as in `trainers.export`: the newer exporter needs onnxscript
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)
        torch.onnx.export(
            graph,
            inputs,
            file,
            dynamo=False,
            opset_version=_OPSET,
            input_names=list(names),
            output_names=list(outputs),
            dynamic_axes={name: {0: "batch"} for name in (*names, *outputs)},
        )
    return file.getvalue()


def _compare(
    graph: nn.Module,
    model: Any,
    inputs: tuple[Tensor, ...],
    names: Sequence[str],
    outputs: Sequence[str],
    far: float,
) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for batch in (1, 2):
        given = tuple(part[:batch] for part in inputs)
        with torch.no_grad():
            expected = graph(*given)
        got: Any = session.run(
            list(outputs), {name: part.numpy() for name, part in zip(names, given, strict=True)}
        )
        for name, mine, theirs in zip(outputs, got, expected, strict=True):
            part = theirs.numpy()
            off = float(np.abs(mine - part).max() / max(np.abs(part).max(), 1e-6))
            if not off <= far:
                raise WorkError(
                    f"export: {name} of the file differs from torch by {off:.3g} of its largest value "
                    f"(at most {far:g} is right)"
                )
