"""Messages: what arrives at services that are made here, go away and come back."""

from __future__ import annotations

import json
import logging
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.detections import Detections
from engines.errors import InputError
from streamer.analytics.events import Event
from streamer.frame import Frame
from streamer.sinks import SINKS, Sink, check_sink, delivery, sink_kind, target, webhook
from streamer.sinks.address import parse
from streamer.sinks.delivery import Away
from streamer.sinks.place import place_of
from streamer.sinks.publish import COURIERS
from streamer.sinks.spool import Spool
from streamer.sources.reconnect import Patience
from tests.servers.camera import until

CAR = Detections.of([[1, 2, 30, 40]], [0.9], [1]).with_ids(np.array([7]))
Found = list[dict[str, Any]]


class Hook:
    """An HTTP server that takes records, and answers as it is told."""

    def __init__(self) -> None:
        self.status: Callable[[Found], int] = lambda records: 200
        self.found: Found = []
        self.headers: dict[str, str] = {}
        self.path = ""
        hook = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                records = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                hook.headers = dict(self.headers)
                hook.path = self.path
                status = hook.status(records)
                if status == 200:
                    hook.found += records
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *words: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()
    yield made
    made.close()


@contextmanager
def _listening(port: int = 0) -> Iterator[tuple[int, list[bytes]]]:
    """Take connections and keep what they say."""
    server = socket.create_server(("127.0.0.1", port))
    said: list[bytes] = []
    peers: list[socket.socket] = []

    def serve() -> None:
        try:
            while True:
                peers.append(server.accept()[0])
                threading.Thread(target=read, args=(peers[-1],), daemon=True).start()
        except OSError:
            pass

    def read(peer: socket.socket) -> None:
        try:
            while data := peer.recv(65536):
                said.append(data)
        except OSError:
            pass

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield server.getsockname()[1], said
    finally:
        for one in (server, *peers):
            _hang_up(one)


def _hang_up(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()


def _inferred(frames: list[Frame], found: Detections = CAR) -> list[Frame]:
    for frame in frames:
        frame.inferred, frame.detections = True, found
    return frames


def test_records_arrive_numbered_and_by_the_schema(
    tmp_path: Path, hook: Hook, sink: Callable[..., Sink], frames: Callable[..., list[Frame]]
) -> None:
    opened = sink(f"webhook+http://127.0.0.1:{hook.port}/in?spool={tmp_path}/s&token=abc")
    for frame in _inferred(frames([0.0, 0.1, 0.2])):
        opened.write(frame)
    opened.close()
    assert hook.found[1] == {
        "version": 1,
        "seq": 1,
        "stream": "cam",
        "index": 1,
        "pts": 0.1,
        "detections": [{"id": 7, "class": "car", "class_id": 1, "score": 0.9, "box": [1.0, 2.0, 30.0, 40.0]}],
    }
    assert [record["seq"] for record in hook.found] == [0, 1, 2]
    assert hook.headers["Authorization"] == "Bearer abc"
    schema = json.loads((Path(__file__).parents[3] / "docs" / "record.schema.json").read_text())
    assert hook.found[0].keys() <= schema["properties"].keys()


def test_the_urls_options_choose_what_is_sent(
    tmp_path: Path, hook: Hook, sink: Callable[..., Sink], frames: Callable[..., list[Frame]]
) -> None:
    opened = sink(f"webhook+http://127.0.0.1:{hook.port}?spool={tmp_path}/s&classes=person&changes=1")
    for frame in _inferred(frames([0.0, 0.1, 0.2])):
        opened.write(frame)
    opened.close()
    assert [(record["index"], record["detections"]) for record in hook.found] == [(0, [])]


EVENTS = (
    Event("line", "door", 0.1, "in", track=7, label=1, count=3),
    Event("alert", "hall", 0.1, "begin", count=5),
)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", ["record", "line", "alert", "record", "record"]),
        ("&send=records", ["record", "record", "record"]),
        ("&send=events", ["line", "alert"]),
        ("&classes=person", ["record", "alert", "record", "record"]),
        ("&changes=1", ["record", "line", "alert"]),
    ],
    ids=["all", "records", "events", "of a class", "changes"],
)
def test_events_are_messages_of_their_own(
    tmp_path: Path,
    hook: Hook,
    sink: Callable[..., Sink],
    frames: Callable[..., list[Frame]],
    options: str,
    expected: list[str],
) -> None:
    opened = sink(f"webhook+http://127.0.0.1:{hook.port}?spool={tmp_path}/s{options}")
    shown = _inferred(frames([0.1, 0.2, 0.3]))
    shown[0].events = EVENTS
    for frame in shown:
        opened.write(frame)
    opened.close()
    assert [message.get("event", "record") for message in hook.found] == expected
    assert [message["seq"] for message in hook.found] == list(range(len(expected)))


