"""Those who connect and do not behave: let go, bounded, and nobody else notices."""

from __future__ import annotations

import asyncio
import gc
import json
import resource
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from streamer.web import app, guard, server
from streamer.web.shows import Note, Shows
from tests.servers.website import Site, live, running, wait_for

UPGRADE = (
    "GET /{path} HTTP/1.1\r\nHost: {base}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
)


def dial(site: Site, stack: ExitStack, text: str) -> socket.socket:
    """Connect with a small window, and say this."""
    link = stack.enter_context(socket.socket())
    link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    link.settimeout(20)
    link.connect(("127.0.0.1", site.port))
    link.sendall(text.format(base=site.base, path="messages?kinds=status").encode())
    return link


def is_cut(link: socket.socket) -> bool:
    """Tell whether the far end closes without an answer."""
    try:
        return link.recv(1) == b""
    except ConnectionError:
        return True


def listeners(site: Site) -> int:
    count: int = site.ask("/status").json()["events"]["listeners"]
    return count


def test_a_websocket_whose_other_end_is_gone_is_let_go(web: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes what is sent, as a dead link's buffers do, and answers no ping."""
    monkeypatch.setattr(server, "PING", 1.0)
    with running(live(1)) as site, ExitStack() as stack:
        links = [dial(site, stack, UPGRADE) for _ in range(20)]
        for link in links:
            assert link.recv(12) == b"HTTP/1.1 101"
        wait_for(lambda: listeners(site) > 0)
        wait_for(lambda: listeners(site) == 0)
        assert site.ask("/healthz").status == 200


def test_half_a_handshake_is_cut_off(web: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HURRY", 0.3)
    with running(live(1)) as site, ExitStack() as stack:
        links = [dial(site, stack, UPGRADE.partition("Sec-")[0]) for _ in range(20)]
        for link in links:
            assert is_cut(link)


def test_silent_connections_keep_nobody_out_and_are_bounded(
    web: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 40)
    with running(live(1), options="?viewers=4") as site, ExitStack() as stack:
        links = [dial(site, stack, "") for _ in range(100)]
        assert site.ask("/healthz").status == 200
        for link in links[:60]:
            assert is_cut(link)
        links[-1].sendall(f"GET /healthz HTTP/1.1\r\nHost: {site.base}\r\n\r\n".encode())
        assert links[-1].recv(12) == b"HTTP/1.1 200"


@pytest.mark.parametrize(
    ("files", "viewers", "most"),
    [(1024, 64, 256), (256, 64, 64), (65536, 1000, 2000), (resource.RLIM_INFINITY, 64, 256)],
)
def test_connections_leave_most_open_files_to_the_run(
    web: None, monkeypatch: pytest.MonkeyPatch, files: int, viewers: int, most: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (files, files))
    assert server._most_connections(viewers) == most


def test_a_loop_in_trouble_says_one_line_a_second(web: None, caplog: pytest.LogCaptureFixture) -> None:
    hear = server.Complaints("http://here")
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(hear)
    for _ in range(5):
        loop.call_exception_handler({"message": "out of files", "exception": OSError(24, "Too many")})
    hear._said -= server.SAY
    loop.call_exception_handler({"message": "out of files"})
    loop.close()
    assert caplog.messages == [
        "http://here: out of files, OSError: [Errno 24] Too many",
        "http://here: out of files, and 4 more",
    ]
    assert all(record.exc_info is None for record in caplog.records)


STREAM = "GET {path} HTTP/1.1\r\nHost: {base}\r\n\r\n"
WATCHED = {"/mjpeg/synthetic": STREAM, "/events": STREAM, "/messages": UPGRADE.replace("/{path}", "{path}")}

STATUS = {path: b"101" if path == "/messages" else b"200" for path in WATCHED}


def open_stream(site: Site, stack: ExitStack, path: str) -> socket.socket:
    return dial(site, stack, WATCHED[path].replace("{path}", path))


@pytest.mark.parametrize("path", WATCHED)
def test_a_viewer_that_was_cut_leaves_its_seat_at_once(
    web: None, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(app, "PATIENCE", 0.3)
    monkeypatch.setattr(guard, "PATIENCE", 0.3)
    made: list[Shows] = []
    begin = Shows.__init__
    monkeypatch.setattr(
        Shows, "__init__", lambda shows, *given: (made.append(shows), begin(shows, *given))[1]
    )
    with running(live(1, fps=30), options="?viewers=2&quality=100") as site, ExitStack() as stack:
        gc.disable()  # what is closed only when it is collected must hold no seat
        stack.callback(gc.enable)
        for _ in range(2):
            links = [open_stream(site, stack, path) for _ in range(2)]
            assert {link.recv(12)[9:] for link in links} == {STATUS[path]}

            def are_gone() -> bool:
                made[0].notes.offer(Note("detections", "synthetic", "x" * 1_000_000))
                return not len(made[0].notes) and not len(made[0]["synthetic"].pictures)

            wait_for(are_gone)


@pytest.mark.parametrize("path", WATCHED)
def test_of_more_viewers_at_once_than_seats_those_too_many_are_told(
    web: None, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    with running(live(1), options="?viewers=2") as site, ExitStack() as stack:
        links = [open_stream(site, stack, path) for _ in range(8)]
        answers = sorted(link.recv(12)[9:] for link in links)
    assert answers == [STATUS[path]] * 2 + [b"503"] * 6
    assert "Traceback" not in caplog.text


def test_a_viewer_that_reads_a_byte_now_and_then_is_let_go(
    web: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "PATIENCE", 0.5)
    with running(live(1, fps=30), options="?crf=0") as site, ExitStack() as stack:
        link = dial(site, stack, UPGRADE.replace("{path}", "video/synthetic"))
        wait_for(lambda: site.ask("/streams").json()[0]["viewers"] == 1)
        results = site.ask("/streams").json()[0]["results"]

        def is_gone() -> bool:
            try:
                link.recv(1)
            except ConnectionError:
                return True
            return bool(site.ask("/streams").json()[0]["viewers"] == 0)

        wait_for(is_gone)
        assert site.ask("/streams").json()[0]["results"] > results


def test_whatever_is_asked_the_answer_is_no_server_error(web: None, tmp_path: Path) -> None:
    """Requests made up from the API's own description; streams that do not end are left out."""
    pytest.importorskip("schemathesis", reason="pip install 'streamer[test]'")
    with running(live(1), live(2)) as site:
        told = json.loads(site.ask("/openapi.json").body)
        for path in told["paths"].values():
            for method in path.values():
                for parameter in method.get("parameters", []):
                    if parameter["name"] == "stream" and parameter["in"] == "path":
                        parameter["schema"] = {"enum": ["synthetic", "synthetic-2", "no body"]}
        urls = told["components"]["schemas"]["NewStream"]["properties"]["url"]
        urls["examples"] = [live(3), "nothing-of-the-kind:x", "/not/there.mp4"]
        description = tmp_path / "openapi.json"
        description.write_text(json.dumps(told))
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "run", str(description)),
            *("--url", f"http://{site.base}", "--checks", "not_a_server_error", "--workers", "1"),
            *("--max-examples", "5", "--phases", "examples,coverage,fuzzing", "--seed", "7"),
            *("--exclude-path-regex", "^/(mjpeg|events|snapshot)", "--generation-database", "none"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr
        assert " passed" in done.stdout
        assert site.ask("/healthz").status == 200
