"""What every test may use: the folder of real media, the rule for tests that need it, and two lanes.

With two processes (`make test`) those whose time is real run in one and those that only compute in the other,
which leaves the processor to them.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

HERE = Path(__file__).parent
REAL_TIME = {"streamer", "test_main_job.py"}
DATA = Path(os.environ.get("STREAMER_TEST_DATA") or HERE.parents[1] / "shared" / "data").resolve()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses `data_dir` with ``data``, and skip it where there is no data."""
    absent = pytest.mark.skip(reason=f"no test data at {DATA}; name its folder in STREAMER_TEST_DATA")
    for item in items:
        if "data_dir" in getattr(item, "fixturenames", ()):
            item.add_marker("data")
        if item.get_closest_marker("data") and not DATA.is_dir():
            item.add_marker(absent)
        item.add_marker(pytest.mark.xdist_group("live" if _is_live(item) else "work"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Let what only computes give way."""
    if "PYTEST_XDIST_WORKER" in os.environ and not _is_live(item):
        os.setpriority(os.PRIO_PROCESS, 0, 19)


def _is_live(item: pytest.Item) -> bool:
    return item.path.relative_to(HERE).parts[0] in REAL_TIME


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real media, models and ground truth; tests that ask for it skip where it is absent."""
    return DATA