def test_an_event_is_one_by_the_schema(
    tmp_path: Path, hook: Hook, sink: Callable[..., Sink], frames: Callable[..., list[Frame]]
) -> None:
    schemas = pytest.importorskip("jsonschema_rs", reason="pip install 'streamer[test]'")
    opened = sink(f"webhook+http://127.0.0.1:{hook.port}?spool={tmp_path}/s")
    (frame,) = _inferred(frames([0.1]))
    frame.events = EVENTS
    opened.write(frame)
    opened.close()
    record, *events = hook.found
    assert len(events) == 2
    for kind, messages in (("record", [record]), ("event", events)):
        schema = json.loads((Path(__file__).parents[3] / "docs" / f"{kind}.schema.json").read_text())
        for message in messages:
            schemas.validate(schema, message)
    assert events[0]["class"] == "car"


def test_a_service_in_trouble_gets_every_record_later_in_order(
    tmp_path: Path, hook: Hook, sink: Callable[..., Sink], frames: Callable[..., list[Frame]]
) -> None:
    refusals = iter([503, 401])
    hook.status = lambda records: next(refusals, 200)
    opened = sink(f"webhook+http://127.0.0.1:{hook.port}?spool={tmp_path}/s")
    for frame in _inferred(frames([index / 10 for index in range(40)])):
        opened.write(frame)
    opened.close()
    assert [record["seq"] for record in hook.found] == list(range(40))
    assert opened.counts == {"appended": 40, "delivered": 40, "lost connections": 2}  # type: ignore[attr-defined]


@contextmanager
def _answering(*pieces: bytes, pause: float = 0.0) -> Iterator[tuple[int, list[int]]]:
    """Answer every connection's first request with the first piece, and the others over and over."""
    server = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()
    sent: list[int] = []  # bytes over each connection

    def serve(peer: socket.socket) -> None:
        sent.append(0)
        at = len(sent) - 1
        with suppress(OSError), peer:
            peer.recv(65536)
            peer.sendall(pieces[0])
            while len(pieces) > 1 and not ended.wait(pause):
                for piece in pieces[1:]:
                    sent[at] += peer.send(piece)
            while peer.recv(65536):
                pass

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield server.getsockname()[1], sent
    finally:
        ended.set()
        _hang_up(server)


HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "pieces",
    [(HEAD + b"\r\n", b"x" * 65536), (CHUNKED, b"10000\r\n" + b"x" * 65536 + b"\r\n")],
    ids=["without length", "chunked"],
)
def test_an_answer_without_end_is_read_up_to_a_bound_and_its_status_counts(
    tmp_path: Path, sink: Callable[..., Sink], frames: Callable[..., list[Frame]], pieces: tuple[bytes, ...]
) -> None:
    with _answering(*pieces) as (port, sent):
        opened = sink(f"webhook+http://127.0.0.1:{port}?spool={tmp_path}/s&linger=20")
        for frame in _inferred(frames([0.0, 0.1])):
            opened.write(frame)
            until(lambda: opened.counts["delivered"] == frame.index + 1)  # type: ignore[attr-defined]  # noqa: B023
        opened.close()
    assert len(sent) == 2
    assert max(sent) < 32 << 20  # what the kernel holds for both ends, no more


@pytest.mark.parametrize(
    "pieces",
    [(HEAD + b"Content-Length: 9999\r\n\r\n", b"x"), (HEAD, b"X"), (b"H",)],
    ids=["body", "head", "nothing"],
)
def test_an_answer_that_drips_is_given_up_after_one_time_limit(
    tmp_path: Path,
    sink: Callable[..., Sink],
    frames: Callable[..., list[Frame]],
    monkeypatch: pytest.MonkeyPatch,
    pieces: tuple[bytes, ...],
) -> None:
    monkeypatch.setattr(webhook, "PATIENCE", 0.3)
    with _answering(*pieces, pause=0.02) as (port, _):
        opened = sink(f"webhook+http://127.0.0.1:{port}?spool={tmp_path}/s&linger=0")
        opened.write(_inferred(frames([0.0]))[0])
        until(lambda: opened.counts["lost connections"] >= 2)  # type: ignore[attr-defined]
        opened.close()
    assert opened.counts["delivered"] == 0  # type: ignore[attr-defined]


