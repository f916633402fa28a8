"""The spool: order, numbers and bounds, over restarts and kills."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engines.errors import InputError
from streamer.sinks.spool import Spool

ROOT = Path(__file__).parents[3]


def _record(index: int, stream: str = "cam") -> dict[str, Any]:
    return {"stream": stream, "index": index, "pts": index / 10, "detections": []}


def _drain(spool: Spool, most: int = 7) -> list[dict[str, Any]]:
    found = []
    while True:
        lines, place = spool.take(most, 0.0)
        spool.commit(place)
        if not lines:
            return found
        found += [json.loads(line) for line in lines]


def _indices(records: list[dict[str, Any]]) -> list[int]:
    return [record["index"] for record in records]


def test_records_come_out_as_they_went_in_numbered_per_stream(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path), 1 << 20)
    for index in range(20):
        spool.append(_record(index, "ab"[index % 2]))
    found = _drain(spool)
    assert _indices(found) == list(range(20))
    assert [record["seq"] for record in found] == [index // 2 for index in range(20)]
    assert {record["version"] for record in found} == {1}
    assert spool.undelivered == 0
    spool.close()


def test_what_was_taken_but_not_committed_comes_again_after_a_restart(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path), 1 << 20)
    for index in range(10):
        spool.append(_record(index))
    _, place = spool.take(4, 0.0)
    spool.commit(place)
    spool.take(4, 0.0)
    spool.close()
    again = Spool(str(tmp_path), 1 << 20)
    again.append(_record(10))
    found = _drain(again)
    assert _indices(found) == list(range(4, 11))
    assert [record["seq"] for record in found] == list(range(4, 11))
    again.close()


def test_numbers_go_on_although_all_records_are_gone(tmp_path: Path) -> None:
    for begin in (0, 50):
        spool = Spool(str(tmp_path), 4000)
        for index in range(begin, begin + 50):
            spool.append(_record(index))
            assert [record["seq"] for record in _drain(spool)] == [index]
        spool.sync()
        assert len(list(tmp_path.glob("*.jsonl"))) == 1
        spool.close()


def test_a_slow_disk_holds_up_nobody_who_appends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(str(tmp_path), 1 << 20)
    spool.append(_record(0))
    to_disk, held = os.fsync, []

    def watched(descriptor: int) -> None:
        held.append(spool._lock.locked())
        to_disk(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", watched)
        spool.sync()
    assert held == [False, False]  # the records, and how far they are delivered
    spool.close()


def test_a_full_spool_gives_up_its_oldest_and_counts_them(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path), 8000)
    for index in range(500):
        spool.append(_record(index))
    size = sum(path.stat().st_size for path in tmp_path.glob("*.jsonl"))
    found = _indices(_drain(spool))
    assert size <= 8000
    assert spool.overflowed > 300
    assert found == list(range(spool.overflowed, 500))
    spool.close()


def test_records_under_way_are_not_counted_as_lost_when_their_segment_goes(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path), 8000)
    for index in range(10):
        spool.append(_record(index))
    lines, place = spool.take(5, 0.0)
    for index in range(10, 500):
        spool.append(_record(index))
    spool.commit(place)
    rest = _drain(spool)
    assert len(lines) + len(rest) + spool.overflowed == 500
    assert _indices(rest)[-1] == 499
    spool.close()


def test_a_line_torn_by_a_power_cut_is_cut_off(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path), 1 << 20)
    for index in range(3):
        spool.append(_record(index))
    spool.close()
    path = next(tmp_path.glob("*.jsonl"))
    path.write_bytes(path.read_bytes()[:-9])
    again = Spool(str(tmp_path), 1 << 20)
    again.append(_record(3))
    assert _indices(_drain(again)) == [0, 1, 3]
    again.close()


def test_a_spool_belongs_to_one_run_at_a_time(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path), 1 << 20)
    with pytest.raises(InputError, match="another run delivers from it"):
        Spool(str(tmp_path), 1 << 20)
    spool.close()
    Spool(str(tmp_path), 1 << 20).close()


def test_a_folder_that_cannot_be_made_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be used"):
        Spool(str(tmp_path / "file" / "spool"), 1 << 20)


def test_a_full_disk_is_counted_and_leaves_whole_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(str(tmp_path), 1 << 20)
    spool.append(_record(0))
    real = os.write

    def full(descriptor: int, data: bytes) -> int:
        if len(data) > 20:
            return real(descriptor, data[:20])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        spool.append(_record(1))
    spool.append(_record(2))
    found = _drain(spool)
    assert [(record["index"], record["seq"]) for record in found] == [(0, 0), (2, 2)]
    assert spool.overflowed == 1
    spool.close()


@pytest.mark.parametrize("limit", [2000, 1 << 20], ids=["small", "large"])
def test_a_folder_that_is_removed_costs_what_was_in_it_and_no_more(tmp_path: Path, limit: int) -> None:
    folder = tmp_path / "spool"
    spool = Spool(str(folder), limit)
    for index in range(10):
        spool.append(_record(index))
    kept = len(spool.take(4, 0.0)[0])
    shutil.rmtree(folder)
    for index in range(10, 40):
        spool.append(_record(index))
    spool.sync()
    for index in range(40, 44):
        spool.append(_record(index))
    found = _indices(_drain(spool))
    assert found[-4:] == [40, 41, 42, 43]
    assert kept + len(found) + spool.overflowed == 44
    assert spool.lost["spool was removed"] > 0
    assert spool.undelivered == 0
    with pytest.raises(InputError, match="another run"):
        Spool(str(folder), limit)
    spool.close()


def test_a_folder_that_cannot_come_back_ends_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    spool = Spool(str(folder), 2000)
    spool.append(_record(0))
    shutil.rmtree(folder)
    folder.touch()  # a file in its place
    for index in range(1, 100):
        spool.append(_record(index))
        spool.take(3, 0.0)
    with pytest.raises(OSError, match="exists"):
        spool.sync()
    assert spool.overflowed > 50
    spool.close()


def test_a_file_that_is_removed_takes_no_other_with_it(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path), 8000)
    for index in range(20):
        spool.append(_record(index))
    last = max(tmp_path.glob("*.jsonl"))
    whole = last.read_bytes().count(b"\n")
    last.unlink()
    spool.sync()
    assert _indices(_drain(spool)) == list(range(20 - whole))
    assert spool.undelivered == 0
    spool.append(_record(20))
    assert _indices(_drain(spool)) == [20]
    assert spool.lost == {"spool was removed": whole}
    spool.close()


@pytest.mark.parametrize(
    "line",
    [b"\0" * 40, b"\xff\xfe", b"[1]", b"null", b'{"stream":"cam"}', b'{"stream":"cam","seq":"a"}', b""],
)
def test_lines_that_are_no_records_are_left_out_and_counted(tmp_path: Path, line: bytes) -> None:
    spool = Spool(str(tmp_path), 1 << 20)
    for index in range(3):
        spool.append(_record(index))
    spool.close()
    path = next(tmp_path.glob("*.jsonl"))
    first, _, rest = path.read_bytes().partition(b"\n")
    path.write_bytes(first + b"\n" + line + b"\n" + rest)
    again = Spool(str(tmp_path), 1 << 20)
    again.append(_record(3))
    found = _drain(again)
    assert [(record["index"], record["seq"]) for record in found] == [(0, 0), (1, 1), (2, 2), (3, 3)]
    assert again.lost == {"spool is damaged": 1}
    again.close()


@pytest.mark.parametrize(
    "state", [b"null", b"[]", b'{"cursor":"a"}', b'{"sequence":{"cam":null}}', b'{"end":-1}', b"\0\0", b""]
)
def test_a_damaged_state_is_none_and_is_said(
    tmp_path: Path, state: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    spool = Spool(str(tmp_path), 1 << 20)
    for index in range(3):
        spool.append(_record(index))
    spool.close()
    (tmp_path / "state").write_bytes(state)
    again = Spool(str(tmp_path), 1 << 20)
    again.append(_record(3))
    assert [record["seq"] for record in _drain(again)] == [0, 1, 2, 3]
    assert "state is damaged" in caplog.text
    again.close()


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    for name in ("x.jsonl", "1.jsonl", f"{'9' * 21}.jsonl", f"-{'9' * 19}.jsonl"):
        (tmp_path / name).write_text("mine\n")
    spool = Spool(str(tmp_path), 2000)
    for index in range(100):
        spool.append(_record(index))
    _drain(spool)
    spool.sync()
    spool.close()
    assert (tmp_path / "x.jsonl").read_text() == "mine\n"
    assert len(list(tmp_path.glob("*.jsonl"))) == 5


KILLED = """
import os, signal, sys
from streamer.sinks.spool import Spool
spool = Spool(sys.argv[1], 1 << 20)
for index in range(1000):
    spool.append({"stream": "cam", "index": index, "pts": 0.0, "detections": []})
    if index == 600:
        spool.sync()
lines, place = spool.take(100, 0.0)
spool.commit(place)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_nothing_appended_is_lost_by_a_kill(tmp_path: Path) -> None:
    run = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT)
    assert run.returncode == -9
    spool = Spool(str(tmp_path), 1 << 20)
    spool.append(_record(1000))
    found = _drain(spool)
    assert _indices(found) == list(range(1001))
    assert [record["seq"] for record in found] == list(range(1001))
    spool.close()
