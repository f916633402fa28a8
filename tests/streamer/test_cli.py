"""The `streamer` command: mistakes end in one sentence and 2, signals leave whole files."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import av
import pytest

from engines.console import run as run_app
from streamer.cli import app

MODEL = "tiny-yolo"
ENDLESS = "synthetic:?size=320x180&count=0"
FILM = "film.mp4"


def call(capsys, *words: str) -> tuple[int, str, str]:
    """Run the command in this process; return exit code, stdout and stderr."""
    with pytest.raises(SystemExit) as ended:
        run_app(app, list(words))
    out, err = capsys.readouterr()
    return ended.value.code or 0, out, err


def start(*words: str, **how) -> subprocess.Popen:
    command = [sys.executable, "-c", "from streamer.cli import main; main()", *words]
    where = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(command, env=where, stdin=subprocess.DEVNULL, **how)


@pytest.fixture
def files(tmp_path, monkeypatch) -> Path:
    """A current folder that holds one of each kind of bad input."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISPLAY", raising=False)
    Path("folder").mkdir()
    Path("empty.mp4").touch()
    Path("text.mp4").write_text("not a video\n" * 20)
    Path("damaged.onnx").write_bytes(b"\x08\x07\x12\xff\xff\xff broken")
    Path("right.yaml").write_text("sources: {a: 'synthetic:?count=3'}\nmodel: tiny-yolo\nsinks: ['null:']\n")
    Path("many.yaml").write_text("sources: {a: 'synthetic:'}\nmodel: {path: tiny-yolo, requests: 100000}\n")
    Path("key.yaml").write_text("sources: {a: 'synthetic:'}\nmodel: tiny-yolo\nsink: ['null:']\n")
    Path("deep.yaml").write_text("sources:\n  a:\n    url: 'synthetic:'\n    evry: 3\nmodel: tiny-yolo\n")
    with av.open(FILM, "w") as film:
        stream = film.add_stream("libx264", rate=25)
        stream.width, stream.height = 64, 48
        film.mux(stream.encode(av.VideoFrame(64, 48, "yuv420p")))
        film.mux(stream.encode(None))
    return tmp_path


