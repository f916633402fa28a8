"""Tests of training need torch, which the base install does not have: without it they skip and say so."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

WITHOUT = {"test_cli.py", "test_config.py"}  # these need no torch
ABSENT = [name for name in ("torch", "torchvision", "pycocotools") if find_spec(name) is None]


class Skipped(pytest.Module):
    """A test file that is not imported."""

    def collect(self) -> Iterator[pytest.Item]:
        pytest.skip(
            f"{', '.join(ABSENT)} not installed: pip install 'streamer[train]'", allow_module_level=True
        )


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    """Take test files that need torch for skipped where it is not."""
    if ABSENT and module_path.name not in WITHOUT:
        return Skipped.from_parent(parent, path=module_path)
    return None


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Threads that wait for each other starve where other work shares the cores."""
    if not ABSENT:
        import torch

        torch.set_num_threads(1)
