"""The rendered pictures that a model is measured on, as it is used: whole scenes, or one person in each."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from engines.errors import InputError, nearest
from trainers.config import Config
from trainers.data.batch import Sample
from trainers.data.crops import people
from trainers.data.dataset import open_dataset
from trainers.data.scenes import SEEDS, render_scenes
from trainers.evaluate import Report, evaluate, opened, task_of

__all__ = ["examine", "examine_labels", "pck", "rendered"]

_SIZE = (640, 360)


def examine(model: str | Path, pictures: int, split: str, *, held_out: bool) -> Report:
    """Measure a checkpoint or a model file on rendered pictures; split is a key of `SEEDS`.

    Of a model that sees one person at a time, the boxes are the crops and say nothing: its report has the
    keypoints' AP, and as ``pck`` the share of keypoints within a tenth of the person's longer side.
    """
    return _report(model, rendered(model, pictures, SEEDS[split], held_out=held_out))


def examine_labels(model: str | Path, config: Config) -> Report:
    """Measure a checkpoint or a model file on the val pictures of a training file.

    Classes are matched by name; InputError for one that the model does not know. Of a model that sees one
    person at a time it is the people in them, as of `examine`.
    """
    if size := _one_person(model):
        single = config.data.model_copy(update={"people": True})
        config = config.model_copy(update={"size": size, "data": single})
    dataset = open_dataset(config)
    with opened(model) as (_, classes):
        for name in dataset.classes:
            if name not in classes:
                raise InputError(
                    f"data.classes: {name!r} is none that {model} knows: {', '.join(classes[:10])}"
                    f"{nearest(name, classes)}"
                )
        index = np.array([classes.index(name) for name in dataset.classes])
    _, val = dataset.samples(task_of(model), lambda done: None)
    return _report(model, [replace(sample, classes=index[sample.classes]) for sample in val])


def _report(model: str | Path, samples: list[Sample]) -> Report:
    report = evaluate(model, samples)
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


def pck(model: str | Path, samples: list[Sample], within: float = 0.1) -> float:
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
