"""Section: the lines and zones in a pipeline file, rewritten in place; all around them stays as it is."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Any

import yaml

from engines.errors import InputError, WorkError
from streamer.analytics.desk import told
from streamer.analytics.plan import Plan

__all__ = ["keep", "spelled"]

KEY = "analytics"


def keep(path: Path, plan: Plan) -> None:
    """Write a plan into a pipeline file: its text outside of `analytics:`, comments too, is not touched.

    The file is replaced in one step, and only by one that reads back as this plan.

    Raises:
        WorkError: it cannot be read, written, or changed in this way; it is as it was.
    """
    from streamer.config import load

    path = Path(os.path.realpath(path))
    try:
        text = path.read_text(encoding="utf-8")
        made = _rewritten(text, plan)
        draft = _write_beside(path, made)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        why = getattr(error, "strerror", None) or "not a YAML text file any more"
        raise WorkError(f"{path.name}: lines and zones cannot be kept: {why}") from error
    try:
        if load(draft).analytics.plan() != plan:
            raise WorkError(
                f"{path.name}: lines and zones cannot be kept: its '{KEY}' is not a plain mapping"
            )
        os.replace(draft, path)
    except (InputError, OSError) as error:
        why = str(error).replace(str(draft), path.name)
        raise WorkError(f"{path.name}: lines and zones cannot be kept: {why}") from error
    finally:
        with contextlib.suppress(OSError):
            os.unlink(draft)


def _rewritten(text: str, plan: Plan) -> str:
    rows = text.splitlines()
    root = yaml.compose(text, yaml.SafeLoader)
    start = end = len(rows)
    others: dict[str, Any] = {}
    for key, value in root.value if isinstance(root, yaml.MappingNode) else ():
        if key.value == KEY:
            start, end = key.start_mark.line, _last_line(value) + 1
            known = (yaml.safe_load(text) or {}).get(KEY)
            others = {name: part for name, part in (known or {}).items() if name not in ("lines", "zones")}
    return "\n".join([*rows[:start], *spelled(plan, others), *rows[end:]]) + "\n"


def spelled(plan: Plan, others: dict[str, Any]) -> list[str]:
    """Return lines and zones, and what else stands beside them, as the rows of a pipeline file."""
    rows = [f"{KEY}:"]
    for kind, parts in (("lines", plan.lines), ("zones", plan.zones)):
        if parts:
            rows.append(f"  {kind}:")
            for part in parts:
                shape = told(part)
                rows.append("    " + _entry(part.name, shape if len(shape) > 1 else shape["points"]))
    rows += ["  " + _entry(name, part) for name, part in others.items()]
    return rows if len(rows) > 1 else []


def _entry(name: str, value: object) -> str:
    """Return ``name: value`` on one line."""
    text = yaml.safe_dump(
        {name: value}, default_flow_style=True, sort_keys=False, width=float("inf"), allow_unicode=True
    )
    return text.strip()[1:-1]


def _last_line(node: yaml.Node) -> int:
    """Return the line on which a node's own text ends, without the comments and blanks that follow it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _last_line(last[1] if isinstance(last, tuple) else last)
    mark = node.end_mark
    return int(mark.line - 1 if mark.column == 0 and mark.line > node.start_mark.line else mark.line)


def _write_beside(path: Path, text: str) -> Path:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    with open(handle, "w", encoding="utf-8") as draft:
        draft.write(text)
        draft.flush()
        os.fsync(draft.fileno())
    os.chmod(name, path.stat().st_mode & 0o7777)
    return Path(name)
