"""Models of two graphs: a frame is computed from its own stream's last key frame, whatever is in flight."""

from __future__ import annotations

import shutil
from collections import deque
from pathlib import Path

import numpy as np
import pytest

import engines
from engines import InputError, WorkError
from engines.parity import Pair
from engines.video import Shots, Video
from tests.two_graphs import SIZE, picture, told, write_pair

BACKENDS = pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pair(tmp_path_factory.mktemp("pair"))


def opened(pair: Path, backend: str = "onnxruntime", batch: int = 1, **how: object) -> engines.Model:
    return engines.load(pair, engines.Options(backend=backend, precision="fp32", batch=batch, **how))


def flown(video: Video, lights: list[tuple[str, int]], *, key: bool) -> Shots:
    """A batch under way, of (stream, light)."""
    shots = video.acquire(key=key)
    for stream, light in lights:
        shots.add(SIZE, stream)[...] = light
    shots.submit()
    return shots


def seen(shots: Shots) -> list[tuple[int, int]]:
    return [told(found.boxes) for found in shots.collect()]


def test_the_spec_names_both_graphs_and_the_state(pair):
    with opened(pair) as model:
        assert model.spec.between == "two.between.onnx"
        assert model.spec.state == ("level", "pair")
        assert [tensor.name for tensor in model.engine.outputs] == ["boxes", "scores", "classes"]
        assert [tensor.name for tensor in model.video.between.engine.inputs] == ["pixels"]


@BACKENDS
@pytest.mark.parametrize("batch", [1, 2])
def test_what_proves_an_engine_sees_frames_between_as_well(pair, backend, batch):
    images = [np.full((SIZE[1], SIZE[0], 3), light, np.uint8) for light in (10, 200, 90)]
    with opened(pair, backend, batch) as model:
        given = Pair(model.engine, model.video.between.engine).outputs(images)
    assert [told(found["boxes"]) for found in given] == [(10, 10), (200, 200), (90, 90)] * 2


def fly_at_random(model: engines.Model, seed: int) -> None:
    """Batches of 5 streams, as many in flight as there is room for, key frames renewed meanwhile."""
    rng = np.random.default_rng(seed)
    streams = [f"s{number}" for number in range(5)]
    video, flying, before = model.video, deque(), {}
    room = min(len(model.engine.requests), len(video.between.engine.requests))
    for _ in range(60):
        if len(flying) == room:
            shots, expected = flying.popleft()
            assert seen(shots) == expected
        key = bool(rng.random() < 0.4)
        able = streams if key else [stream for stream in streams if video.knows(stream)]
        chosen = list(rng.permutation(able)[: rng.integers(1, model.batch + 1)])
        if not chosen:
            continue
        lights = [(stream, int(rng.integers(256))) for stream in chosen]
        before |= dict(lights) if key else {}
        expected = [(light, before[stream]) for stream, light in lights]
        flying.append((flown(video, lights, key=key), expected))
    for shots, expected in flying:
        assert seen(shots) == expected


@BACKENDS
@pytest.mark.parametrize("batch", [1, 3])
def test_streams_in_flight_together_keep_their_own_states(pair, backend, batch):
    with opened(pair, backend, batch) as model:
        fly_at_random(model, batch)


def test_an_engine_that_keeps_no_state_runs_key_frames_only(pair):
    with opened(pair, "torch", 2, device="cpu") as model:
        assert model.video is None
        assert model.spec.state == ()
        assert any("key frames only: torch keeps no state" in note for note in model.notes)
        assert [told(found.boxes) for found in model.predict([picture(8), picture(80)])] == [(8, 8), (80, 80)]


@BACKENDS
def test_frames_between_wait_for_their_key_frame(pair, backend):
    with opened(pair, backend) as model:
        first = flown(model.video, [("a", 10)], key=True)
        later = flown(model.video, [("a", 20)], key=False)
        renewed = flown(model.video, [("a", 30)], key=True)
        last = flown(model.video, [("a", 40)], key=False)
        told_by = [seen(shots) for shots in (first, later, renewed, last)]
        assert told_by == [[(10, 10)], [(20, 10)], [(30, 30)], [(40, 30)]]
        assert later.motion == pytest.approx([10 / 255], abs=1e-4)
        assert first.motion == []


def test_a_frame_between_is_not_read_before_its_key_frame(pair):
    with opened(pair) as model:
        key, later = flown(model.video, [("a", 10)], key=True), flown(model.video, [("a", 20)], key=False)
        with pytest.raises(WorkError, match="was not computed"):
            later.collect()
        assert seen(key) == [(10, 10)]


