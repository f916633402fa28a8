"""Machine: what a container allows counts, and figures are those that the kernel tells elsewhere, too."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engines import machine


@pytest.mark.parametrize(
    ("text", "allowed"),
    [("50000 100000\n", 0.5), ("350000 100000", 3.5), ("max 100000\n", 0), ("", 0), ("1 0", 0), ("1 2 3", 0)],
    ids=["half a core", "several", "no quota", "empty", "no period", "damaged"],
)
def test_a_quota_is_time_over_period(tmp_path: Path, text: str, allowed: float) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(text)
    assert machine.quota(file) == allowed
    assert machine.quota(tmp_path / "absent") == 0


@pytest.mark.parametrize(("quota", "cores"), [(0.0, 6), (0.5, 1), (2.0, 2), (3.5, 4), (99.0, 6)])
def test_cores_are_those_of_the_affinity_and_no_more_than_the_quota(
    monkeypatch: pytest.MonkeyPatch, quota: float, cores: int
) -> None:
    monkeypatch.setattr(machine, "quota", lambda: quota)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(6)), raising=False)
    assert machine.cores() == cores


def test_memory_is_what_the_kernel_says() -> None:
    total = next(line for line in Path("/proc/meminfo").read_text().splitlines() if "MemTotal" in line)
    assert machine.memory() == pytest.approx(int(total.split()[1]) * 1024, rel=0.02)
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
    assert machine.peak_memory() == pytest.approx(int(peak.split()[1]) * 1024, rel=0.1)
