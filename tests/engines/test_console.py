"""How commands end."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from engines.console import plain, run
from engines.errors import InputError, WorkError


def app_that(does: Callable[[], None]) -> typer.Typer:
    app = typer.Typer()

    @app.command()
    def work(count: int = 1) -> None:
        does()

    return app


def raiser(error: BaseException) -> Callable[[], None]:
    def does() -> None:
        raise error

    return does


def noted(error: Exception, note: str) -> Exception:
    error.add_note(note)
    return error


@pytest.mark.parametrize(
    ("does", "words", "code", "said"),
    [
        pytest.param(lambda: None, [], 0, "", id="done"),
        pytest.param(
            raiser(InputError("a.mp4: no such file")), [], 2, "error: a.mp4: no such file\n", id="input"
        ),
        pytest.param(
            raiser(InputError("http:/me:hush@h/m.onnx: no such file")),
            [],
            2,
            "error: http:/me:***@h/m.onnx: no such file\n",
            id="secret",
        ),
        pytest.param(raiser(WorkError("disk full")), [], 1, "error: disk full\n", id="work"),
        pytest.param(
            raiser(noted(WorkError("broke"), "in stage x")), [], 1, "error: broke in stage x\n", id="note"
        ),
        pytest.param(raiser(KeyboardInterrupt()), [], 130, "", id="interrupted"),
        pytest.param(raiser(typer.Exit(1)), [], 1, "", id="the command's own exit code"),
        pytest.param(lambda: None, ["--debug"], 0, "", id="debug is taken off the command line"),
    ],
)
def test_a_command_ends_with_one_sentence_and_its_code(
    does: Callable[[], None],
    words: list[str],
    code: int,
    said: str,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("engines.console._leave", lambda interrupted: None)  # it would end the tests, too
    with pytest.raises(SystemExit) as ending:
        run(app_that(does), words)
    assert (ending.value.code, capfd.readouterr().err) == (code, said)


@pytest.mark.parametrize("words", [["--count", "x"], ["--unknown"]])
def test_wrong_usage_ends_with_2(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ending:
        run(app_that(lambda: None), words)
    assert ending.value.code == 2
    assert words[0] in capfd.readouterr().err


def test_debug_lets_an_error_through() -> None:
    with pytest.raises(InputError):
        run(app_that(raiser(InputError("wrong"))), ["--debug"])


def test_a_defect_of_ours_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        run(app_that(raiser(ZeroDivisionError())), [])


def test_ctrl_c_during_an_import_waits_for_its_end(tmp_path: Path) -> None:
    (tmp_path / "half_made.py").write_text(
        "import os, signal\n"
        "try:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    sum(range(100_000))\n"
        "except KeyboardInterrupt:\n"
        "    raise ImportError('initialization failed')\n"
    )
    code = (
        "import threading, typer\n"
        "from engines.console import run\n"
        "app = typer.Typer()\n"
        "@app.command()\n"
        "def work() -> None:\n"
        "    import half_made\n"
        "    print('made', flush=True)\n"
        "    threading.Event().wait(20)\n"
        "run(app, [])\n"
    )
    path = os.pathsep.join([str(tmp_path), os.getcwd()])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=15,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "made\n", "")


def test_text_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.table import Table

    table = Table("d[/x]", title="[bold]y[red]x")
    table.add_row("[/a] :smile:")
    plain().print(table)
    plain(soft_wrap=True).print("[/x] [bold]12")
    printed = capsys.readouterr().out
    assert all(text in printed for text in ("d[/x]", "[bold]y[red]x", "[/a] :smile:", "[/x] [bold]12"))


@pytest.mark.parametrize("room", ["engines", "streamer", "trainers"])
def test_no_other_console_is_made(room: str) -> None:
    """All that is printed may hold a path or a name with brackets, which would be markup to another."""
    root = Path(__file__).parents[2]
    files = [path for path in (root / room).rglob("*.py") if path != root / "engines" / "console.py"]
    assert [path.name for path in files if "Console(" in path.read_text(encoding="utf-8")] == []


SPEAK = (
    "import os, sys, typer\n"
    "from engines.console import run\n"
    "from engines.errors import InputError\n"
    "app = typer.Typer()\n"
    "@app.command()\n"
    "def work() -> None:\n"
    "    sys.stderr.isatty(), sys.stdout.isatty()\n"
    "    typer.echo('result')\n"
    "    if not open(os.devnull).fileno() > 2:\n"
    "        os._exit(7)\n"
    "    raise InputError('wrong')\n"
    "run(app, [])\n"
)


@pytest.mark.parametrize(
    ("closed", "out", "err"),
    [("2>&-", "result\n", ""), (">&-", "", "error: wrong\n"), ("<&- >&- 2>&-", "", "")],
)
def test_a_closed_output_costs_nothing_but_what_goes_there(closed: str, out: str, err: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, SPEAK],
        capture_output=True,
        text=True,
        timeout=15,
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, out, err)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no disk that is always full")
def test_a_full_disk_behind_stdout_is_one_sentence() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", SPEAK], stdout=full, stderr=subprocess.PIPE, text=True, timeout=15
        )
    assert done.returncode == 1
    assert done.stderr == "error: standard output: cannot be written: No space left on device\n"


def test_what_an_encoding_lacks_is_shown_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, encoding="cp1252", newline="\n"))
    with pytest.raises(SystemExit) as end:
        run(app_that(lambda: print("señal 漢", flush=True)), [])
    assert end.value.code == 0
    assert printed.getvalue() == "señal \\u6f22\n".encode("cp1252")
