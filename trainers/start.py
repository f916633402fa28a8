"""Starting weights: a fresh network takes the layers that a model in an exported file has learnt.

An exported file has its batch norms folded into its convolutions. They are taken apart again on a few
pictures: each norm gets the mean and spread that its input has there as running statistics, and the scale and
shift that give the folded convolution's output back. Training can then go on as from a checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from engines import shipped
from engines.errors import InputError
from trainers.augment import fit
from trainers.config import Config
from trainers.data.batch import Sample, collate
from trainers.models import prepare

__all__ = ["begin", "exported", "pictures"]

_SHOWN = 32  # pictures that norms are set by

# where families keep layers that others have elsewhere: the small YOLO at its top, YOLACT in one pyramid
_ELSEWHERE = (
    ("backbone.body.", ""),
    ("backbone.", ""),
    ("body.", ""),
    ("fpn_phase_1.", "fpn."),
    ("fpn_phase_2.", "fpn."),
)


def exported(source: str) -> bool:
    """Tell whether starting weights are a shipped model's name or an exported file."""
    return source in shipped.names() or source.endswith(".onnx")


def pictures(data: Sequence[Sample], net: Any, config: Config) -> Tensor:
    """Return some of the pictures (B, 3, H, W), prepared as the network wants them."""
    chosen = np.random.default_rng(config.seed).permutation(len(data))[:_SHOWN]
    fitted = [fit(data[int(row)], config.size, net.input.resize) for row in chosen]
    return prepare(collate(fitted).images, net.input)


def begin(net: nn.Module, source: str, images: Tensor, absent: tuple[str, ...] = ("",)) -> str:
    """Copy into ``net`` every layer that ``source`` has by that name and shape; return a sentence about it.

    ``source`` is the name of a shipped model, or a file (.onnx) that `trainers export` wrote. A name below
    ``backbone`` also takes the layer of that name without it. ``images`` (B, 3, H, W), prepared, are what
    norms are set by. ``absent`` are the parts that the source may lack, by the start of their names. Raises
    InputError for any other layer that it lacks, and when nothing fits.
    """
    weights, shifts = _folded(shipped.file_of(source) if source in shipped.names() else Path(source))
    own = net.state_dict()
    taken = {name: weights[at] for name in own if (at := _place(name, own[name], weights))}
    taken = {name: value for name, value in taken.items() if f"{name.rpartition('.')[0]}.weight" in taken}
    if not taken:
        raise InputError(f"start.weights: {source}: no layer of it has the name and the shape of one here")
    layers = [name for name in own if name.endswith(".weight") and own[name].ndim > 1]
    missing = [name for name in layers if name not in taken and not name.startswith(absent)]
    if missing:
        raise InputError(
            f"start.weights: {source}: {len(missing)} layers are not in it, or of another shape, as "
            f"{missing[0]}; a finished model of the same model.widths, depths and neck is right"
        )
    net.load_state_dict(own | taken)
    _unfold(net, {name: shifts[at] for name in taken if (at := _at(name, shifts))}, images)
    return f"{source}: {sum(name in taken for name in layers)} of {len(layers)} layers taken"


def _at(name: str, weights: Mapping[str, Tensor]) -> str:
    """Return under which name the weights have a tensor of the network; empty: they have it not."""
    moved = (other + name.removeprefix(own) for own, other in _ELSEWHERE if name.startswith(own))
    names = (name, *moved)
    return next((at for at in names if at in weights), "")


def _place(name: str, own: Tensor, weights: Mapping[str, Tensor]) -> str:
    at = _at(name, weights)
    return at if at and weights[at].shape == own.shape else ""


def _folded(path: Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the tensors of a file's convolutions by the network's names, and the shifts of folded norms."""
    import onnx
    from onnx import numpy_helper

    try:
        graph = onnx.load(str(path)).graph
    except FileNotFoundError:
        raise InputError(
            f"start.weights: {path}: no such file, an exported .onnx file or a shipped name is right"
        ) from None
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    values = {node.output[0]: stored[node.input[0]] for node in graph.node if _passes(node, stored)} | stored
    weights: dict[str, Tensor] = {}
    shifts: dict[str, Tensor] = {}
    for node in graph.node:
        if node.op_type not in ("Conv", "ConvTranspose") or node.input[1] not in values:
            continue
        layer = _layer(node.name)
        weights[f"{layer}.weight"] = torch.from_numpy(values[node.input[1]].copy()).float()
        if len(node.input) > 2:
            bias = torch.from_numpy(values[node.input[2]].copy()).float()
            weights[f"{layer}.bias"] = bias
            shifts[f"{layer}.weight"] = bias
    return weights, shifts


def _passes(node: Any, stored: Mapping[str, Any]) -> bool:
    """Tell whether a node gives a stored tensor on: half floats are cast, equal ones stored once."""
    return node.op_type in ("Cast", "Identity") and node.input[0] in stored


def _layer(node: str) -> str:
    """Name the layer of a node: /net/stem/stem.0/conv/Conv is stem.0.conv."""
    scopes = node.strip("/").split("/")[1:-1]
    follows = zip(scopes, [*scopes[1:], ""], strict=True)
    return ".".join(scope for scope, after in follows if not after.startswith(f"{scope}."))


def _unfold(net: nn.Module, shifts: Mapping[str, Tensor], images: Tensor) -> None:
    """Set each norm behind a folded convolution so that both do what the convolution did alone."""
    modules = dict(net.named_modules())
    hooks = []
    for name, shift in shifts.items():
        within = name.removesuffix("conv.weight")
        norm = modules.get(f"{within}norm")
        if within == name or not isinstance(norm, nn.BatchNorm2d):
            continue
        hooks.append(norm.register_forward_pre_hook(_setter(shift)))
    with torch.no_grad():
        net.eval()(images)
    for hook in hooks:
        hook.remove()


def _setter(shift: Tensor) -> Any:
    def follow(norm: nn.BatchNorm2d, given: tuple[Tensor, ...]) -> None:
        spread, mean = torch.var_mean(given[0].float(), (0, 2, 3), correction=0)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(spread)
        norm.weight.copy_((spread + norm.eps).sqrt())
        norm.bias.copy_(mean + shift)

    return follow
