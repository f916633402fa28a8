"""Finding models: by path, by card, by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engines
from engines import locate as module
from engines.cards import read_card
from engines.errors import InputError
from engines.locate import locate
from engines.network import read_network

OUTPUTS = {"boxes": np.zeros((1, 9, 4), np.float32), "scores": np.zeros((1, 9, 80), np.float32)}
CARDS = sorted((Path(__file__).parents[2] / "configs" / "models").glob("*.yaml"))


@pytest.mark.parametrize("spec", engines.models(), ids=lambda spec: spec.name)
def test_every_shipped_model_is_found_and_describes_itself(spec: engines.ModelSpec) -> None:
    assert locate(spec.name).model.name.partition(".")[0] == spec.name
    learnt = dict(reason.split(": ", 1) for reason in spec.reasons)
    assert {learnt[key] for key in ("task", "classes", "layout", "size")} == {"metadata of the file"}


def test_something_is_shipped() -> None:
    assert "tiny-yolo" in [spec.name for spec in engines.models()]


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.stem)
def test_every_card_of_the_checkout_is_right(card: Path) -> None:
    values = read_card(card).values
    assert {"layout", "task"} <= values.keys()


def test_a_card_of_the_checkout_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "_CARDS", tmp_path)
    (tmp_path / "street.yaml").write_text("model: street_v2.onnx\n")
    (tmp_path / "street_v2.onnx").touch()
    found = locate("street")
    assert (found.model, found.card) == (tmp_path / "street_v2.onnx", tmp_path / "street.yaml")


def test_the_card_beside_a_file_goes_with_it(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").touch()
    assert locate(tmp_path / "a.onnx").card is None
    (tmp_path / "a.yml").touch()
    assert locate(tmp_path / "a.onnx").card == tmp_path / "a.yml"


TRAINING = "name: a\nsize: [96, 64]\nval_every: 1\ndata: {train: 4}\n"


@pytest.mark.parametrize("text", [TRAINING, "name: a\nmodel:\n  arch: yolo\n", "name: a\nmodel: {neck: 8}\n"])
def test_the_training_file_beside_its_model_is_no_card(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.onnx").touch()
    (tmp_path / "a.yaml").write_text(text)
    assert locate(tmp_path / "a.onnx").card is None
    with pytest.raises(InputError, match=r"a\.yaml: a training file, the \.onnx file .* is needed"):
        locate(tmp_path / "a.yaml")


def test_a_card_may_describe_the_training_file_s_model(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").touch()
    (tmp_path / "a.yaml").write_text(TRAINING)
    (tmp_path / "a.yml").write_text("model: a.onnx\nconf: 0.5\n")
    assert locate(tmp_path / "a.onnx").card == tmp_path / "a.yml"


def test_a_known_file_is_known_under_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hashlib import sha256

    from engines import locate as module

    cards = tmp_path / "cards"
    cards.mkdir()
    monkeypatch.setattr(module, "_CARDS", cards)
    (tmp_path / "renamed.onnx").write_bytes(b"weights")
    (cards / "other.yaml").write_text("name: other\n")
    assert locate(tmp_path / "renamed.onnx").card is None
    (cards / "net.yaml").write_text(f"name: net\nsha256: {sha256(b'weights').hexdigest()}\n")
    assert locate(tmp_path / "renamed.onnx").card == cards / "net.yaml"
    (tmp_path / "renamed.yaml").touch()
    assert locate(tmp_path / "renamed.onnx").card == tmp_path / "renamed.yaml", "the nearer card comes first"


REFUSED = {
    "a name nearly right": (
        "tiny-yolo8",
        "'tiny-yolo8': no model of this name, did you mean 'tiny-yolo'?; known: ",
    ),
    "a missing file": ("nowhere/model.onnx", "nowhere/model.onnx: no such file"),
    "a missing card": ("card.yaml", "card.yaml: no such file"),
    "a folder": (".", "a folder, the path of an .onnx or .xml file"),
    "no name": ("", "model: '', the path of an .onnx or .xml file"),
    "nothing": (None, "model: None, the path of an .onnx or .xml file"),
    "bytes": (b"model.onnx", "model: b'model.onnx', the path of"),
}


@pytest.mark.parametrize(("model", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_not_there_is_refused(
    model: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as refusal:
        locate(model)
    assert said in str(refusal.value)


DENIED = {
    "the model": ("read_bytes", "a.onnx"),
    "a model with a card": ("open", "a.onnx"),
    "its card": ("read_text", "a.yaml"),
    "its folder": ("stat", "a.onnx"),
}


@pytest.mark.parametrize(("method", "name"), DENIED.values(), ids=DENIED)
def test_what_this_user_cannot_read_is_refused(
    method: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.onnx").write_bytes(b"weights")
    if method != "read_bytes":
        (tmp_path / "a.yaml").write_text("conf: 0.3\n")
    real = getattr(Path, method)

    def denied(path: Path, *arguments: object, **named: object) -> object:
        if path.name == name:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *arguments, **named)

    monkeypatch.setattr(Path, method, denied)
    with pytest.raises(InputError) as refusal:
        locate(tmp_path / "a.onnx")
    assert (
        str(refusal.value)
        == f"model: {tmp_path / name}: Permission denied, a file that can be read is needed"
    )


def test_a_name_beyond_what_a_system_takes_is_refused() -> None:
    with pytest.raises(InputError, match="File name too long, a file that can be read is needed"):
        locate("a" * 300 + ".onnx")


@pytest.mark.parametrize("start", ["first", "again"])
def test_a_model_is_read_as_few_times_as_can_be(
    start: str, saved: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once to know it by its content; a second time to compose what is not in the cache."""
    path = saved(OUTPUTS, metadata={"test": f"read, {start}"})
    if start == "again":
        engines.load(path).close()
    read: list[Path] = []

    def reading(self: Path) -> bytes:
        read.append(self)
        with self.open("rb") as file:
            return file.read()

    monkeypatch.setattr(Path, "read_bytes", reading)
    engines.load(path).close()
    assert read.count(path) == {"first": 2, "again": 1}[start]


def test_a_file_that_changes_while_it_is_read_is_not_kept(
    saved: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under the first content's name the second one's composition would be found ever after."""
    path = saved(OUTPUTS, metadata={"test": "first"})

    def reading(where: Path) -> Any:
        saved(OUTPUTS, metadata={"test": "second, meanwhile"})
        return read_network(where)

    monkeypatch.setattr("engines.network.read_network", reading)
    with pytest.raises(
        engines.WorkError, match=r"model\.onnx: it was changed while it was read, start again"
    ):
        engines.load(path)
