"""Console: how every command of the three rooms ends, in exit codes and single sentences.

0 done, 1 the work failed, 2 wrong usage or input, 130 interrupted. A traceback is shown where the defect is
ours, and for every error where ``--debug`` is on the command line.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NoReturn

from engines.errors import InputError, WorkError

if TYPE_CHECKING:
    import typer

__all__ = ["run"]


def run(app: typer.Typer, arguments: list[str] | None = None) -> NoReturn:
    """Run a typer app on the command line (or ``arguments``) and end the process.

    Typer itself answers wrong usage with 2 and an interrupt with 130.
    """
    words = sys.argv[1:] if arguments is None else arguments
    try:
        app([word for word in words if word != "--debug"])
    except (InputError, WorkError) as error:
        if "--debug" in words:
            raise
        print(" ".join([f"error: {error}", *getattr(error, "__notes__", [])]), file=sys.stderr)
        sys.exit(2 if isinstance(error, InputError) else 1)
    except KeyboardInterrupt:  # one that came while an error was on its way
        sys.exit(130)
    except BrokenPipeError:  # the reader of our stdout, such as `head`, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    sys.exit(0)
