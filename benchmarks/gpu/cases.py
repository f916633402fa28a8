"""Cases: what a GPU host needs to know of a model, written where there is ONNX and ONNX Runtime.

A folder for each model holds its spec, three pictures and what ONNX Runtime gives for them in fp32, and for
each batch the composed graph in fp32 and its fp16 twin. Reading it takes numpy alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from engines.metadata import from_json, to_json
from engines.parity import Tensors
from engines.spec import ModelSpec

__all__ = ["PRECISIONS", "Case", "cases", "prepare"]

PRECISIONS = ("fp32", "fp16")
_PICTURES = 3


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One graph to build and run."""

    spec: ModelSpec
    graph: Path  # ONNX
    precision: str
    batch: int
    pictures: NDArray[np.uint8]  # (3, H, W, 3) of the model's size
    expected: list[Tensors]  # of each picture, by ONNX Runtime in fp32; then of what follows each, see `Pair`
    between: Path | None = None  # of a model for video, the graph for frames between key frames


def prepare(model: str | Path, batches: tuple[int, ...], folder: Path) -> None:
    """Write the cases of one model. Raises InputError as `engines.load` does."""
    import onnx

    from engines.compose import compose
    from engines.half import halve
    from engines.locate import locate
    from engines.network import read_network
    from engines.options import Options
    from engines.parity import pictures
    from engines.resolve import resolve, resolve_between

    located = locate(model)
    read = read_network(located.model)
    network, spec = resolve(read, located)
    graphs = {"": network, "between": resolve_between(read, spec, located)}
    place = folder / spec.name
    place.mkdir(parents=True, exist_ok=True)
    images = np.stack(pictures(spec.size, _PICTURES))
    options = Options(backend="onnxruntime", precision="fp32", requests=1)
    found = _expected(model, options, images)
    np.savez_compressed(place / "pictures.npz", pictures=images)
    expected: dict[str, Any] = {name: np.stack([one[name] for one in found]) for name in found[0]}
    np.savez_compressed(place / "expected.npz", **expected)
    (place / "spec.json").write_text(to_json(spec), encoding="utf-8")
    for name, each in graphs.items():
        if each is None:
            continue
        (place / name).mkdir(exist_ok=True)
        for batch in batches:
            graph = compose(each, spec, replace(options, batch=batch))["model.onnx"]
            (place / name / f"b{batch}-fp32.onnx").write_bytes(graph)
            twin = halve(onnx.load_model_from_string(graph), "fp16")
            (place / name / f"b{batch}-fp16.onnx").write_bytes(twin.SerializeToString())


def cases(folder: Path) -> list[Case]:
    """Read all cases of a folder, model by model, the smallest batch first."""
    found = []
    for place in sorted(path.parent for path in folder.glob("*/spec.json")):
        spec = from_json((place / "spec.json").read_text(encoding="utf-8"))
        images = np.load(place / "pictures.npz")["pictures"]
        stored = np.load(place / "expected.npz")
        arrays = {name: stored[name] for name in stored.files}
        count = len(arrays["scores"])
        expected = [{name: values[row] for name, values in arrays.items()} for row in range(count)]
        for graph in sorted(place.glob("b*-*.onnx"), key=_order):
            batch, precision = _order(graph)
            other = place / "between" / graph.name
            between = other if other.exists() else None
            found.append(Case(spec, graph, precision, batch, images, expected, between))
    return found


def _expected(model: str | Path, options: Any, images: NDArray[np.uint8]) -> list[Tensors]:
    import engines
    from engines.engine import StateEngine
    from engines.parity import Pair

    with engines.load(model, options) as witness:
        between = cast("StateEngine", witness.video.between.engine) if witness.video else None
        found = Pair(witness.engine, between).outputs(list(images))
    known = found[0].keys()
    return [{name: tensor[name] for name in known} for tensor in found]


def _order(graph: Path) -> tuple[int, str]:
    batch, _, precision = graph.stem.partition("-")
    return int(batch[1:]), precision
