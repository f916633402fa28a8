"""The main job on real video: nothing lost, time kept, people found where people are."""

import json
from pathlib import Path

import av
import numpy as np
import pytest

import streamer

FRAMES = 1394
CLIP = "one-by-one-person-detection.mp4"


def stamps(path: Path) -> np.ndarray:
    """The pts of every picture that PyAV decodes, in seconds."""
    with av.open(str(path)) as container:
        return np.array([frame.time for frame in container.decode(video=0)])


@pytest.fixture(scope="module")
def visits(data_dir) -> tuple[np.ndarray, np.ndarray]:
    """Frames inside the six visits, and frames more than ten away from any."""
    counts = json.loads((data_dir / "gt" / "video_counts.json").read_text())[CLIP]
    inside, near = np.zeros(FRAMES, bool), np.zeros(FRAMES, bool)
    for first, last in counts["presence_frames_yolox_nano_conf0.4"]:
        inside[first : last + 1] = True
        near[max(first - 10, 0) : last + 11] = True
    return inside, ~near


@pytest.mark.parametrize(
    "model",
    [
        "yolox_nano_416.onnx",
        "derived/yolov8n_320_w16.onnx",
        "derived/yolov8n-seg_320_w16.onnx",
        "derived/yolo11n-pose_640_w16.onnx",
    ],
)
def test_every_frame_is_recorded_written_and_right(data_dir, visits, tmp_path, model):
    clip, video, rows = data_dir / "video" / CLIP, tmp_path / "a.mp4", tmp_path / "a.jsonl"
    sinks = [f"{video}?preset=ultrafast", str(rows)]
    report = streamer.run(str(clip), model=str(data_dir / "models" / model), sinks=sinks, conf=0.4)
    records = [json.loads(line) for line in rows.read_text().splitlines()]
    expected = stamps(clip)

    assert [record["index"] for record in records] == list(range(FRAMES))
    assert np.abs(np.array([record["pts"] for record in records]) - expected).max() < 1e-3
    assert np.abs(stamps(video) - expected).max() < 1e-3
    assert report.unbalanced == ()
    assert not report.lost

    present = np.array([any(found["class"] == "person" for found in r["detections"]) for r in records])
    inside, outside = visits
    assert present[inside].mean() >= 0.97
    assert present[outside].mean() <= 0.01
