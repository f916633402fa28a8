"""A site for the tests of a file; they skip where the extra is not installed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers.website import Site, live, running

EXTRA = ("starlette", "uvicorn", "websockets", "prometheus_client")


@pytest.fixture(scope="session")
def web() -> None:
    """What every test of the running site needs."""
    for name in EXTRA:
        pytest.importorskip(name, reason=f"{name} is not installed: pip install 'streamer[web]'")


@pytest.fixture(scope="module")
def site(web: None) -> Iterator[Site]:
    """Two live streams and their page, for all tests of a file."""
    with running(live(1), live(2)) as found:
        yield found