def test_what_a_service_says_is_told_once_on_one_printable_line_and_its_return_after_a_delivery(
    tmp_path: Path,
    sink: Callable[..., Sink],
    frames: Callable[..., list[Frame]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    reply = b"HTTP/1.1 503 \x1b[31mred\x07" + b"y" * 500 + b"\r\nContent-Length: 0\r\n\r\n"
    with caplog.at_level(logging.WARNING), _answering(reply) as (port, _):
        opened = sink(f"webhook+http://127.0.0.1:{port}?spool={tmp_path}/s&linger=0")
        opened.write(_inferred(frames([0.0]))[0])
        until(lambda: opened.counts["lost connections"] >= 3)  # type: ignore[attr-defined]
        opened.close()
    first = caplog.messages[0]
    assert first.isprintable()
    assert "answers 503" in first
    assert len(first) < 400
    assert [line for line in caplog.messages if "answers" in line] == [first]
    assert "connected again" not in caplog.text


def test_the_return_of_a_service_is_told_once(
    tmp_path: Path,
    hook: Hook,
    sink: Callable[..., Sink],
    frames: Callable[..., list[Frame]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    refusals = iter([503, 503, 503])
    hook.status = lambda records: next(refusals, 200)
    with caplog.at_level(logging.WARNING):
        opened = sink(f"webhook+http://127.0.0.1:{hook.port}?spool={tmp_path}/s&linger=20")
        opened.write(_inferred(frames([0.0]))[0])
        opened.close()
    assert [line.rpartition(": ")[2] for line in caplog.messages if "again" in line] == ["connected again"]


def test_a_record_that_is_refused_for_good_is_counted_and_the_others_go_on(
    tmp_path: Path, hook: Hook, sink: Callable[..., Sink], frames: Callable[..., list[Frame]]
) -> None:
    hook.status = lambda records: 422 if any(record["index"] == 3 for record in records) else 200
    opened = sink(f"webhook+http://127.0.0.1:{hook.port}?spool={tmp_path}/s")
    for frame in _inferred(frames([index / 10 for index in range(8)])):
        opened.write(frame)
    opened.close()
    assert [record["index"] for record in hook.found] == [0, 1, 2, 4, 5, 6, 7]
    assert opened.counts["refused"] == 1  # type: ignore[attr-defined]


class Narrow:
    """A courier over a line on which no more than so many records arrive in time."""

    def __init__(self, most: int) -> None:
        self.found: list[bytes] = []
        self._most = most

    def send(self, lines: list[bytes]) -> None:
        if len(lines) > self._most:
            raise Away("does not acknowledge")
        self.found += lines

    def idle(self) -> None: ...

    def close(self) -> None: ...


@pytest.mark.parametrize("most", [100, 1])
def test_a_batch_that_is_never_taken_in_time_is_sent_in_smaller_ones(
    most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "PAUSES", Patience(shortest=0.001, longest=0.001, good=0.0))
    spool, courier = Spool(str(tmp_path), 1 << 20), Narrow(most)
    for number in range(120):
        spool.append({"stream": "cam", "number": number})
    sending = delivery.Delivery("narrow", spool, lambda: courier)
    sending.close(20.0)
    assert [json.loads(line)["number"] for line in courier.found] == list(range(120))
    assert spool.undelivered == 0
    spool.close()


def test_what_could_not_be_delivered_waits_for_the_next_run(
    tmp_path: Path,
    sink: Callable[..., Sink],
    frames: Callable[..., list[Frame]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with _listening() as (port, _):
        pass
    url = f"tcp://me:secret@127.0.0.1:{port}?spool={tmp_path}/s&linger="
    opened = sink(url + "0")
    with caplog.at_level(logging.WARNING):
        for frame in _inferred(frames([0.0, 0.1, 0.2])):
            opened.write(frame)
        until(lambda: opened.counts["lost connections"] > 0)  # type: ignore[attr-defined]
        opened.close()
    assert "stay in the spool" in caplog.text
    assert "secret" not in caplog.text
    with _listening(port) as (_, said):
        again = sink(url + "20")
        again.write(_inferred(frames([0.3]))[0])
        again.close()
        until(lambda: b"".join(said).count(b"\n") == 4)
    assert [json.loads(line)["seq"] for line in b"".join(said).splitlines()] == [0, 1, 2, 3]


def test_a_spool_that_is_removed_is_told_and_leaves_nothing_for_the_next_run(
    tmp_path: Path,
    sink: Callable[..., Sink],
    frames: Callable[..., list[Frame]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with _listening() as (port, _):
        pass
    opened = sink(f"tcp://127.0.0.1:{port}?spool={tmp_path}/s&linger=0")
    until(lambda: opened.counts["lost connections"] > 0)  # type: ignore[attr-defined]
    with caplog.at_level(logging.WARNING):
        for frame in _inferred(frames([0.0, 0.1, 0.2])):
            opened.write(frame)
        shutil.rmtree(tmp_path / "s")
        opened.close()
    assert "spool was removed, 3 records lost, 3 in all" in caplog.text
    assert "stay in the spool" not in caplog.text


def test_a_listener_that_leaves_and_returns_misses_nothing_that_it_had_not_read(
    tmp_path: Path, sink: Callable[..., Sink], frames: Callable[..., list[Frame]]
) -> None:
    pictures = _inferred(frames([index / 10 for index in range(6)]))
    with _listening() as (port, before):
        opened = sink(f"tcp://127.0.0.1:{port}?spool={tmp_path}/s&linger=20")
        for frame in pictures[:3]:
            opened.write(frame)
        until(lambda: b"".join(before).count(b"\n") == 3)
    until(lambda: opened.counts["lost connections"] > 0)  # type: ignore[attr-defined]
    for frame in pictures[3:]:
        opened.write(frame)
    with _listening(port) as (_, after):
        opened.close()
        until(lambda: b"".join(after).count(b"\n") >= 3)
    lines = b"".join(before).splitlines() + b"".join(after).splitlines()
    assert sorted({json.loads(line)["seq"] for line in lines}) == list(range(6))


def test_writing_does_not_wait_for_a_service_that_never_answers(
    tmp_path: Path, sink: Callable[..., Sink], frames: Callable[..., list[Frame]]
) -> None:
    with _listening() as (port, said):  # it reads, and does not answer
        opened = sink(f"webhook+http://127.0.0.1:{port}?spool={tmp_path}/s&linger=0&spool_mb=0.02")
        pictures = _inferred(frames([0.0]))
        for _ in range(400):
            opened.write(pictures[0])
        until(lambda: bool(said))
        opened.close()
    counts = opened.counts  # type: ignore[attr-defined]
    assert counts["appended"] == 400
    assert counts["delivered"] == 0
    assert counts["overflowed"] > 100


def test_frames_between_two_inferred_ones_are_no_records(
    tmp_path: Path, hook: Hook, sink: Callable[..., Sink], frames: Callable[..., list[Frame]]
) -> None:
    opened = sink(f"webhook+http://127.0.0.1:{hook.port}?spool={tmp_path}/s")
    for frame in _inferred(frames([0.0, 0.1, 0.2])):
        frame.inferred = frame.index == 1
        opened.write(frame)
    opened.close()
    assert [record["index"] for record in hook.found] == [1]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mqtt://127.0.0.1", ["no topic", "mqtt://HOST:1883/TOPIC"]),
        ("redis:stream", ["no host", "redis://HOST:6379/STREAM"]),
        ("tcp://127.0.0.1:99999", ["port"]),
        ("kafka://127.0.0.1/t?clases=car", ["clases", "did you mean 'classes'"]),
        ("nats://me:secret@127.0.0.1/s?rate=-1", ["rate", "-1.0", "0 or more"]),
        ("tcp://127.0.0.1?spool_mb=0", ["spool_mb", "0.01 or more"]),
        ("tcp://127.0.0.1?spool_mb=inf", ["spool_mb", "inf", "0.01 or more"]),
        ("redis://127.0.0.1/s?maxlen=-5", ["maxlen: -5", "0 or more"]),
        ("redis://127.0.0.1/s?db=-1", ["db: -1", "0 or more"]),
        ("mqtt://127.0.0.1:0/a", ["port", "1 to 65535"]),
        ("webhook+http://127.0.0.1:0/a", ["port", "1 to 65535"]),
        ("mqtt://me:secret@127.0.0.1/a/+/b", ["topic: 'a/+/b'", "without the wildcards"]),
        ("mqtt://127.0.0.1/a/%23", ["topic: 'a/#'", "without the wildcards"]),
        ("mqtt://127.0.0.1/a/#", ["topic", "%23"]),
        ("mqtt://127.0.0.1/a?discovery=home/%2B", ["discovery: 'home/+'", "without the wildcards"]),
        ("nats://127.0.0.1/a.*", ["subject: 'a.*'", "words between dots"]),
        ("nats://127.0.0.1/a..b", ["subject: 'a..b'", "words between dots"]),
        ("nats://127.0.0.1/a%20b", ["subject: 'a b'", "without blanks"]),
        ("kafka://127.0.0.1/a%2Fb", ["topic: 'a/b'", "1 to 249"]),
        ("kafka://127.0.0.1/..", ["topic: '..'", "1 to 249"]),
        ("mqtts://127.0.0.1", ["no topic", "mqtts://HOST:8883/TOPIC"]),
        ("webhook+http://127.0.0.1/?token=secret%0A1", ["token: letters"]),
        ("webhook+http://127.0.0.1/?token=secr%C3%A9t", ["token: letters"]),
    ],
)
def test_a_wrong_url_is_refused_with_what_would_be_right(url: str, words: list[str]) -> None:
    with pytest.raises(InputError) as refused:
        check_sink(url)
    assert [word for word in words if word not in str(refused.value)] == []
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "mqtt://127.0.0.1/street/{stream}?discovery=homeassistant",
        "nats://127.0.0.1/street.records-1",
        "kafka://127.0.0.1/street.records_1",
        "redis://127.0.0.1/any thing?maxlen=0",
        "webhook+https://127.0.0.1/",
        "tcp://127.0.0.1",
    ],
)
def test_a_right_url_is_taken(url: str) -> None:
    check_sink(url)


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        ("a%20b", "/a%20b"),
        ("h%C3%A9", "/h%C3%A9"),
        ("hé b", "/h%C3%A9%20b"),
        ("a%2Fb/100%", "/a%2Fb/100%25"),
        ("x:@!$&'()*+,;=~", "/x:@!$&'()*+,;=~"),
        ("%0d%0aX:1", "/%0d%0aX:1"),
    ],
)
def test_a_webhooks_path_is_asked_for_as_it_is_written(
    tmp_path: Path,
    hook: Hook,
    sink: Callable[..., Sink],
    frames: Callable[..., list[Frame]],
    written: str,
    asked: str,
) -> None:
    opened = sink(f"webhook+http://127.0.0.1:{hook.port}/{written}?spool={tmp_path}/s")
    opened.write(_inferred(frames([0.0]))[0])
    opened.close()
    assert len(hook.found) == 1
    assert hook.path == asked


@pytest.mark.parametrize(
    ("url", "authority"),
    [
        ("nats://[::1]:4222/a", "[::1]:4222"),
        ("kafka://me:x@[fe80::1]/a", "[fe80::1]:1"),
        ("tcp://h:5", "h:5"),
    ],
)
def test_an_ipv6_address_keeps_its_brackets_beside_a_port(url: str, authority: str) -> None:
    assert place_of(parse(url, "", SINKS), port=1, path="").authority == authority


def test_an_unknown_class_is_refused(tmp_path: Path, sink: Callable[..., Sink]) -> None:
    with pytest.raises(InputError, match="no class 'cra', did you mean 'car'"):
        sink(f"tcp://127.0.0.1?classes=cra&spool={tmp_path}")


def test_a_package_that_is_missing_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"paho-mqtt is not installed: pip install 'streamer\[publish\]'"):
        check_sink("mqtt://127.0.0.1/topic")


@pytest.mark.parametrize("scheme", COURIERS)
def test_every_scheme_of_messages_is_a_sink_that_keeps_its_login_to_itself(scheme: str) -> None:
    assert sink_kind(f"{scheme}//host/x").opener.endswith(":PublishSink")
    assert "secret" not in target(f"{scheme}//me:secret@host/x")
