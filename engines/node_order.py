"""Node order: a graph whose nodes stand in another order than they run in, as some converters leave it."""

from __future__ import annotations

from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from typing import Any

__all__ = ["put_in_order"]


def put_in_order(graph: Any) -> None:
    """Put each node of an onnx.GraphProto behind those that it takes from; one with a circle stays as it is.

    ONNX asks for that order; ONNX Runtime runs others too, and converters to float16 make them.
    """
    made = {name: place for place, node in enumerate(graph.node) for name in node.output if name}
    needs = {
        place: {made[name] for name in _taken(node) if name in made} for place, node in enumerate(graph.node)
    }
    if all(need < place for place, taken in needs.items() for need in taken):
        return
    try:
        order = list(TopologicalSorter(needs).static_order())
    except CycleError:
        return
    nodes = [graph.node[place] for place in order]
    del graph.node[:]
    graph.node.extend(nodes)


def _taken(node: Any) -> Iterator[str]:
    """Names that a node takes, also from within the graphs of its branches."""
    yield from node.input
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                yield from _taken(inner)
