"""Export: a checkpoint becomes one self-describing ONNX file, checked before it is written."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from engines import metadata
from engines.classes import COCO_KEYPOINTS, COCO_SKELETON
from engines.errors import WorkError
from engines.spec import ModelSpec, Task
from trainers import checkpoints, files
from trainers.models import prepare

__all__ = ["OUTPUTS", "export", "save", "store_half", "thresholds", "write"]

# what the file of a task gives out, as layout "dense" reads it
OUTPUTS: dict[Task, tuple[str, ...]] = {
    "detect": ("boxes", "scores"),
    "segment": ("boxes", "scores", "coefficients", "prototypes"),
    "pose": ("boxes", "scores", "keypoints"),
}

_OPSET = 17
_PIXELS = 0.01  # what the file's boxes may differ from torch's before its weights are rounded
_ROUNDED = 1.5  # and after; of cells that score
_SCORE = 0.02
_RANKED = 0.1  # pixels of a box of two stages, whose second reads the first's last digits
_STEEP = 0.99  # share of their numbers that must agree: near ties the order of proposals is rounding's
_NOTHING = 0.05  # score below which a ranked row is no object


def export(checkpoint: str | Path, output: str | Path, *, half: bool = True) -> Path:
    """Write the averaged network of a checkpoint as ONNX and return its path.

    Input ``images`` (B,3,H,W) float32, prepared as the metadata says, with a free batch; outputs ``boxes``
    (B,N,4) xyxy input pixels, ``scores`` (B,N,C) and what else `OUTPUTS` names. ``half`` stores weights as
    FP16 with a cast to FP32, so that the file is half as large and the arithmetic stays FP32. The file is
    compared with torch for batches of 1 and 3; WorkError if they differ. A model for video becomes two
    files, see `trainers.export_video`; the path is that of key frames.
    """
    saved = checkpoints.load(checkpoint)
    net, config = checkpoints.network(saved)
    spec = ModelSpec(
        name=config.name,
        task=net.task,
        layout=getattr(net, "layout", "dense"),
        classes=saved.classes,
        size=config.size,
        **asdict(net.input),
        **thresholds(net),
        keypoints=COCO_KEYPOINTS if net.task == "pose" else (),
        skeleton=COCO_SKELETON if net.task == "pose" else (),
    )
    words = {"description": config.description, "license": config.licence}
    if hasattr(net, "between"):
        from trainers.export_video import write_video

        return write_video(net, spec, Path(output), half=half, words=words)[0]
    return write(net, spec, Path(output), half=half, words=words)


def thresholds(net: Any) -> dict[str, float]:
    """Return conf and iou of a network to which those of `ModelSpec` do not apply."""
    if getattr(net, "layout", "dense") == "heatmaps":
        return {"conf": 0.0, "iou": 1.0}  # one person, who is known to be there
    return {"iou": 1.0} if getattr(net, "ranked", False) else {}  # what ranks its rows has suppressed them


def write(net: Any, spec: ModelSpec, output: Path, *, half: bool = True, words: dict[str, str]) -> Path:
    """Write a network as ONNX, compared with torch; ``words`` are further entries of its metadata.

    Weights of a network that ranks what it finds stay FP32: rounded ones change the order.
    """
    import onnx

    half = half and not getattr(net, "ranked", False)
    model = onnx.load_from_string(_traced(_Named(net).eval(), spec))
    _compare(net, model, spec, _RANKED if getattr(net, "ranked", False) else _PIXELS, _PIXELS)
    if half:
        store_half(model)
        _compare(net, model, spec, _ROUNDED, _SCORE)
    save(model, spec, words, output)
    return output


def save(model: Any, spec: ModelSpec, words: Mapping[str, str], path: Path) -> None:
    """Write a model with its spec and further words as metadata; WorkError if the disk does not take it."""
    import onnx

    metadata.write(model, spec)
    for key, value in words.items():
        if value:
            entry = model.metadata_props.add()
            entry.key, entry.value = key, value
    onnx.checker.check_model(model, full_check=True)
    files.write(path, model.SerializeToString())


class _Named(nn.Module):
    """The network with what the file gives out, in the order of `OUTPUTS`."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        decoded = self.net.decode(self.net(images))
        return tuple(decoded[name] for name in _outputs(self.net))


