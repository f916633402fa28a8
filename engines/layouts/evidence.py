"""Evidence: what a network's graph tells of its outputs where names and shapes do not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from engines.network import Network

__all__ = ["is_decoded_by_exp", "is_undecoded", "length_of", "sees_patches"]

Graph = Mapping[str, tuple[str, tuple[str, ...]]]  # tensor -> operator that gives it, tensors that it takes

_MOVES = {  # operators that only lay numbers elsewhere; the first input holds them
    "Cast",
    "Convert",
    "DequantizeLinear",
    "Flatten",
    "Identity",
    "QuantizeLinear",
    "Reshape",
    "Result",
    "Slice",
    "Split",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
    "VariadicSplit",
}
_HEADS = {"Conv", "Convolution"}
_SQUASHED = {"Sigmoid", "HardSigmoid"}
_PATCH = 8  # pixels: the least step of a convolution that cuts a picture into patches


def is_undecoded(network: Network) -> bool:
    """Whether all that leaves are numbers of convolutions as they are, or squashed: nothing was decoded."""
    graph = _graph(network)
    ends: set[str] = set()
    left, seen = [output.name for output in network.outputs], set()
    while left:
        tensor = left.pop()
        if tensor in seen:
            continue
        seen.add(tensor)
        kind, inputs = graph.get(tensor, ("", ()))
        if kind == "Concat":
            left += inputs
        elif kind in _MOVES:
            left += inputs[:1]
        else:
            ends.add("Conv" if kind in _HEADS or _is_bias(graph, kind, inputs) else kind)
    return "Conv" in ends and ends <= {"Conv", *_SQUASHED}


def is_decoded_by_exp(network: Network) -> bool:
    """Whether an exponent is taken between the last convolutions and the outputs."""
    graph = _graph(network)
    left, seen = [output.name for output in network.outputs], set()
    while left:
        tensor = left.pop()
        kind, inputs = graph.get(tensor, ("", ()))
        if kind == "Exp":
            return True
        if tensor not in seen and kind not in _HEADS:
            seen.add(tensor)
            left += inputs
    return False


def sees_patches(network: Network) -> bool:
    """Whether the backbone is a vision transformer's: a convolution steps over whole patches."""
    strides = (
        attribute.ints
        for node in network.model.graph.node
        if node.op_type == "Conv"
        for attribute in node.attribute
        if attribute.name == "strides"
    )
    return any(max(steps) >= _PATCH for steps in strides)


def length_of(network: Network, ending: str) -> int:
    """The length of the weights whose name ends so, as exporters keep the names of modules; 0 for none."""
    stored = network.model.graph.initializer
    return next((sum(tensor.dims[:1]) for tensor in stored if tensor.name.endswith(ending)), 0)


def _is_bias(graph: Graph, kind: str, inputs: tuple[str, ...]) -> bool:
    """Whether it is what a convolution of an OpenVINO IR adds: a constant."""
    kinds = {graph.get(tensor, ("", ()))[0] for tensor in inputs}
    return kind == "Add" and bool(kinds & _HEADS) and kinds <= _HEADS | {"Const", "Convert"}


def _graph(network: Network) -> Graph:
    if network.ir:
        return dict(_layers(network.ir))
    return {
        tensor: (node.op_type, tuple(node.input))
        for node in network.model.graph.node
        for tensor in node.output
    }


def _layers(path: Path) -> Iterator[tuple[str, tuple[str, tuple[str, ...]]]]:
    """An OpenVINO IR's layers; what leaves has its name twice: as that of a tensor, and of its layer."""
    from xml.etree import ElementTree

    root: Any = ElementTree.parse(path).getroot()
    feeds: dict[str, list[tuple[int, str]]] = {}
    for edge in root.iter("edge"):
        port = int(edge.get("to-port"))
        feeds.setdefault(edge.get("to-layer"), []).append((port, f"layer {edge.get('from-layer')}"))
    for layer in root.iter("layer"):
        number = layer.get("id")
        made = layer.get("type"), tuple(source for _, source in sorted(feeds.get(number, [])))
        yield f"layer {number}", made
        for port in layer.iter("port"):
            for name in (port.get("names") or "").split(","):
                yield name, made
