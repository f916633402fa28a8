"""Files that are no use: each ends in one sentence that says what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto, helper

import engines
from engines.errors import InputError, WorkError
from engines.options import Options


def net(kind: str = "Identity", domain: str = "", channels: int = 3, outputs: int = 1) -> Any:
    """One operator from pictures to boxes; of many things that can be wrong, one."""
    pictures = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, channels, 32, 64])
    given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 42, 85]) for name in ("output",)]
    graph = helper.make_graph(
        [helper.make_node(kind, ["images"], ["output"], domain=domain)], "net", [pictures], given[:outputs]
    )
    imports = [helper.make_opsetid("", 17)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


BAD = {
    "an unknown operator": (net("Frobnicate"), "No Op registered for Frobnicate"),
    "an operator of another's domain": (
        net("Frobnicate", "acme"),
        "operators: acme.Frobnicate, no backend knows them",
    ),
    "four channels": (net(channels=4), "input: images .1,4,32,64. float32, pictures of three channels"),
    "one channel": (net(channels=1), "pictures of three channels as .batch, 3, height, width."),
    "no outputs": (net(outputs=0), "outputs: none"),
}


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
@pytest.mark.parametrize(("model", "said"), BAD.values(), ids=BAD.keys())
def test_a_bad_model_ends_in_one_sentence(model: Any, said: str, backend: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises((InputError, WorkError), match=said) as refusal:
        engines.load(path, Options(backend=backend))
    assert "\n" not in str(refusal.value)


def test_weights_that_are_missing_beside_the_file_are_named(tmp_path: Path) -> None:
    import numpy as np
    import onnx

    model = net()
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(2000, np.float32), "weights"))
    path = tmp_path / "big.onnx"
    onnx.save_model(model, str(path), save_as_external_data=True, location="big.onnx.data", size_threshold=0)
    path.with_name("big.onnx.data").unlink()
    with pytest.raises(
        InputError, match=r"weights: 'big.onnx.data' is missing beside the file, copy it there"
    ):
        engines.load(path)