def sizes(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_size for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["run", "nope.mp4", "-m", MODEL], ["nope.mp4", "no such file"]),
        (["run", "folder", "-m", MODEL], ["folder", "no pictures"]),
        (["run", "empty.mp4", "-m", MODEL, "--sink", "x.mp4"], ["empty.mp4", "empty"]),
        (["run", "text.mp4", "-m", MODEL, "--sink", "x.mp4"], ["text.mp4", "not a video"]),
        (["run", "rstp://camera/1", "-m", MODEL], ["'rstp'", "did you mean 'rtsp'"]),
        (["run", "rtsp://me:hush@127.0.0.1:1/x", "-m", MODEL], ["rtsp://me:***@127.0.0.1:1/x", "refused"]),
        (["run", "rtsp//me:hush@127.0.0.1:1/x", "-m", MODEL], ["rtsp//me:***@127.0.0.1:1/x", "no such file"]),
        (["run", "synthetic:", "-m", "http://me:hush@h/m.onnx"], ["me:***@h/m.onnx"]),
        (["run", "synthetic:", "-m", MODEL, "--sink", "b.txt?token=hush"], ["b.txt?token=***", "no options"]),
        (["run", "synthetic:", "-m", MODEL, "--track", "rtsp://me:hush@h/x"], ["track", "me:***@h"]),
        (["run", "synthetic:", "-m", "tiny-yol"], ["'tiny-yol'", "tiny-yolo"]),
        (["run", "synthetic:", "-m", "nope.onnx"], ["nope.onnx", "no such file"]),
        (["run", "synthetic:", "-m", "damaged.onnx"], ["damaged.onnx", "not a whole ONNX"]),
        (["run", "synthetic:", "-m", MODEL, "--classes", "persn"], ["'persn'", "did you mean 'person'"]),
        (["run", "synthetic:", "-m", MODEL, "--classes", ","], ["classes: ','", "names or ids"]),
        (["run", "synthetic:", "-m", MODEL, "--latency", "nan"], ["latency: 'nan'", "such as 150ms"]),
        (["run", "synthetic:", "-m", MODEL, "--conf", "1.5"], ["conf", "1.5", "0 to 1"]),
        (["run", "synthetic:", "-m", MODEL, "--every", "0"], ["every", "0", "1 or more"]),
        (["run", "synthetic:", "-m", MODEL, "--seconds", "nan"], ["seconds: nan", "0 or more"]),
        (["run", "synthetic:", "-m", MODEL, "--trails", "inf"], ["trails: inf", "0 or more"]),
        (["run", "synthetic:", "-m", MODEL, "--batch", "100000"], ["batch: 100000", "at most 1024"]),
        (["run", "--config", "many.yaml"], ["requests: 100000", "at most 256"]),
        (["run", FILM, "-m", MODEL, "--sink", "{stream}.mp4"], ["would write over film.mp4, a source"]),
        (["run", FILM, "-m", MODEL, "--ledger", FILM], ["--ledger: film.mp4: is an input itself"]),
        (["run", FILM, "-m", "damaged.onnx", "--ledger", "damaged.onnx"], ["--ledger: damaged.onnx: is an"]),
        (["run", "--config", "right.yaml", "--ledger", "right.yaml"], ["--ledger: right.yaml: is an input"]),
        (["run", FILM, "-m", MODEL, "--ledger", "o.jsonl", "--sink", "./o.jsonl"], ["is a sink's file"]),
        (["run", "synthetic:", "-m", MODEL, "--sink", "window:"], ["no display"]),
        (["run", "synthetic:", "-m", MODEL, "--sink", "/proc/x/a.mp4"], ["/proc/x/a.mp4"]),
        (["run", "synthetic:", "-m", MODEL, "--sink", "a.mp5"], ["a.mp5", ".mp4"]),
        (["run", "synthetic:", "-m", MODEL, "--sink", "a.mp4", "--sink", "./a.mp4"], ["a.mp4", "2 sinks"]),
        (["run", "synthetic:?sise=3x3", "-m", MODEL], ["'sise'", "did you mean 'size'"]),
        (["run", "synthetic:"], ["--model", "none given"]),
        (["run", "-m", MODEL], ["sources", "none given"]),
        (["run", "--config", "nope.yaml"], ["nope.yaml"]),
        (["run", "--config", "key.yaml"], ["key.yaml:3", "'sink'", "did you mean 'sinks'"]),
        (["validate", "deep.yaml"], ["deep.yaml:4", "sources.a", "'evry'", "did you mean 'every'"]),
        (["run", "synthetic:", "-m", MODEL, "--backend", "tensorr"], ["'tensorr'"]),
        (["bench", "synthetic:", "-m", MODEL, "--seconds", "0"], ["--seconds", "above 0"]),
        (["bench", "synthetic:", "-m", MODEL, "--seconds", "nan"], ["--seconds: nan", "above 0"]),
        (["bench", "synthetic:", "-m", MODEL, "--streams", "0"], ["--streams: 0", "1 or more"]),
        (["bench", "synthetic:", "-m", MODEL, "--fail-under", "nan"], ["--fail-under: nan", "a ratio"]),
        (["bench", "synthetic:", "-m", MODEL, "--compare", "text.mp4"], ["text.mp4: no figures in it"]),
        (["bench", "synthetic:", "-m", MODEL, "--save", "x/a.json"], ["--save: x/a.json: no folder x"]),
        (["bench", FILM, "-m", MODEL, "--save", FILM], ["--save: film.mp4: is an input itself"]),
        (["zones", FILM, "--save", FILM], ["--save: film.mp4: is an input itself"]),
        (["zones", FILM, "--at", "-1"], ["--at: -1", "from 0 on"]),
        (["probe", "nope.mp4"], ["nope.mp4", "no such file"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) and len(value) > 2 else None,
)
def test_a_mistake_is_one_sentence_and_exit_code_2(capsys, files, words, parts):
    before = sizes(files)
    code, out, err = call(capsys, *words)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert err.startswith("error: ")
    for part in parts:
        assert part in err
    assert "hush" not in err
    assert sizes(files) == before


@pytest.mark.parametrize("words", [["rnu"], ["run", "--modle", "x"], []], ids=["verb", "option", "nothing"])
def test_wrong_usage_is_exit_code_2(capsys, words):
    code, _, _ = call(capsys, *words)
    assert code == 2


def test_records_go_to_stdout_and_nothing_else(capfd):
    with pytest.raises(SystemExit) as ended:
        run_app(app, ["run", "synthetic:?size=320x180&count=12", "-m", MODEL, "--sink", "-"])
    out, err = capfd.readouterr()
    assert not ended.value.code
    assert [json.loads(line)["index"] for line in out.splitlines()] == list(range(12))
    assert "12 frames" in err


