"""Console: how every command of the three rooms prints, and how it ends: in exit codes and single sentences.

0 done, 1 the work failed, 2 wrong usage or input, 130 interrupted. A traceback is shown where the defect is
ours, and for every error where ``--debug`` is on the command line.
"""

from __future__ import annotations

import atexit
import errno
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from engines.errors import InputError, WorkError
from engines.secrets import redact

if TYPE_CHECKING:
    import typer
    from rich.console import Console

__all__ = ["plain", "run"]

_INTERRUPTED = 130
_AGAIN = 0.05  # seconds until a Ctrl-C that came during an import is given once more


def run(app: typer.Typer, arguments: list[str] | None = None) -> NoReturn:
    """Run a typer app on the command line (or ``arguments``) and end the process.

    Typer itself answers wrong usage with 2 and an interrupt with 130.
    """
    _open_closed()
    _print_anything()
    words = sys.argv[1:] if arguments is None else arguments
    interrupted = threading.Event()
    atexit.register(_leave, interrupted)  # first, so that it comes last
    try:
        with _patient_interrupts():
            app([word for word in words if word != "--debug"])
    except (InputError, WorkError) as error:
        if "--debug" in words:
            raise
        print(redact(" ".join([f"error: {error}", *getattr(error, "__notes__", [])])), file=sys.stderr)
        sys.exit(2 if isinstance(error, InputError) else 1)
    except KeyboardInterrupt:  # one that came while an error was on its way
        interrupted.set()
        sys.exit(_INTERRUPTED)
    except SystemExit as end:
        if end.code == _INTERRUPTED:
            interrupted.set()
        raise
    except BrokenPipeError:  # the reader of our stdout, such as `head`, has gone
        _drop_output()
        sys.exit(1)
    except OSError as error:
        if error.errno != errno.ENOSPC or error.filename is not None:
            raise
        _drop_output()
        print(f"error: standard output: cannot be written: {error.strerror}", file=sys.stderr)
        sys.exit(1)
    sys.exit(0)


def plain(*, stderr: bool = False, quiet: bool = False, soft_wrap: bool = False) -> Console:
    """Return a console that prints text as it is: brackets in paths and names are no markup."""
    from rich.console import Console

    return Console(
        stderr=stderr, quiet=quiet, soft_wrap=soft_wrap, markup=False, emoji=False, highlight=False
    )


def _open_closed() -> None:
    """Give a process whose outputs were closed something to write to: the next file must not become one.

    Python has None for them, which `print` takes for the other one.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, this one
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for as long as the process lasts
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def _print_anything() -> None:
    """Show what the output's encoding lacks by its number: pipes of Windows take Western letters only."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _drop_output() -> None:
    """Let what is still to be written to stdout go nowhere, at the interpreter's end too."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _patient_interrupts() -> Iterator[None]:
    """Put a Ctrl-C off while a module is imported: half-made extensions lose it, or call it an ImportError.

    Everywhere else it raises KeyboardInterrupt as ever.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _interrupt(number: int, frame: FrameType | None) -> None:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            again = threading.Timer(_AGAIN, _signal_ourselves, (number,))
            again.daemon = True
            again.start()
            return
        frame = frame.f_back
    raise KeyboardInterrupt


def _signal_ourselves(number: int) -> None:
    """Give a signal to the process, not to the thread that calls; Windows' kill would end it at once."""
    if sys.platform == "win32":
        signal.raise_signal(number)
    else:
        os.kill(os.getpid(), number)


def _leave(interrupted: threading.Event) -> None:
    """Spare an interrupted process the interpreter's end: other threads may still be loading an engine."""
    if interrupted.is_set():
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(_INTERRUPTED)
