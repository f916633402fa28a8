"""The two files of YolactEdge in the engines: key frames are the image model, frames between are torch's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import engines
from engines.parity import outputs
from tests.trainers.test_export_tasks import SIZE, paired, random, spec
from trainers.evaluate import predictor
from trainers.export import write
from trainers.export_video import write_video
from trainers.models import prepare
from trainers.models.yolactedge import motion


def pictures(count: int) -> list[np.ndarray]:
    """Noise that drifts: each picture is the one before, moved."""
    noise = np.random.default_rng(1).integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    return [np.roll(noise, 3 * number, 1) for number in range(count)]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[torch.nn.Module, Path, Path]:
    net, folder = random("yolactedge_video"), tmp_path_factory.mktemp("video")
    image = write(net, spec(net), folder / "image.onnx", half=False, words={})
    return net, image, write_video(net, spec(net), folder / "video.onnx")[0]


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("batch", [1, 2])
def test_key_frames_alone_are_the_image_model_bit_for_bit(files, backend, batch):
    _, image, video = files
    how = {"backend": backend, "precision": "fp32", "batch": batch, "conf": 0.7}
    with (
        engines.load(image, engines.Options(**how)) as one,
        engines.load(video, engines.Options(**how, video=False)) as other,
    ):
        assert other.video is None
        assert other.spec.state == ()
        shown = pictures(4)
        for mine, theirs in zip(outputs(one.engine, shown), outputs(other.engine, shown), strict=True):
            assert mine.keys() == theirs.keys()
            assert all(np.array_equal(mine[name], theirs[name]) for name in mine)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_key_frames_that_leave_a_state_are_the_image_model_to_rounding(files, backend):
    """A state that is given out keeps ONNX Runtime from joining a sum with a convolution."""
    _, image, video = files
    options = engines.Options(backend=backend, precision="fp32", conf=0.7)
    with engines.load(image, options) as one, engines.load(video, options) as other:
        for picture in pictures(3):
            (mine,) = one.predict([picture])
            theirs = other.video.predict(picture, "a", key=True)
            assert len(mine) == len(theirs) > 3
            theirs = paired(theirs, mine)
            assert np.abs(mine.scores - theirs.scores).max() < 1e-4
            assert np.abs(mine.boxes - theirs.boxes).max() < 0.01
            for a, b in zip(mine.masks.grids, theirs.masks.grids, strict=True):
                assert np.abs(a - b).max() < 1e-3 * max(np.abs(a).max(), 1)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_frames_between_are_torchs(files, backend):
    net, _, video = files
    shown = pictures(3)
    options = engines.Options(
        backend=backend, precision="fp32", conf=0.7, iou=0.95, max_det=100, labels="all"
    )
    with torch.no_grad():
        ready = [
            prepare(torch.from_numpy(each.transpose(2, 0, 1)[None] / np.float32(255)), net.input)
            for each in shown
        ]
        state = net.key(ready[0])[1]
        moved = [float(motion(net.transform(each, state).flows)) for each in ready[1:]]
    with engines.load(video, options) as model:
        model.video.predict(shown[0], "a", key=True)
        for picture, image, far in zip(shown[1:], ready[1:], moved, strict=True):
            shots = model.video.acquire(key=False)
            shots.add(SIZE, "a")[...] = picture
            shots.submit()
            (found,) = shots.collect()
            net.forward = lambda images, image=image: net.between(image, state)
            (expected,) = predictor(net, SIZE, conf=0.7, iou=0.95)([picture])
            del net.forward
            clear = expected[expected.scores > 0.71]
            assert len(clear) > 3
            paired(found, clear)
            assert shots.motion == pytest.approx([far], rel=1e-3)