def _outputs(net: Any) -> tuple[str, ...]:
    """What the file of a network gives out; the runtime reads keypoints off heatmaps itself."""
    layout: str = getattr(net, "layout", "dense")
    return OUTPUTS[net.task] if layout == "dense" else (layout,)


def _traced(net: _Named, spec: ModelSpec) -> bytes:
    width, height = spec.size
    file = io.BytesIO()
    names = _outputs(net.net)
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
            output_names=list(names),
            dynamic_axes={name: {0: "batch"} for name in ("images", *names)},
        )
    return file.getvalue()


def store_half(model: Any) -> None:
    """Store the kernels of a model as FP16, each with a Cast to FP32 before its use."""
    from onnx import TensorProto, helper, numpy_helper

    kernels = {
        node.input[1] for node in model.graph.node if node.op_type in ("Conv", "ConvTranspose", "Gemm")
    }
    casts = []
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if tensor.name not in kernels or array.dtype != np.float32 or array.size < 64:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(array.astype(np.float16), f"{name}_half"))
        casts.append(helper.make_node("Cast", [f"{name}_half"], [name], f"{name}_cast", to=TensorProto.FLOAT))
    for cast in reversed(casts):
        model.graph.node.insert(0, cast)


def _compare(net: Any, model: Any, spec: ModelSpec, pixels: float, score: float) -> None:
    """Run torch and ONNX Runtime on the same noise; raises WorkError if they differ.

    A box larger than the picture may differ by as much more.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(1)
    names = _outputs(net)
    for batch in (1, 3):
        images = prepare(torch.rand(batch, 3, spec.size[1], spec.size[0], generator=generator), net.input)
        with torch.no_grad():
            expected = dict(zip(names, _Named(net).eval()(images), strict=True))
        got = dict(zip(names, session.run(list(names), {"images": images.numpy()}), strict=True))
        if getattr(net, "ranked", False):
            _pair(got, expected)
        far = off = 0.0
        share = _STEEP if getattr(net, "ranked", False) else 1.0
        if "boxes" in names:
            boxes = expected["boxes"].numpy()
            unit = np.maximum(np.abs(boxes).max(axis=2, keepdims=True) / max(spec.size), 1)
            far = float(np.quantile(np.abs(got["boxes"] - boxes) / unit, share))
            off = float(np.abs(got["scores"] - expected["scores"].numpy()).max())
        for name in set(names) - {
            "boxes",
            "scores",
        }:  # keypoints, coefficients, prototypes: by the largest value of each
            part = expected[name].numpy()
            apart = float(np.quantile(np.abs(got[name] - part), share))
            off = max(off, apart / max(float(np.abs(part).max()), 1e-6))
        if not (far <= pixels and off <= score):
            raise WorkError(
                f"export: the file differs from torch by {far:.3g} px and {off:.3g} in what has no unit "
                f"(at most {pixels:g} and {score:g} are right)"
            )


def _pair(got: dict[str, Any], expected: dict[str, Tensor]) -> None:
    """Put ranked rows of the file in torch's order, and forget those that are nothing."""
    for picture in range(len(got["boxes"])):
        theirs, mine = (
            np.concatenate([parts["boxes"][picture] / 100, parts["scores"][picture]], 1)
            for parts in ({name: part.numpy() for name, part in expected.items()}, got)
        )
        order = np.abs(theirs[:, None] - mine[None]).max(axis=2).argmin(axis=1)
        nothing = expected["scores"][picture].amax(1).numpy() < _NOTHING
        for name in set(got) - {"coefficients"}:
            got[name][picture] = got[name][picture][order]
            got[name][picture][nothing] = 0
            expected[name][picture][torch.from_numpy(nothing)] = 0
