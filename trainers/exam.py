"""The rendered pictures that a model is measured on, as it is used: whole scenes, or one person in each."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from engines.errors import InputError, nearest
from trainers.config import Config
from trainers.data.batch import Sample
from trainers.data.crops import people
from trainers.data.dataset import open_dataset
from trainers.data.scenes import CLASSES, SEEDS, render_scenes
from trainers.evaluate import Report, classes_of, evaluate, opened, task_of

__all__ = ["examine", "examine_labels", "pck", "rendered"]

_SIZE = (640, 360)
_ALSO = {"ball": "sports ball"}  # what COCO calls a class of the scenes


def examine(model: str | Path, pictures: int, split: str, *, held_out: bool) -> Report:
    """Measure a checkpoint or a model file on rendered pictures; split is a key of `SEEDS`.

    Classes are matched by name, COCO's sports ball with the scenes' ball; only those that the model knows are
    measured. InputError where it knows none. Of a model that sees one person at a time, the boxes are the
    crops and say nothing: its report has the keypoints' AP, and as ``pck`` the share of keypoints within a
    tenth of the person's longer side.
    """
    known = classes_of(model)
    names = [name if name in known else _ALSO.get(name, "") for name in CLASSES]
    shared = [number for number, name in enumerate(names) if name in known]
    if not shared:
        raise InputError(
            f"{model}: its classes, {', '.join(known[:5])}, are none of the scenes': {', '.join(CLASSES)}; "
            "--data with a training file of your own pictures is right"
        )
    place = np.full(len(CLASSES), -1)
    place[shared] = np.arange(len(shared))
    samples = [
        replace(sample, classes=place[sample.classes]).take(place[sample.classes] >= 0)
        for sample in rendered(model, pictures, SEEDS[split], held_out=held_out)
    ]
    return _report(model, samples, [names[number] for number in shared])


def examine_labels(model: str | Path, config: Config) -> Report:
    """Measure a checkpoint or a model file on the val pictures of a training file, as large as they are.

    Classes are matched by name, those of the labels are measured; InputError for one that the model does not
    know. Of a model that sees one person at a time it is the people in them, as of `examine`.
    """
    if size := _one_person(model):
        single = config.data.model_copy(update={"people": True})
        config = config.model_copy(update={"size": size, "data": single})
    dataset = open_dataset(config, longest=0)
    known = classes_of(model)
    for name in dataset.classes:
        if name not in known:
            raise InputError(
                f"data.classes: {name!r} is none that {model} knows: {', '.join(known[:10])}"
                f"{nearest(name, known)}"
            )
    _, val = dataset.samples(task_of(model), lambda done: None)
    return _report(model, val, dataset.classes)


def _report(model: str | Path, samples: Sequence[Sample], names: Sequence[str]) -> Report:
    report = evaluate(model, samples, names)
    if not _one_person(model):
        return report
    share = pck(model, samples)
    return Report(*report.parts["keypoints"], {}, len(samples), {**report.parts, "pck": (share, share)})


def rendered(model: str | Path, count: int, first_seed: int, *, held_out: bool) -> list[Sample]:
    """Render what the model is measured on, with the masks or keypoints that it gives."""
    samples = render_scenes(
        count, first_seed, max(_SIZE), held_out=held_out, fixed=_SIZE, task=task_of(model)
    )
    size = _one_person(model)
    return people(samples, size, count) if size else samples


def pck(model: str | Path, samples: Sequence[Sample], within: float = 0.1) -> float:
    """Return the share of labelled keypoints that are found within that part of their box's longer side."""
    hits = known = 0
    with opened(model) as (predict, _):
        for sample in samples:
            found = predict([sample.image])[0]
            labelled = sample.keypoints[0, :, 2] > 0
            known += int(labelled.sum())
            if len(found):
                away = np.linalg.norm(found.keypoints[0, :, :2] - sample.keypoints[0, :, :2], axis=1)
                longer = float((sample.boxes[0, 2:] - sample.boxes[0, :2]).max())
                hits += int(((away <= within * longer) & labelled).sum())
    return hits / max(known, 1)


def _one_person(model: str | Path) -> tuple[int, int] | None:
    """Return the (width, height) of the crops that a top-down model sees; None for any other."""
    if Path(model).suffix == ".pt":
        from trainers.checkpoints import load, network

        net, config = network(load(model))
        return config.size if getattr(net, "layout", "") == "heatmaps" else None
    import engines

    with contextlib.closing(engines.load(model)) as loaded:
        return loaded.spec.size if loaded.spec.layout == "heatmaps" else None
