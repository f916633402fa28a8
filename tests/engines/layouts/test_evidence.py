"""Evidence: a graph tells whether boxes are decoded in it, whatever lays its numbers elsewhere on the way."""

from __future__ import annotations

import pytest
from onnx import helper

from engines.engine import TensorSpec
from engines.layouts.evidence import is_decoded_by_exp, is_undecoded
from engines.network import Network

Chain = list[tuple[str, str, str]]  # operator, tensors that it takes, tensor that it gives

HEAD = ("Conv", "images", "head")
GRAPHS: dict[str, tuple[Chain, bool, bool]] = {  # ..., undecoded, decoded by an exponent
    "a convolution": ([HEAD, ("Identity", "head", "out")], True, False),
    "of an OpenVINO IR, with its bias": (
        [("Convolution", "images", "head"), ("Const", "", "bias"), ("Add", "head bias", "out")],
        True,
        False,
    ),
    "squashed in part and joined": (
        [HEAD, ("Sigmoid", "head", "squashed"), ("Concat", "head squashed", "out")],
        True,
        False,
    ),
    "all squashed": ([HEAD, ("Sigmoid", "head", "out")], False, False),
    "cut as the picture's size says": (
        [HEAD, ("Shape", "images", "size"), ("Slice", "head size", "out")],
        True,
        False,
    ),
    "a grid is added": ([HEAD, ("Const", "", "grid"), ("Mul", "head grid", "out")], False, False),
    "two are added": ([HEAD, ("Relu", "images", "other"), ("Add", "head other", "out")], False, False),
    "an exponent is taken": (
        [HEAD, ("Exp", "head", "sizes"), ("Concat", "head sizes", "out")],
        False,
        True,
    ),
    "an exponent before the last convolution": (
        [("Exp", "images", "before"), ("Conv", "before", "out")],
        True,
        False,
    ),
    "no convolution": ([("Identity", "images", "out")], False, False),
}
MOVES = (
    "Cast Convert DequantizeLinear Flatten Identity QuantizeLinear Reshape Result Slice Split Squeeze "
    "Transpose Unsqueeze VariadicSplit"
)
GRAPHS |= {kind: ([HEAD, (kind, "head shape", "out")], True, False) for kind in MOVES.split()}


@pytest.mark.parametrize(("chain", "undecoded", "by_exp"), GRAPHS.values(), ids=GRAPHS.keys())
def test_a_graph_tells_whether_boxes_are_decoded(chain: Chain, undecoded: bool, by_exp: bool) -> None:
    nodes = [helper.make_node(kind, taken.split(), [given]) for kind, taken, given in chain]
    model = helper.make_model(helper.make_graph(nodes, "chain", [], []))
    pixels, out = (TensorSpec(name, (1, 3, 32, 64), "float32") for name in ("images", "out"))
    network = Network(model, 17, pixels, (out,), {})
    assert (is_undecoded(network), is_decoded_by_exp(network)) == (undecoded, by_exp)
