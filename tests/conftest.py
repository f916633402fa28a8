"""What every test may use: the folder of real media, and the rule for tests that need it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

DATA = Path(os.environ.get("STREAMER_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data").resolve()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses `data_dir` with ``data``, and skip it where there is no data."""
    absent = pytest.mark.skip(reason=f"no test data at {DATA}; name its folder in STREAMER_TEST_DATA")
    for item in items:
        if "data_dir" in getattr(item, "fixturenames", ()):
            item.add_marker("data")
        if item.get_closest_marker("data") and not DATA.is_dir():
            item.add_marker(absent)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real media, models and ground truth; tests that ask for it skip where it is absent."""
    return DATA
