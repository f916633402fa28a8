"""Compilation: from the user's word for a model to a spec and an engine that has shown that it is right."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engines import cache
from engines.backends import Build, opener, select_backend
from engines.engine import Engine
from engines.locate import Located, locate
from engines.options import Options
from engines.spec import ModelSpec

__all__ = ["Compiled", "compile_model"]


@dataclass(frozen=True, slots=True)
class Compiled:
    """What `engines.model.Model` is made of."""

    spec: ModelSpec
    engine: Engine
    notes: tuple[str, ...]  # what was chosen and why


def compile_model(model: str | Path, options: Options) -> Compiled:
    """Find, understand, compose and compile a model; what was done before comes from the cache."""
    backend, why = select_backend(options.backend)
    located = locate(model)
    entry = cache.entry(located.sources, options)
    spec = entry.spec() or _compose(located, options, entry)
    build = Build(entry.model, options.device, options.precision, options.batch, options.requests)
    engine = opener(backend)(build)
    return Compiled(spec, engine, (f"backend {backend}: {why}",))


def _compose(located: Located, options: Options, entry: cache.Entry) -> ModelSpec:
    from engines.compose import compose
    from engines.network import read_network
    from engines.resolve import resolve

    network, spec = resolve(read_network(located.model), located)
    composed = compose(network, spec, options)
    entry.store(composed.SerializeToString(), spec)
    return spec
