"""Weights outside of their file: read from the model's own folder, whatever their name, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from engines.errors import InputError
from engines.external import files_beside
from engines.locate import locate
from engines.network import read_network

OUTPUTS = {"boxes": np.zeros((1, 9, 4), np.float32), "scores": np.zeros((1, 9, 2), np.float32)}
Make = Callable[[str], Path]


@pytest.fixture
def outside(network: Callable[..., Any], tmp_path: Path) -> Make:
    """Saves a model whose weights are in a file of this name; returns the model's path."""

    def make(location: str) -> Path:
        path = tmp_path / "big.onnx"
        options = {"save_as_external_data": True, "location": location, "size_threshold": 0}
        onnx.save_model(network(OUTPUTS), str(path), **options)
        return path

    return make


def renamed(path: Path, name: str) -> None:
    """Write another name for the file of weights into a model."""
    model = onnx.load(str(path), load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = name
    path.write_bytes(model.SerializeToString())


def check(path: Path) -> None:
    stored = read_network(path).model.graph.initializer
    assert stored
    assert all(tensor.raw_data and not tensor.external_data for tensor in stored)
    assert len(files_beside(path, path.read_bytes())) == 1
    assert set(files_beside(path, path.read_bytes())) <= set(locate(path).sources)


@pytest.mark.parametrize("name", ["big.onnx.data", "big.onnx_data", "other.bin"])
def test_weights_in_the_folder_of_the_model_are_read(name: str, outside: Make) -> None:
    check(outside(name))


def test_weights_are_read_through_links(outside: Make, tmp_path: Path) -> None:
    """As Hugging Face's cache lays them: both files are links to blobs elsewhere."""
    path = outside("big.onnx_data")
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshot"
    blobs.mkdir()
    snapshot.mkdir()
    for number, file in enumerate((path, path.with_name("big.onnx_data"))):
        file.rename(blobs / str(number))
        (snapshot / file.name).symlink_to(blobs / str(number))
    check(snapshot / "big.onnx")


def test_weights_are_read_beside_what_the_model_is_a_link_to(outside: Make, tmp_path: Path) -> None:
    path = outside("big.onnx.data")
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "short.onnx"
    link.symlink_to(path)
    check(link)


@pytest.mark.parametrize("name", ["../big.onnx.data", "/etc/hostname", "in/../../big.onnx.data", ""])
def test_weights_elsewhere_are_refused(name: str, outside: Make) -> None:
    path = outside("big.onnx.data")
    renamed(path, name)
    with pytest.raises(InputError, match="only files in the model's own folder are read"):
        read_network(path)
    assert files_beside(path, path.read_bytes()) == []


def test_weights_that_are_missing_or_short_are_named(outside: Make) -> None:
    path = outside("big.onnx.data")
    beside = path.with_name("big.onnx.data")
    whole = beside.read_bytes()
    beside.write_bytes(whole[:-1])
    with pytest.raises(InputError, match=rf"'big.onnx.data' ends at byte {len(whole) - 1} of {len(whole)}"):
        read_network(path)
    beside.unlink()
    with pytest.raises(InputError, match=r"'big.onnx.data' is missing beside the file, copy it there"):
        read_network(path)
