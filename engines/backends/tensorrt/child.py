"""Child: builds a plan in a process of its own, which a crash, a cancel or a time-out ends without harm.

Python's own process pools would run the user's main module again; this runs nothing but itself. One JSON
line goes in, the job; JSON lines come out: progress, and last the end. The child ends when its parent does.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from engines.backends import Progress, silent
from engines.backends.tensorrt.binding import load_binding
from engines.backends.tensorrt.builder import Profile, Recipe, build_plan
from engines.errors import CancelledError, InputError, WorkError

__all__ = ["build_in_child"]

_BEAT = 0.1  # seconds between two looks at progress, cancel and time-out
_LIMIT = 3600.0  # seconds: an hour is several times the longest build that was heard of


def build_in_child(
    backend: str, recipe: Recipe, plan: Path, progress: Progress = silent, limit: float = _LIMIT
) -> None:
    """Build and write the file ``plan``; where that fails there is none.

    ``progress(fraction, phase)`` is called about ten times a second, with -1 where the library does not tell;
    False from it ends the build. Raises InputError and WorkError as `build_plan` does.
    """
    job = {"backend": backend, "recipe": asdict(recipe), "plan": str(plan)}
    with _running(json.dumps(job, default=str)) as process:
        end = time.monotonic() + limit
        fraction, phase = -1.0, "starting"
        for line in _lines(process):
            if line.get("error"):
                plan.unlink(missing_ok=True)
                raise (InputError if line["ours"] else WorkError)(line["error"])
            fraction, phase = line.get("fraction", fraction), line.get("phase", phase)
            if progress(fraction, phase) is False:
                raise CancelledError(f"{backend}: the build was cancelled")
            if time.monotonic() > end:
                raise WorkError(f"{backend}: {recipe.model}: the build took more than {limit:g} s")
            if line.get("done"):
                return
    plan.unlink(missing_ok=True)
    raise WorkError(f"{backend}: {recipe.model}: the building process died ({process.returncode})")


@contextlib.contextmanager
def _running(job: str) -> Iterator[subprocess.Popen[bytes]]:
    """The child with its job; killed, if it still runs, at the end."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(entry or os.getcwd() for entry in sys.path)}
    command = [sys.executable, "-c", f"from {__name__} import main; main()"]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        start_new_session=True,  # Ctrl-C comes to the parent, which ends the child; the next for Windows
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )
    assert process.stdin
    assert process.stdout
    try:
        with contextlib.suppress(BrokenPipeError):  # it died at once: there will be no lines
            process.stdin.write(job.encode() + b"\n")
            process.stdin.flush()
        yield process
    finally:
        process.kill()
        process.wait()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        process.stdout.close()


def _lines(process: subprocess.Popen[bytes]) -> Iterator[dict[str, Any]]:
    """What the child says; an empty message at every beat in which it says nothing."""
    said: Queue[bytes] = Queue()  # bounded by what a build has to say
    threading.Thread(target=_listen, args=(process, said), daemon=True).start()
    while True:
        try:
            line = said.get(timeout=_BEAT)
        except Empty:
            yield {}
            continue
        if not line:
            process.wait()
            return
        yield json.loads(line)


def _listen(process: subprocess.Popen[bytes], said: Queue[bytes]) -> None:
    """Pass on whole lines, and an empty one at the end: Windows cannot wait for a pipe with a time-out."""
    assert process.stdout
    with contextlib.suppress(OSError, ValueError):  # closed meanwhile
        for line in process.stdout:
            if line.endswith(b"\n"):
                said.put(line)
    said.put(b"")


def main() -> None:
    """Do one job from stdin."""
    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the library prints must not come between the lines

    def say(**message: Any) -> bool:
        try:
            print(json.dumps(message), file=out, flush=True)
        except OSError:
            return False
        return True

    recipe = _recipe(job["recipe"])
    try:
        plan = build_plan(
            load_binding(job["backend"]), recipe, lambda at, phase: say(fraction=at, phase=phase)
        )
        Path(job["plan"]).write_bytes(plan)
    except (InputError, WorkError) as error:
        say(error=str(error), ours=isinstance(error, InputError))
    except OSError as error:
        say(error=f"{job['backend']}: {job['plan']}: {error.strerror}, the plan is not kept", ours=False)
    else:
        say(fraction=1.0, phase="written", done=True)


def _recipe(values: dict[str, Any]) -> Recipe:
    """Read what asdict and JSON made of a recipe."""
    profiles = [
        Profile(shapes["tensor"], *(tuple(shapes[key]) for key in ("least", "usual", "most")))
        for shapes in values["profiles"]
    ]
    paths = {key: Path(values[key]) if values[key] else None for key in ("model", "timings")}
    return Recipe(**values | paths | {"profiles": tuple(profiles)})


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)
