"""Results: the stages between the engine and what shows or writes: further models, tracks, lines, privacy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from engines.spec import ModelSpec
from streamer.graph import Graph, Node, Stage
from streamer.privacy import privacy
from streamer.settings import Settings
from streamer.sinks import sink_kind

if TYPE_CHECKING:
    from engines.model import Model
    from streamer.analytics.desk import Desk

__all__ = ["Results", "results"]


@dataclass(slots=True, eq=False)
class Results:
    """Where complete frames come from, and what they hold."""

    tail: Node
    spec: ModelSpec  # of all models together
    models: list[Model] = field(default_factory=list)  # further ones, to be closed
    desk: Desk | None = None  # lines and zones as they are now; they need a tracker


def results(graph: Graph, collect: Node, settings: Settings, spec: ModelSpec) -> Results:
    """Add the stages that are wanted behind the one that collects.

    Raises:
        InputError: a further model cannot be used, or a line or zone names a class that there is not.
    """
    made = Results(collect, spec)
    try:
        _further(graph, made, settings)
        if settings.track:
            _track(graph, made, settings.track)
            _watch(graph, made, settings)
        if settings.hide:
            _append(graph, made, "hide", privacy(settings.hide, made.spec))
    except BaseException:
        for model in made.models:
            model.close()
        raise
    return made


def _further(graph: Graph, made: Results, settings: Settings) -> None:
    if not settings.then:
        return
    import engines
    from engines.cascade import together
    from streamer.then import options_for, then

    for number, told in enumerate(settings.then, 1):
        model = engines.load(told.model, options_for(told, settings.options))
        made.models.append(model)
        _append(graph, made, f"then:{number}", then(model, told, made.spec))
        made.spec = together(made.spec, model.spec)


def _track(graph: Graph, made: Results, told: str) -> None:
    from streamer.trackers import open_tracker
    from streamer.tracking import track

    _append(graph, made, "track", track(lambda: open_tracker(told)))


def _watch(graph: Graph, made: Results, settings: Settings) -> None:
    """Watch lines and zones, if there are any, or a sink where some can be drawn."""
    plan = settings.analytics
    if not plan and not any(sink_kind(sink.url).attends for sink in settings.sinks):
        return
    from streamer.analytics.desk import Desk
    from streamer.analytics.watch import watch

    desk = made.desk = Desk(plan, made.spec.classes, settings.file)
    _append(graph, made, "watch", watch(lambda: desk.plan, made.spec.classes))


def _append(graph: Graph, made: Results, name: str, stage: Stage) -> None:
    node = graph.stage(name, stage)
    graph.connect(made.tail, node)
    made.tail = node
