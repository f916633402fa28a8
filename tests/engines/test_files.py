"""Files: whole or not at all, and one maker at a time."""

from __future__ import annotations

import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines.errors import InputError
from engines.files import check_place, locked, write_whole


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file of this process and its children may grow beyond 2 MiB, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("full_disk")
def test_where_the_disk_is_full_the_old_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, b"old")
    with pytest.raises(OSError, match="File too large"):
        write_whole(path, bytes(3 << 20))
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [("file", b"old")]


def test_an_input_is_no_place_to_write_to_under_any_name(tmp_path: Path) -> None:
    read, link, new = tmp_path / "read", tmp_path / "link", tmp_path / "new"
    read.touch()
    link.symlink_to(read)
    for place in (read, link):
        with pytest.raises(InputError, match=f"--save: {place}: is an input itself, another place is right"):
            check_place(place, "--save", [tmp_path / "gone", read])
    check_place(new, "--save", [read])


def test_the_second_waits_for_the_first(tmp_path: Path) -> None:
    order: list[str] = []
    waiting = threading.Event()

    def second() -> None:
        with locked(tmp_path, waiting.set):
            order.append("second")

    thread = threading.Thread(target=second)
    with locked(tmp_path):
        thread.start()
        assert waiting.wait(10)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_a_killed_process_leaves_no_lock(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from engines.files import locked\n"
        "with locked(pathlib.Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"held\n"
        process.kill()
        process.wait()
        with locked(tmp_path, lambda: pytest.fail("it is still held")):
            pass
