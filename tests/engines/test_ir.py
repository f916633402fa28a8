"""OpenVINO IR: the same layouts around it as around an ONNX file, and one sentence for what is missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engines
from engines.description import describe
from engines.errors import InputError
from engines.options import Options

Build = Callable[..., Any]
BOXES = np.array([[[8, 4, 24, 20], [40, 8, 60, 24]]], np.float32)
SCORES = np.array([[[0.6, 0], [0, 0.5]]], np.float32)


@pytest.fixture
def ir(network: Build, tmp_path: Path) -> Path:
    """An IR of two boxes whose scores grow with the brightness, and its card."""
    import openvino

    made = network({"boxes": BOXES, "scores": SCORES}, brightness={"scores": SCORES / 2}, batch="n")
    openvino.save_model(
        openvino.convert_model(_saved(made, tmp_path)), tmp_path / "net.xml", compress_to_fp16=False
    )
    (tmp_path / "net.yaml").write_text("classes: [cat, dog]\n")
    return tmp_path / "net.xml"


def _saved(model: Any, folder: Path) -> str:
    (folder / "net.onnx").write_bytes(model.SerializeToString())
    return str(folder / "net.onnx")


@pytest.mark.parametrize("batch", [1, 3])
def test_an_ir_gives_what_its_onnx_file_gives(batch: int, ir: Path) -> None:
    """This one reshapes to a batch of one by constants, so it runs one by one and says so."""
    pictures = [np.full((32, 64, 3), level, np.uint8) for level in (0, 100, 200)]
    with engines.load(ir, Options(batch=batch, precision="fp32")) as model:
        assert (model.batch, model.spec.layout) == (1, "dense")
        assert ("batch 1 instead of 3" in model.notes[-1]) == (batch == 3)
        found = model.predict(pictures)
    for one, level in zip(found, (0, 100, 200), strict=True):
        np.testing.assert_allclose(one.boxes, BOXES[0], atol=1e-3)
        np.testing.assert_allclose(one.scores, np.array([0.6, 0.5]) * (1 + level / 255 / 2), atol=1e-3)
        assert one.classes.tolist() == [0, 1]


def test_onnxruntime_refuses_an_ir(ir: Path) -> None:
    with pytest.raises(InputError, match=r"onnxruntime: it reads no OpenVINO IR \(.xml\), backend openvino"):
        engines.load(ir, Options(backend="onnxruntime"))


def test_an_ir_without_its_weights_is_refused(ir: Path) -> None:
    ir.with_suffix(".bin").unlink()
    with pytest.raises(InputError, match=r"weights: 'net.bin' is missing beside the file"):
        engines.load(ir)


def test_a_damaged_ir_is_refused(ir: Path) -> None:
    ir.write_text(ir.read_text()[:200])
    with pytest.raises(InputError, match="not a whole OpenVINO IR") as refusal:
        engines.load(ir)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("text", ["<a/>", "", "no xml"])
def test_what_is_no_ir_is_refused_in_silence(text: str, ir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    ir.write_text(text)
    with pytest.raises(
        InputError, match=r"no OpenVINO IR, an \.xml file whose first element is <net> is right"
    ):
        engines.load(ir)
    assert "".join(capfd.readouterr()) == ""


@pytest.mark.parametrize("side", ["inputs", "outputs"])
def test_a_port_without_a_name_is_known_by_its_layer(side: str, ir: Path, tmp_path: Path) -> None:
    import openvino

    model = openvino.Core().read_model(ir)
    for number, port in enumerate(getattr(model, side)):
        port.get_tensor().set_names(set())
        if side == "outputs":
            port.get_node().input_value(0).get_node().set_friendly_name(["boxes", "scores"][number])
    openvino.save_model(model, tmp_path / "bare.xml", compress_to_fp16=False)
    (tmp_path / "bare.yaml").write_text("layout: dense\nclasses: [cat, dog]\n")
    with engines.load(tmp_path / "bare.xml", Options(precision="fp32")) as loaded:
        (found,) = loaded.predict([np.zeros((32, 64, 3), np.uint8)])
    assert found.classes.tolist() == [0, 1]


@pytest.mark.data
def test_two_kinds_of_face_detector_agree_on_a_crowd(data_dir: Path, tmp_path: Path) -> None:
    """DetectionOutput of an IR and UltraFace, of other makers, on an enlarged part of a group picture."""
    import cv2

    from engines.suppress import iou_matrix

    path = data_dir / "models" / "openvino" / "face-detection-adas-0001.xml"
    card = tmp_path / "adas.yaml"
    card.write_text(f"model: {path}\nclasses: [face]\ncolour: bgr\nscale: 1.0\n")
    picture = cv2.imread(str(data_dir / "images" / "faces_26.jpg"))[100:400, 700:1000, ::-1]
    found = []
    for model, conf in ((card, 0.8), (data_dir / "models" / "ultraface_RFB-320_nopost.onnx", 0.8)):
        with engines.load(model, Options(conf=conf, precision="fp32")) as loaded:
            found += loaded.predict([np.ascontiguousarray(picture)])
    overlaps = iou_matrix(found[0].boxes, found[1].boxes).max(axis=1)
    shared = overlaps[overlaps > 0]
    assert len(shared) >= 10
    assert shared.min() > 0.7


TAILS = {  # operators after the heads of YOLOX -> layout, or what is said
    "nothing": ([], "yolox"),
    "an exponent": (["Exp"], "yolox-decoded"),
    "arithmetic without one": (["Abs"], "could be of yolox or yolox-decoded"),
}


@pytest.mark.parametrize("file", ["net.onnx", "net.xml"])
@pytest.mark.parametrize(("kinds", "said"), TAILS.values(), ids=TAILS.keys())
def test_whether_boxes_are_decoded_is_seen_in_the_graph(
    kinds: list[str], said: str, file: str, network: Build, tmp_path: Path
) -> None:
    import openvino
    from onnx import helper

    made = network({"output": np.zeros((1, 42, 85), np.float32)}, batch=1)
    for kind in kinds:
        made.graph.node[-1].output[0] = "heads"
        made.graph.node.append(helper.make_node(kind, ["heads"], ["output"]))
    openvino.save_model(openvino.convert_model(_saved(made, tmp_path)), tmp_path / "net.xml")
    if kinds == ["Abs"]:
        with pytest.raises(InputError, match=said):
            describe(tmp_path / file)
    else:
        assert describe(tmp_path / file).spec.layout == said
