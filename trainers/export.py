"""Export: a checkpoint becomes one self-describing ONNX file, checked before it is written."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from engines import metadata
from engines.errors import WorkError
from engines.spec import ModelSpec
from trainers import checkpoints
from trainers.models.yolo import Yolo

__all__ = ["export"]

_OPSET = 17
_PIXELS = 0.01  # what the file's boxes may differ from torch's before its weights are rounded
_ROUNDED = 1.5  # and after; of cells that score
_SCORE = 0.02


def export(checkpoint: str | Path, output: str | Path, *, half: bool = True) -> Path:
    """Write the averaged network of a checkpoint as ONNX and return its path.

    Input ``images`` (B,3,H,W) float32 RGB 0..1 with a free batch; outputs ``boxes`` (B,N,4) xyxy input pixels
    and ``scores`` (B,N,C). ``half`` stores weights as FP16 with a cast to FP32, so that the file is half as
    large and the arithmetic stays FP32. The file is compared with torch for batches of 1 and 3; WorkError if
    they differ.
    """
    import onnx

    saved = checkpoints.load(checkpoint)
    net, config = checkpoints.network(saved)
    model = onnx.load_from_string(_traced(_Named(net).eval(), config.size))
    _compare(net, model, config.size, _PIXELS, _PIXELS)
    if half:
        _store_half(model)
        _compare(net, model, config.size, _ROUNDED, _SCORE)
    spec = ModelSpec(name=config.name, task="detect", layout="dense", classes=saved.classes, size=config.size)
    metadata.write(model, spec)
    for key, value in (("description", config.description), ("license", config.licence)):
        if value:
            entry = model.metadata_props.add()
            entry.key, entry.value = key, value
    onnx.checker.check_model(model, full_check=True)
    output = Path(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    draft = output.with_suffix(".tmp")
    draft.write_bytes(model.SerializeToString())
    os.replace(draft, output)
    return output


class _Named(nn.Module):
    """The network with what the file gives out."""

    def __init__(self, net: Yolo) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        output = self.net(images)
        return output.boxes, output.logits.sigmoid()


def _traced(net: nn.Module, size: tuple[int, int]) -> bytes:
    width, height = size
    file = io.BytesIO()
    names = ["boxes", "scores"]
    with warnings.catch_warnings():
        # the newer exporter needs onnxscript, leaves batch norms unfolded and writes opset 18
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)
        torch.onnx.export(
            net,
            (torch.zeros(2, 3, height, width),),
            file,
            dynamo=False,
            opset_version=_OPSET,
            input_names=["images"],
            output_names=names,
            dynamic_axes={name: {0: "batch"} for name in ["images", *names]},
        )
    return file.getvalue()


def _store_half(model: Any) -> None:
    """Store large weights as FP16, each with a Cast to FP32 before its use."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype != np.float32 or array.ndim < 2 or array.size < 64:
            continue
        name = tensor.name
        if tensor.dims[0] == 1 or np.abs(array).max() > 1000:  # the grid's constants are pixels: keep them
            continue
        tensor.CopyFrom(numpy_helper.from_array(array.astype(np.float16), f"{name}_half"))
        casts.append(helper.make_node("Cast", [f"{name}_half"], [name], f"{name}_cast", to=TensorProto.FLOAT))
    for cast in reversed(casts):
        model.graph.node.insert(0, cast)


def _compare(net: Yolo, model: Any, size: tuple[int, int], pixels: float, score: float) -> None:
    """Run torch and ONNX Runtime on the same noise; raises WorkError if they differ."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(1)
    for batch in (1, 3):
        images = torch.rand(batch, 3, size[1], size[0], generator=generator)
        with torch.no_grad():
            boxes, scores = _Named(net).eval()(images)
        got_boxes, got_scores = session.run(["boxes", "scores"], {"images": images.numpy()})
        far = float(np.abs(got_boxes - boxes.numpy()).max())
        off = float(np.abs(got_scores - scores.numpy()).max())
        if far > pixels or off > score:
            raise WorkError(
                f"export: the file differs from torch by {far:.3g} px and {off:.3g} in score "
                f"(at most {pixels:g} and {score:g} are right)"
            )