def test_a_pipeline_file_does_what_its_flags_would(capsys, files):
    Path("good.yaml").write_text(
        "sources:\n  left: synthetic:?size=320x180&count=30\n  right: synthetic:?size=320x180&count=8\n"
        "model: {path: tiny-yolo, conf: 0.5}\nsinks: ['{stream}.jsonl']\nframes: 20\n"
    )
    code, out, _ = call(capsys, "validate", "good.yaml")
    assert code == 0
    assert "2 sources" in out
    code, _, _ = call(capsys, "run", "--config", "good.yaml", "--frames", "10", "--quiet")
    assert code == 0
    rows = {name: Path(f"{name}.jsonl").read_text().splitlines() for name in ("left", "right")}
    assert {name: len(lines) for name, lines in rows.items()} == {"left": 10, "right": 8}
    assert all(found["score"] >= 0.5 for line in rows["left"] for found in json.loads(line)["detections"])


def test_what_validate_says_holds_no_password(capsys, files):
    Path("far.yaml").write_text(
        "sources: {a: 'synthetic:'}\nmodel: http://me:hush@far/m.onnx\nsinks: ['null:']\n"
    )
    code, out, err = call(capsys, "validate", "far.yaml")
    assert (code, "http://me:***@far/m.onnx" in out, "hush" in out + err) == (0, True, False)


def test_a_pipeline_file_is_right_while_its_page_is_up_elsewhere(capsys, files):
    pytest.importorskip("uvicorn", reason="pip install 'streamer[web]'")
    with socket.create_server(("127.0.0.1", 0)) as other:
        page = f"http://127.0.0.1:{other.getsockname()[1]}"
        Path("page.yaml").write_text(
            f"sources: {{s: 'synthetic:?count=3'}}\nmodel: tiny-yolo\nsinks: ['{page}']\n"
        )
        code, out, err = call(capsys, "validate", "page.yaml")
        assert (code, "page.yaml: ok" in out) == (0, True)
        assert f"for now: {page}: cannot be listened on" in err
        code, _, err = call(capsys, "run", "--config", "page.yaml", "--quiet")
        assert (code, "cannot be listened on" in err) == (2, True)


def test_a_stream_that_a_line_is_for_and_that_is_not_there_is_said_at_the_start(capsys, files):
    Path("door.yaml").write_text(
        "sources: {door: 'synthetic:?size=320x180&count=2'}\nmodel: tiny-yolo\n"
        "analytics: {lines: {a: {points: [[0, 0], [1, 1]], streams: [dor]}}}\n"
    )
    for command in (("validate", "door.yaml"), ("run", "--config", "door.yaml")):
        code, _, err = call(capsys, *command)
        assert code == 0
        assert err.count("analytics: a: streams: no stream 'dor' so far, did you mean 'door'?\n") == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_finishes_every_file(tmp_path, number, code):
    video, rows = tmp_path / "a.mp4", tmp_path / "a.jsonl"
    process = start("run", ENDLESS, "-m", MODEL, "--sink", str(video), "--sink", str(rows), "--quiet")
    wait_for_lines(rows, 40, process)
    process.send_signal(number)
    assert process.wait(20) == code
    written = [json.loads(line)["index"] for line in rows.read_text().splitlines()]
    assert written == list(range(len(written)))
    with av.open(str(video)) as container:
        assert sum(1 for _ in container.decode(video=0)) == len(written)
    assert sorted(tmp_path.iterdir()) == [rows, video]


def test_a_kill_leaves_all_but_two_seconds(tmp_path):
    video, rows = tmp_path / "a.mp4", tmp_path / "a.jsonl"
    process = start("run", ENDLESS, "-m", MODEL, "--sink", str(video), "--sink", str(rows), "--quiet")
    wait_for_lines(rows, 150, process)
    process.kill()
    process.wait(20)
    last = json.loads(rows.read_text().splitlines()[-1])
    with av.open(str(video)) as container:
        *_, frame = container.decode(video=0)
    assert frame.time >= last["pts"] - 2


def test_a_reader_that_leaves_ends_the_run_quietly():
    process = start("run", ENDLESS, "-m", MODEL, "--sink", "-", "--quiet", stdout=-1, stderr=-1)
    assert json.loads(process.stdout.readline())["index"] == 0
    process.stdout.close()
    assert process.wait(20) == 0
    assert process.stderr.read() == b""


def wait_for_lines(path: Path, count: int, process: subprocess.Popen) -> None:
    """Return once a growing file has so many lines; fail if the process ends or a minute passes."""
    pause = threading.Event()
    for _ in range(6000):
        if path.exists() and path.read_bytes().count(b"\n") >= count:
            return
        assert process.poll() is None
        pause.wait(0.01)
    process.kill()
    pytest.fail(f"{path} did not grow")
