"""Metadata: what a file says of itself is read as its producer meant it, or refused in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from engines.description import describe
from engines.errors import InputError
from engines.metadata import read

THEIRS = {"task": "detect", "names": "{0: 'cat', 1: 'dog'}", "imgsz": "[32, 64]", "stride": "32"}
TWELVE = tuple(f"name{number}" for number in range(12))

NAMES = {
    "a dict": ("{0: 'a', 1: 'b'}", ("a", "b")),
    "a list": ("['a', 'b']", ("a", "b")),
    "numbers as texts, in the order of the numbers": (
        "{" + ", ".join(f'"{number}": "name{number}"' for number in range(12)) + "}",
        TWELVE,
    ),
    "JSON with what Python writes otherwise": ('{"0": "a", "1": "b\\/c"}', ("a", "b/c")),
    "gaps": ("{0: 'a', 1: 'b', 5: 'c'}", ("a", "b", "class_2", "class_3", "class_4", "c")),
    "names that are numbers": ("{0: 7, 1: 8}", ("7", "8")),
    "numbers of both kinds": ("{0: 'a', '1': 'b'}", ("a", "b")),
}


@pytest.mark.parametrize(("text", "names"), NAMES.values(), ids=NAMES.keys())
def test_names_are_those_of_their_numbers(text: str, names: tuple[str, ...]) -> None:
    assert read(THEIRS | {"names": text}, "x.onnx").values["classes"] == names


@pytest.mark.parametrize(
    ("text", "size"), [("320", (320, 320)), ("[320]", (320, 320)), ("[32, 64]", (64, 32))]
)
def test_one_side_stands_for_both(text: str, size: tuple[int, int]) -> None:
    assert read(THEIRS | {"imgsz": text}, "x.onnx").values["size"] == size


LAYOUTS = {
    "suppression inside": ({"args": "{'nms': True}"}, "ultralytics-end2end"),
    "a head that needs none": ({"end2end": "True"}, "ultralytics-end2end"),
    "a head that would need none, not used": ({"end2end": "False", "args": "{'nms': None}"}, None),
    "queries": ({"head": "RTDETRDecoder", "end2end": "True"}, "ultralytics-rtdetr"),
}


@pytest.mark.parametrize(("words", "layout"), LAYOUTS.values(), ids=LAYOUTS.keys())
def test_rows_that_need_no_suppression_are_told_by_their_words(words: dict, layout: str | None) -> None:
    assert read(THEIRS | words, "x.onnx").values.get("layout") == layout


DAMAGED = {  # what is said -> what is answered, the line of a card that stands above it
    "names: a text": ({"names": "person"}, "metadata 'names': 'person', names by number", "classes"),
    "names: a number": ({"names": "12"}, "metadata 'names': '12', names by number", "classes"),
    "names: nothing": ({"names": "{}"}, "metadata 'names': '{}', names by number", "classes"),
    "names: a null": ({"names": '{"0": "a", "1": null}'}, "metadata 'names': ", "classes"),
    "names: keys that are no numbers": ({"names": "{0: 'a', 'b': 'c'}"}, "metadata 'names': ", "classes"),
    "names: a number below zero": ({"names": "{-1: 'a'}"}, "metadata 'names': ", "classes"),
    "names: a number beyond all": ({"names": "{999999999: 'a'}"}, "metadata 'names': ", "classes"),
    "names: far too many beside the first": (
        {"names": "{0: 'a', 999999999: 'b'}"},
        "metadata 'names': ",
        "classes",
    ),
    "names: one number twice": ({"names": "{0: 'a', '0': 'b'}"}, "metadata 'names': ", "classes"),
    "imgsz: a text": ({"imgsz": "big"}, "metadata 'imgsz': 'big', [height, width] in pixels", "size"),
    "imgsz: three sides": ({"imgsz": "[1, 2, 3]"}, "metadata 'imgsz': '[1, 2, 3]'", "size"),
    "args: a text": ({"args": "yes please"}, "metadata 'args': 'yes please', a dict", "layout"),
    "kpt_shape: a number": (
        {"task": "pose", "kpt_shape": "17"},
        "metadata 'kpt_shape': '17', [keypoints, values of each]",
        "keypoints",
    ),
    "task: another": ({"task": "obb"}, "task: 'obb', one of detect", "task"),
    "ours: a list": ({"streamer": "[1]"}, "metadata 'streamer': '[1]', an object of facts", "layout"),
    "ours: out of its range": (
        {"streamer": '{"pad": 300}'},
        "metadata 'streamer': pad: 300, 0 to 255",
        "pad",
    ),
    "ours: no JSON": ({"streamer": "{"}, "metadata 'streamer': not JSON", "layout"),
}


@pytest.mark.parametrize(("words", "said", "key"), DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_entry_is_refused_unless_a_card_stands_above_it(words: dict, said: str, key: str) -> None:
    with pytest.raises(InputError) as refusal:
        read(THEIRS | words, "x.onnx")
    assert str(refusal.value).startswith("x.onnx: ")
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert key not in read(THEIRS | words, "x.onnx", {key}).values


def test_a_card_saves_a_file_of_damaged_names(saved: Callable[..., Path]) -> None:
    cells = 8 * 4 + 4 * 2 + 2 * 1
    path = saved({"output0": np.zeros((1, 6, cells), np.float32)}, metadata=THEIRS | {"names": "person"})
    with pytest.raises(InputError, match="metadata 'names': 'person'"):
        describe(path)
    path.with_suffix(".yaml").write_text("classes: [a, b]\n")
    assert describe(path).spec.classes == ("a", "b")
