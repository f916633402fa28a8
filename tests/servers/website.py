"""Website: a running pipeline with its live page, for tests that ask it things."""

from __future__ import annotations

import json
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from streamer.pipeline import Pipeline
from streamer.settings import gather

TOKEN = "correct-horse-battery"


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Site:
    pipeline: Pipeline
    port: int

    @property
    def base(self) -> str:
        return f"127.0.0.1:{self.port}"

    def ask(
        self, path: str, method: str = "GET", body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Reply:
        request = urllib.request.Request(
            f"http://{self.base}{path}", data=body, method=method, headers=headers or {}
        )
        opener = urllib.request.build_opener(_Stay)
        try:
            with opener.open(request, timeout=20) as reply:
                return Reply(reply.status, dict(reply.headers), reply.read())
        except urllib.error.HTTPError as error:
            return Reply(error.code, dict(error.headers), error.read())


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any) -> None:
        return None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(what: Any, seconds: float = 30.0) -> None:
    """Wait until a condition holds; a failure says that it never did."""
    ticks = threading.Event()
    for _ in range(int(seconds / 0.05)):
        if what():
            return
        ticks.wait(0.05)
    raise AssertionError(f"not within {seconds:g} s: {what}")


@contextmanager
def running(*sources: str, options: str = "", file: str = "") -> Iterator[Site]:
    """Run a pipeline with the live page on a free port until results come, and stop it afterwards."""
    port = free_port()
    settings = gather(sources, "tiny-yolo", [f"http://127.0.0.1:{port}{options}"], track="sort")
    settings = replace(settings, file=file)
    with Pipeline(settings) as pipeline:
        site = Site(pipeline, port)
        pipeline.start()
        bearer = {"Authorization": f"Bearer {TOKEN}"}

        def is_ready() -> bool:
            try:
                return site.ask("/readyz", headers=bearer).status == 200
            except OSError:
                return False

        wait_for(is_ready)
        yield site
        pipeline.stop()
        pipeline.join()
        assert not pipeline.report().unbalanced


def live(seed: int, fps: int = 10) -> str:
    return f"synthetic:?live=1&count=0&size=320x180&fps={fps}&seed={seed}"
