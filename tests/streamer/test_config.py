"""The pipeline file: what it may hold, and the sentence for each way to get it wrong."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from engines.errors import InputError
from streamer.config import ModelConfig, SourceConfig, load
from streamer.settings import gather

EXAMPLES = sorted((Path(__file__).parents[2] / "configs" / "pipelines").glob("*.yaml"))


def write(folder: Path, text: str) -> Path:
    path = folder / "street.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def complaint(folder: Path, text: str) -> str:
    """Return what `load` says of the text, without the folder."""
    path = write(folder, text)
    with pytest.raises(InputError) as caught:
        load(path)
    return str(caught.value).replace(f"{folder}/", "")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_shipped_pipeline_is_valid(path: Path) -> None:
    pipeline = load(path)
    assert pipeline.sources
    assert pipeline.model.path
    assert pipeline.sinks


def test_examples_exist() -> None:
    assert len(EXAMPLES) >= 4


def test_short_and_long_forms_mean_the_same(tmp_path: Path) -> None:
    short = load(write(tmp_path, "sources: {a: x.mp4}\nmodel: m.onnx\nsinks: {'0': out.mp4}"))
    long = load(write(tmp_path, "sources: {a: {url: x.mp4}}\nmodel: {path: m.onnx}\nsinks: [{url: out.mp4}]"))
    assert short == long


def test_every_field_arrives(tmp_path: Path) -> None:
    pipeline = load(
        write(
            tmp_path,
            """
            sources:
              a: {url: x.mp4, every: 3, realtime: true, loop: false}
            model:
              {path: m, conf: 0.3, iou: 1, classes: [person, 2], max_det: 9, backend: openvino, device: CPU,
               precision: bf16, batch: 4}
            sinks:
              wall: {url: "window:", streams: [a]}
            overlay: false
            frames: 10
            seconds: 2
            every: 2
            realtime: true
            loop: true
            """,
        )
    )
    assert pipeline.sources["a"] == SourceConfig(url="x.mp4", every=3, realtime=True, loop=False)
    assert pipeline.model == ModelConfig(
        path="m",
        conf=0.3,
        iou=1.0,
        classes=("person", "2"),
        max_det=9,
        backend="openvino",
        device="CPU",
        precision="bf16",
        batch=4,
    )
    assert (pipeline.sinks["wall"].url, pipeline.sinks["wall"].streams) == ("window:", ("a",))
    assert (pipeline.overlay, pipeline.frames, pipeline.seconds, pipeline.every) == (False, 10, 2.0, 2)
    assert (pipeline.realtime, pipeline.loop) == (True, True)


def test_what_the_file_does_not_say_is_told_apart_from_defaults(tmp_path: Path) -> None:
    pipeline = load(write(tmp_path, "sources: {a: x.mp4}\noverlay: true\nmodel: {path: m, batch: 1}"))
    assert pipeline.model_fields_set == {"sources", "overlay", "model"}
    assert pipeline.model.model_fields_set == {"path", "batch"}
    assert pipeline.sources["a"].every is None


def test_the_models_defaults_are_those_of_the_engines_options() -> None:
    told = gather("a.mp4", "m.onnx").options
    for name, value in ModelConfig().model_dump(exclude={"path"}).items():
        assert value == getattr(told, name), name


@pytest.mark.parametrize(
    ("key", "url"),
    [("0", "0"), ("front", "7"), ("no", "no.mp4"), ("2024-01-01", "x"), ("1e3", "x")],
)
def test_names_are_the_text_as_written_and_a_number_is_a_webcam(tmp_path: Path, key: str, url: str) -> None:
    pipeline = load(write(tmp_path, f"sources:\n  {key}: {url}\n"))
    assert {name: source.url for name, source in pipeline.sources.items()} == {key: url}


MISTAKES = {
    "sink of a source that there is not": (
        "sources: {front: a.mp4}\nsinks:\n  wall: {url: b.mp4, streams: [frnt]}\n",
        "street.yaml:3: sinks.wall.streams: no source 'frnt', did you mean 'front'?",
    ),
    "source without a name": ("sources:\n  '': a.mp4\n", "street.yaml:2: sources"),
    "unknown key at the top": ("modle: m\n", "street.yaml:1: unknown key 'modle', did you mean 'model'?"),
    "unknown key of a sink": (
        "sinks:\n  wall:\n    url: a.mp4\n    strems: [a]\n",
        "street.yaml:4: sinks.wall: unknown key 'strems', did you mean 'streams'?",
    ),
    "unknown key of a sink in a list": (
        "sinks:\n- a.mp4\n- url: b.mp4\n  strems: [a]\n",
        "street.yaml:4: sinks[1]: unknown key 'strems', did you mean 'streams'?",
    ),
    "unknown key of a source": (
        "sources:\n  a:\n    url: x\n    evry: 2\n",
        "street.yaml:4: sources.a: unknown key 'evry', did you mean 'every'?",
    ),
    "unknown key of the model": (
        "model: {path: m,\n  device: CPU,\n  maxdet: 3}\n",
        "street.yaml:3: model: unknown key 'maxdet', did you mean 'max_det'?",
    ),
    "unknown key like no other": (
        "sinks: {wall: {url: a.mp4, zzz: 1}}\n",
        "street.yaml:1: sinks.wall: unknown key 'zzz', would be one of url, streams",
    ),
    "merge key": ("a: &a {loop: true}\n", "street.yaml:1: unknown key 'a', would be one of sources, model,"),
    "missing url": (
        "sinks:\n  wall: {streams: [a]}\n",
        "street.yaml:2: sinks.wall: no 'url', would have 'url: ...'",
    ),
    "conf above 1": ("\nmodel:\n  conf: 1.5\n", "street.yaml:3: model.conf: 1.5, would be at most 1"),
    "conf below 0": ("model:\n  conf: -0.1\n", "street.yaml:2: model.conf: -0.1, would be at least 0"),
    "conf not a number": ("model:\n  conf: high\n", "street.yaml:2: model.conf: 'high', would be a number"),
    "conf nan": ("model: {conf: .nan}\n", "street.yaml:1: model.conf: nan, would be a number"),
    "batch as text": ("model:\n  batch: '2'\n", "street.yaml:2: model.batch: '2', would be a whole number"),
    "batch as fraction": (
        "model: {batch: 2.5}\n",
        "street.yaml:1: model.batch: 2.5, would be a whole number",
    ),
    "batch of less than nothing": (
        "model: {batch: -1}\n",
        "street.yaml:1: model.batch: -1, would be at least 0",
    ),
    "precision misspelt": (
        "model: {precision: fp61}\n",
        "street.yaml:1: model.precision: 'fp61', did you mean 'fp16'?",
    ),
    "suppression unknown": (
        "model: {nms: weighted}\n",
        "street.yaml:1: model.nms: 'weighted', would be one of greedy, soft, soft-linear, diou, fast, mask",
    ),
    "precision unknown": (
        "model: {precision: double}\n",
        "street.yaml:1: model.precision: 'double', would be one of auto, fp32, bf16, fp16, int8",
    ),
    "backend misspelt": (
        "model: {backend: openvno}\n",
        "street.yaml:1: model.backend: 'openvno', did you mean 'openvino'?",
    ),
    "requests below 0": ("model: {requests: -1}\n", "street.yaml:1: model.requests: -1, would be at least 0"),
    "classes as a word": (
        "model: {classes: person}\n",
        "street.yaml:1: model.classes: 'person', would be a list",
    ),
    "class of no kind": (
        "model:\n  classes:\n  - a\n  - [b]\n",
        "street.yaml:4: model.classes[1]: ['b'], would be text",
    ),
    "model without a value": ("model:\n", "street.yaml:1: model: empty, would be a path, or a mapping"),
    "model as a list": ("model: [a]\n", "street.yaml:1: model: ['a'], would be a path, or a mapping"),
    "overlay as text": ("overlay: 'yes'\n", "street.yaml:1: overlay: 'yes', would be true or false"),
    "overlay without a value": ("overlay:\n", "street.yaml:1: overlay: empty, would be true or false"),
    "endless seconds": ("seconds: .inf\n", "street.yaml:1: seconds: inf, would be a number"),
    "no seconds": ("seconds: 0\n", "street.yaml:1: seconds: 0, would be more than 0"),
    "true is no number": ("frames: true\n", "street.yaml:1: frames: true, would be a whole number"),
    "no sources": ("sources: {}\n", "street.yaml:1: sources: empty, would be a mapping of names to URLs"),
    "sources as a list": (
        "sources:\n- a.mp4\n",
        "street.yaml:1: sources: ['a.mp4'], would be a mapping of names",
    ),
    "source of no kind": (
        "sources:\n  a: 3.5\n",
        "street.yaml:2: sources.a: 3.5, would be a URL, or a mapping",
    ),
    "source without a value": (
        "sources:\n  a:\n",
        "street.yaml:2: sources.a: empty, would be a URL, or a mapping",
    ),
    "empty url": ("sources:\n  a: ''\n", "street.yaml:2: sources.a: empty, would be text"),
    "sinks as a word": (
        "sinks: a.mp4\n",
        "street.yaml:1: sinks: 'a.mp4', would be a list of URLs, or a mapping",
    ),
    "duplicate key": (
        "sources:\n  a: x\n  a: y\n",
        "street.yaml:3: key 'a' again, it already stands on line 2",
    ),
    "not a mapping": ("- a\n- b\n", "street.yaml:1: not a mapping, would begin with 'sources:'"),
    "key of no kind": ("[a]: 1\n", "street.yaml:1: a key that is not a word, would be 'key: value'"),
    "empty file": ("", "street.yaml: empty, would hold sources, model and sinks"),
    "only a comment": ("# later\n", "street.yaml: empty, would hold sources, model and sinks"),
    "tab": ("sources:\n\ta: x\n", "street.yaml:2: YAML: found a tab that cannot start any token"),
    "open bracket": ("sources: {a: x\nmodel: m\n", "street.yaml:2: YAML: expected ',' or '}'"),
    "control character": ("a: 1\nb: \x01\n", "street.yaml:2: a control character, would be plain text"),
    "two documents": ("a: 1\n---\nb: 2\n", "street.yaml:2: YAML: but found another document"),
    "unknown tag": (
        "model: !python x\n",
        "street.yaml:1: YAML: could not determine a constructor for the tag",
    ),
    "date that is none": ("model: 2024-13-41\n", "street.yaml:1: '2024-13-41': month must be in 1..12"),
    "aliases of aliases": (
        "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in pairwise("abcdefgh")),
        "street.yaml:1: more than 100000 values with all that aliases repeat",
    ),
    "alias to itself": ("sources: &a {b: *a}\n", "street.yaml:1: an alias that holds itself"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_named_with_its_line_and_what_would_be_right(tmp_path: Path, case: str) -> None:
    text, said = MISTAKES[case]
    found = complaint(tmp_path, text)
    assert found.startswith(said)
    assert "\n" not in found


def test_every_mistake_is_named_in_the_order_of_the_lines(tmp_path: Path) -> None:
    text = "frames: -1\nmodel:\n  path: m\n  conf: 7\nsources:\n  a: {url: x, every: no}\noops: 1\n"
    lines = complaint(tmp_path, text).splitlines()
    assert [line.split(":")[1] for line in lines] == ["1", "4", "6", "7"]


def test_the_secret_of_a_url_is_not_repeated(tmp_path: Path) -> None:
    found = complaint(tmp_path, "sources: [rtsp://user:secret@camera/1]\n")
    assert "secret" not in found
    assert "camera" in found


@pytest.mark.parametrize(
    "text",
    [
        "sources: {rtsp://me:hush@cam/1: }",
        "sources: {rtsp://me:hush@cam/1: rtsp://cam/1}",
        "sources: {a: {rtsp://me:hush@cam/1: 3}}",
        "rtsp://me:hush@cam/1: 3",
        "sources: {a: x.mp4}\ntrack: rtsp://me:hush@cam/1",
        "sources: {a: x.mp4}\nkey_interval: rtsp://me:hush@cam/1",
        "sources: {a: x.mp4}\nsinks: {b: {url: b.mp4, streams: [rtsp://me:hush@cam/1]}}",
        "rtsp://me:hush@cam/1: 3\nrtsp://me:hush@cam/1: 3",
    ],
)
def test_a_url_in_the_place_of_another_thing_shows_no_secret(tmp_path: Path, text: str) -> None:
    found = complaint(tmp_path, text)
    assert "hush" not in found
    assert "street.yaml:" in found


@pytest.mark.parametrize(
    ("name", "said"),
    [("absent.yaml", "absent.yaml: No such file"), ("", "Is a directory")],
    ids=["missing", "directory"],
)
def test_an_unreadable_file_is_named(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        load(tmp_path / name)


@pytest.mark.parametrize("text", ["[" * 5000, "sources: " + "{a: " * 300 + "1" + "}" * 300])
def test_a_file_that_is_nested_too_deep_is_refused(tmp_path: Path, text: str) -> None:
    assert complaint(tmp_path, text).startswith("street.yaml:")


def test_a_binary_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "street.yaml"
    path.write_bytes(b"sources: \xff\xfe")
    with pytest.raises(InputError, match="not UTF-8 at byte 9"):
        load(path)