def test_what_follows_a_key_frame_that_fails_fails_too(pair, monkeypatch):
    with opened(pair) as model:
        key, later = flown(model.video, [("a", 10)], key=True), flown(model.video, [("a", 20)], key=False)
        monkeypatch.setattr(key._request, "wait", lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            key.collect()
        with pytest.raises(WorkError, match="was not computed"):
            later.collect()


def test_a_frame_between_that_does_not_start_fails_alone(pair, monkeypatch):
    """Nobody is given what its request computed before, nor waits for what never runs."""

    def lost(filled: int = 0) -> None:
        raise WorkError("the device is lost")

    with opened(pair) as model:
        key, later = flown(model.video, [("a", 10)], key=True), flown(model.video, [("a", 20)], key=False)
        monkeypatch.setattr(later._request, "start", lost)
        assert seen(key) == [(10, 10)]
        with pytest.raises(WorkError) as failure:
            later.collect()
        assert str(failure.value.__cause__) == "the device is lost"


def test_a_frame_between_after_a_key_frame_that_failed_fails_too(pair, monkeypatch):
    with opened(pair) as model:
        key = flown(model.video, [("a", 10)], key=True)
        with monkeypatch.context() as patch:
            patch.setattr(key._request, "wait", lambda: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                key.collect()
        later = flown(model.video, [("a", 20)], key=False)
        with pytest.raises(WorkError, match="was not computed") as failure:
            later.collect()
        assert isinstance(failure.value.__cause__, ZeroDivisionError)
        assert seen(flown(model.video, [("a", 30)], key=True)) == [(30, 30)]
        assert seen(flown(model.video, [("a", 40)], key=False)) == [(40, 30)]


def test_errors_hold_no_request(pair, monkeypatch):
    with opened(pair, requests=2) as model:
        video = model.video

        def fails(error: type[Exception], picture: object, stream: str, *, key: bool) -> None:
            for _ in range(3):
                with pytest.raises(error):
                    video.predict(picture, stream, key=key)

        for key in (True, False):
            fails(InputError, None, "a", key=key)
            fails(InputError, picture(8)[..., 0], "a", key=key)
        fails(WorkError, picture(8), "a", key=False)  # it has no key frame yet
        with monkeypatch.context() as patch:
            for request in model.engine.requests:
                patch.setattr(request, "wait", lambda: 1 / 0)
            fails(ZeroDivisionError, picture(8), "a", key=True)
        fails(WorkError, picture(8), "a", key=False)  # its key frame failed
        early = [flown(video, [("a", 8)], key=key) for key in (True, False)]
        with pytest.raises(WorkError, match="was not computed"):
            early[1].collect()
        assert seen(early[0]) == [(8, 8)]
        for light in (16, 32, 48):
            assert told(video.predict(picture(light), "a", key=False).boxes) == (light, 8)
        assert not video._waiting


def test_a_stream_without_a_state_takes_no_frame_between(pair):
    with opened(pair) as model:
        video = model.video
        assert not video.knows("a")
        seen(flown(video, [("a", 10)], key=True))
        assert video.knows("a")
        video.forget("a")
        assert not video.knows("a")
        with pytest.raises(WorkError, match="stream a: it has no key frame yet"):
            video.acquire(key=False).add(SIZE, "a")


def test_states_are_bounded_and_their_memory_is_used_again(pair):
    with opened(pair) as model:
        video = model.video
        video.limit = 2
        made = []
        allocate = video._engine.memory
        video._engine.memory = lambda: made.append(1) or allocate()
        for number in range(30):
            seen(flown(video, [(f"s{number % 3}", number)], key=True))
        assert len(made) <= 3
        assert [video.knows(f"s{number}") for number in range(3)] == [False, True, True]
        seen(flown(video, [("s1", 5)], key=False))
        seen(flown(video, [("s0", 6)], key=True))
        assert [video.knows(f"s{number}") for number in range(3)] == [True, True, False], "the longest unused"


@BACKENDS
def test_the_state_lies_in_the_streams_own_memory(pair, backend):
    """The engine wrote it there; it never was an output of the request."""
    with opened(pair, backend, 2) as model:
        video = model.video
        shots = flown(video, [("a", 51), ("b", 102)], key=True)
        outputs = shots._request.wait()
        assert set(outputs) == {"boxes", "scores", "classes"}
        seen(shots)
        for stream, light in (("a", 51), ("b", 102)):
            memory = video._states[stream].memory
            level = memory["level"].data if backend == "openvino" else memory["level"].numpy()
            assert level.item() == pytest.approx(light / 255 / 2, abs=1e-5)
            tensor = shots._request._request.get_tensor("state/level/0") if backend == "openvino" else None
            if stream == "a" and tensor is not None:
                assert tensor.data.ctypes.data == level.ctypes.data


def test_the_file_of_key_frames_alone_is_an_image_model(pair, tmp_path):
    alone = tmp_path / "alone.key.onnx"
    shutil.copy(pair, alone)
    (tmp_path / "alone.yaml").write_text("state: [level, pair]")
    shutil.copy(pair, tmp_path / "alone.onnx")
    with opened(tmp_path / "alone.onnx") as model:
        assert model.video is None
        assert model.spec.between == ""
        (found,) = model.predict([picture(80)])
        assert told(found.boxes) == (80, 80)


def test_a_card_names_the_second_file(pair, tmp_path):
    shutil.copy(pair, tmp_path / "first.onnx")
    shutil.copy(pair.with_name("two.between.onnx"), tmp_path / "second.onnx")
    card = tmp_path / "mine.yaml"
    card.write_text("model: first.onnx\nbetween: second.onnx")
    with opened(card) as model:
        assert model.spec.between == "second.onnx"
        assert told(model.video.predict(picture(8), "a", key=True).boxes) == (8, 8)
        assert told(model.video.predict(picture(16), "a", key=False).boxes) == (16, 8)
    card.write_text("model: first.onnx\nbetween: third.onnx")
    with pytest.raises(InputError, match=r"mine.yaml:2: between: 'third.onnx': no such file"):
        engines.load(card)


def test_files_that_do_not_belong_together_are_refused(pair, tmp_path, saved):
    shutil.copy(pair, tmp_path / "odd.key.onnx")
    saved({"boxes": np.zeros((1, 1, 4)), "scores": np.zeros((1, 1, 1))}, "odd.between.onnx")
    with pytest.raises(InputError, match="none takes what a key frame gives"):
        engines.load(tmp_path / "odd.key.onnx")
    with pytest.raises(InputError, match=r"two.key.onnx is to be given"):
        engines.load(pair.with_name("two.between.onnx"))
