"""The API of a running site: what it says, what it does, what it refuses, and whom it does not wait for."""

from __future__ import annotations

import base64
import json
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from streamer.web import server
from tests.servers.website import TOKEN, Site, live, running, wait_for

JSON = {"Content-Type": "application/json"}
FIRST, SECOND = "synthetic", "synthetic-2"


def entry(site: Site, name: str = FIRST) -> dict[str, Any]:
    found: dict[str, Any] = next(s for s in site.ask("/streams").json() if s["name"] == name)
    return found


def watch(site: Site, stream: str = FIRST) -> Any:
    from websockets.sync.client import connect

    return connect(f"ws://{site.base}/video/{stream}", max_size=None, open_timeout=20)


@pytest.mark.parametrize(
    ("path", "media"),
    [
        ("/", "text/html"),
        ("/app.js", "text/javascript"),
        ("/style.css", "text/css"),
        ("/openapi.json", "application/json"),
        ("/healthz", "text/plain"),
        ("/readyz", "text/plain"),
        ("/status", "application/json"),
        ("/streams", "application/json"),
        ("/metrics", "text/plain"),
        (f"/snapshot/{SECOND}.jpg", "image/jpeg"),
    ],
)
def test_every_page_is_served_and_covered(site: Site, path: str, media: str) -> None:
    reply = site.ask(path)
    assert reply.status == 200
    assert reply.headers["content-type"].startswith(media)
    assert "default-src 'self'" in reply.headers["content-security-policy"]
    assert "server" not in reply.headers


def test_the_page_needs_nothing_from_elsewhere(site: Site) -> None:
    for path in ("/", "/app.js", "/player.js", "/editor.js", "/charts.js", "/style.css"):
        text = site.ask(path).body.decode()
        assert "://" not in text.replace("rtsp://camera", ""), path


def test_a_snapshot_is_a_picture_of_the_stream(site: Site) -> None:
    cv2 = pytest.importorskip("cv2")
    import numpy as np

    picture = cv2.imdecode(np.frombuffer(site.ask(f"/snapshot/{FIRST}.jpg").body, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (180, 320, 3)
    assert picture.std() > 10


def test_the_description_holds_every_route(site: Site) -> None:
    from streamer.web.app import PAGE, make_app
    from streamer.web.settings import WebSettings
    from streamer.web.shows import Shows

    app = make_app(site.pipeline, Shows(WebSettings(), site.pipeline.model.spec), 1)
    served = {
        (route.path.replace(":path", ""), method.lower())
        for route in app.routes
        for method in getattr(route, "methods", None) or ()
        if method != "HEAD"
    }
    described = site.ask("/openapi.json").json()["paths"]
    pages = {(f"/{name}", "get") for name in PAGE if name != "openapi.json"}
    assert served - pages == {(path, method) for path, methods in described.items() for method in methods}


def test_events_tell_figures_and_detections(site: Site) -> None:
    with socket.create_connection(("127.0.0.1", site.port), timeout=20) as link:
        link.sendall(f"GET /events HTTP/1.1\r\nHost: {site.base}\r\n\r\n".encode())
        text = b""
        while b"event: status" not in text or b"event: detections" not in text:
            text += link.recv(65536)
    lines = [line.removeprefix("data: ") for line in text.decode(errors="ignore").splitlines()]
    records = [json.loads(line) for line in lines if line.startswith('{"stream"') and line.endswith("}")]
    assert {"stream", "index", "pts", "detections"} <= records[0].keys()


def test_a_websocket_tells_the_same(site: Site) -> None:
    from websockets.sync.client import connect

    with connect(f"ws://{site.base}/messages?kinds=detections&stream={SECOND}", open_timeout=20) as link:
        records = [json.loads(link.recv(timeout=20)) for _ in range(5)]
    assert {record["stream"] for record in records} == {SECOND}
    assert [record["index"] for record in records] == sorted(record["index"] for record in records)
    with connect(f"ws://{site.base}/messages?kinds=status", open_timeout=20) as link:
        assert "stages" in json.loads(link.recv(timeout=20))


def test_ten_viewers_cost_one_encode_and_none_costs_nothing(site: Site) -> None:
    assert entry(site)["encoders"] == 0
    with ExitStack() as stack:
        viewers = [stack.enter_context(watch(site)) for _ in range(10)]
        heads = [viewer.recv(timeout=20) for viewer in viewers]
        parts = [viewer.recv(timeout=20) for viewer in viewers]
        assert all(struct.unpack_from("<d", head)[0] < 0 and b"moov" in head[:800] for head in heads)
        assert all(b"moof" in part[:40] for part in parts)
        before, offered = entry(site), site.pipeline.graph.ledger.tally(f"decode:{FIRST}", FIRST).out
        for _ in range(10):
            viewers[0].recv(timeout=20)
        after, came = entry(site), site.pipeline.graph.ledger.tally(f"decode:{FIRST}", FIRST).out
        assert after["encoders"] == 1
        assert after["viewers"] == 10
        assert after["encoded"] - before["encoded"] <= came - offered + 3
    wait_for(lambda: entry(site)["viewers"] == 0 and entry(site)["encoders"] == 0)
    done = entry(site)["encoded"]
    results = site.pipeline.latency.count
    wait_for(lambda: site.pipeline.latency.count > results + 10)
    assert entry(site)["encoded"] == done


def test_what_a_viewer_gets_is_a_film(site: Site) -> None:
    import io

    import av

    with watch(site) as viewer:
        parts = [viewer.recv(timeout=20)[16:] for _ in range(12)]
    with av.open(io.BytesIO(b"".join(parts))) as container:
        pictures = list(container.decode(video=0))
    assert len(pictures) == 11
    assert {(picture.width, picture.height) for picture in pictures} == {(320, 180)}


def test_a_viewer_that_does_not_read_is_skipped_and_counted(
    web: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds up neither the sink nor another viewer; what it misses is counted."""
    monkeypatch.setattr(server, "PING", 300.0)  # a slow machine takes longer to fill a connection's buffers
    with running(live(5, fps=30), options="?crf=0") as site, socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", site.port))
        deaf.sendall(
            f"GET /video/{FIRST} HTTP/1.1\r\nHost: {site.base}\r\nConnection: Upgrade\r\n"
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n".encode()
        )
        with watch(site) as viewer:
            seen = 0
            while not entry(site)["unseen"]:
                viewer.recv(timeout=20)
                seen += 1
            assert seen > 60  # as many as wait for one viewer
            viewer.recv(timeout=20)


def test_streams_come_pause_and_go(site: Site) -> None:
    told = json.dumps({"url": live(9), "name": "ninth"}).encode()
    assert site.ask("/streams", "POST", told, JSON).json() == {"name": "ninth"}
    wait_for(lambda: entry(site, "ninth")["results"] > 0)
    assert site.ask("/streams/ninth/pause", "POST").status == 204
    assert entry(site, "ninth")["state"] == "paused"
    wait_for(lambda: entry(site, "ninth")["dropped"].get("decode:ninth: paused", 0) > 0)
    assert site.ask("/streams/ninth/resume", "POST").status == 204
    results = entry(site, "ninth")["results"]
    wait_for(lambda: entry(site, "ninth")["results"] > results)
    assert site.ask("/streams/ninth", "DELETE").status == 204
    assert "ninth" not in {stream["name"] for stream in site.ask("/streams").json()}
    assert entry(site)["state"] == "playing"


def test_viewers_of_a_removed_stream_are_told_and_its_encoder_ends(site: Site) -> None:
    from websockets.exceptions import ConnectionClosed

    def look(viewer: Any) -> None:
        while True:
            viewer.recv(timeout=20)

    site.pipeline.add_stream(live(9), "ninth")
    studio = site.pipeline.streams["ninth"].studio
    with watch(site, "ninth") as viewer:
        viewer.recv(timeout=20)
        site.pipeline.remove_stream("ninth")
        with pytest.raises(ConnectionClosed):
            look(viewer)
    assert studio.encoders == 0


@pytest.mark.parametrize(
    ("path", "method", "body", "headers", "status"),
    [
        ("/nope", "GET", None, {}, 404),
        ("/streams", "PUT", b"", {}, 405),
        ("/../../etc/passwd", "GET", None, {}, 404),
        ("/..%2f..%2f..%2fetc/passwd", "GET", None, {}, 404),
        ("/snapshot/..%2f..%2fetc/passwd.jpg", "GET", None, {}, 404),
        ("/page/index.html", "GET", None, {}, 404),
        ("/" + "x" * 2000, "GET", None, {}, 414),
        ("/streams/nobody/pause", "POST", None, {}, 404),
        ("/streams/nobody", "DELETE", None, {}, 404),
        ("/snapshot/nobody.jpg", "GET", None, {}, 404),
        ("/mjpeg/nobody", "GET", None, {}, 404),
        ("/events?kinds=rumours", "GET", None, {}, 400),
        ("/streams", "POST", b'{"url": "synthetic:"}', {"Content-Type": "text/plain"}, 415),
        ("/streams", "POST", b"not json", JSON, 400),
        ("/streams", "POST", b"[" * 3000, JSON, 400),
        ("/streams", "POST", b'"synthetic:"', JSON, 400),
        ("/streams", "POST", b'{"url": ""}', JSON, 400),
        ("/streams", "POST", b'{"url": "00000000000000000000"}', JSON, 400),
        ("/streams", "POST", b'{"url": "synthetic:", "every": true}', JSON, 400),
        ("/streams", "POST", b'{"url": "synthetic:", "name": "../up"}', JSON, 400),
        ("/streams", "POST", b'{"url": "synthetic:", "loop": 1}', JSON, 400),
        ("/streams", "POST", b'{"url": "synthetic:?live=1", "name": "synthetic"}', JSON, 400),
        ("/streams", "POST", b'{"url": "nothing-of-the-kind:x"}', JSON, 400),
        ("/streams", "POST", b'{"url": "/not/there.mp4"}', JSON, 400),
        ("/streams", "POST", b"x" * 5000, JSON, 413),
        ("/streams", "POST", None, {"Content-Length": "100000000"}, 413),
        ("/streams", "GET", None, {"Host": "evil.example"}, 421),
        ("/streams", "GET", None, {"Origin": "http://evil.example"}, 403),
        ("/streams", "GET", None, {"Origin": "null"}, 403),
        ("/streams", "GET", None, {"Sec-Fetch-Site": "cross-site"}, 403),
        ("/streams/synthetic/pause", "POST", None, {"Origin": "http://evil.example"}, 403),
    ],
)
def test_what_is_wrong_is_refused(
    site: Site, path: str, method: str, body: bytes | None, headers: dict[str, str], status: int
) -> None:
    reply = site.ask(path, method, body, headers)
    assert reply.status == status
    assert b"root:" not in reply.body
    assert b"Traceback" not in reply.body
    assert site.ask("/healthz").status == 200


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        (f"video/{FIRST}", {"Origin": "http://evil.example"}, 403),
        ("video/nobody", {}, 404),
        ("messages", {"Origin": "http://evil.example"}, 403),
        ("messages?kinds=rumours", {}, 400),
    ],
)
def test_a_websocket_is_refused_before_it_begins(
    site: Site, path: str, headers: dict[str, str], status: int
) -> None:
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect

    with pytest.raises(InvalidStatus) as caught:
        connect(f"ws://{site.base}/{path}", additional_headers=headers)
    assert caught.value.response.status_code == status


def test_a_line_that_is_put_counts_and_one_that_is_removed_is_gone(site: Site) -> None:
    told = json.dumps({"points": [[0.5, 1], [0.5, 0]], "streams": [FIRST]}).encode()
    assert site.ask("/analytics/lines/the%20door", "PUT", told, JSON).json() == {"file": ""}
    shown = site.ask("/analytics").json()
    assert shown["watching"]
    assert shown["lines"] == {"the door": {"points": [[0.5, 1.0], [0.5, 0.0]], "streams": [FIRST]}}
    with socket.create_connection(("127.0.0.1", site.port), timeout=20) as link:
        link.sendall(f"GET /events?kinds=event HTTP/1.1\r\nHost: {site.base}\r\n\r\n".encode())
        text = b""
        while b"event: event" not in text:
            text += link.recv(65536)
    assert b'"name":"the door"' in text
    assert site.ask("/analytics/lines/the%20door", "DELETE").status == 204
    assert site.ask("/analytics/lines/the%20door", "DELETE").status == 404
    assert site.ask("/analytics").json()["lines"] == {}


@pytest.mark.parametrize(
    ("path", "body", "status", "why"),
    [
        ("lines/door", b'{"points": [[0, 0]]}', 400, "line door: 1 points, would be two that differ"),
        ("lines/door", b'{"points": "x"}', 400, "would be points"),
        ("zones/hall", b'{"points": [[0,0],[1,0],[1,1]], "dwel": 3}', 400, "did you mean 'dwell'?"),
        ("zones/hall", b'{"points": [[0,0],[1,0],[1,1]], "classes": ["cow"]}', 400, "no class 'cow'"),
        ("lines/%2e%2e%2fetc", b'{"points": [[0, 0], [1, 1]]}', 400, "name: up to 64 letters"),
        ("lines/door", b'{"points": [[NaN, 0], [1, 1]]}', 400, "not JSON"),
        ("lines/door", b'{"points": [[0, 0], [1, 1]], "classes": ["\\ud800"]}', 400, "not JSON"),
    ],
)
def test_what_is_no_line_or_zone_is_refused(
    site: Site, path: str, body: bytes, status: int, why: str
) -> None:
    reply = site.ask(f"/analytics/{path}", "PUT", body, JSON)
    assert reply.status == status
    assert why in reply.json()["error"]
    assert site.ask("/analytics").json()["lines"] == {}


def test_the_last_stream_stays(web: None) -> None:
    with running(live(3)) as site:
        assert site.ask(f"/streams/{FIRST}", "DELETE").status == 409
        assert entry(site)["state"] == "playing"


def test_silent_connections_do_not_keep_others_out(site: Site) -> None:
    with ExitStack() as stack:
        for at in range(200):
            link = stack.enter_context(socket.create_connection(("127.0.0.1", site.port), timeout=20))
            if at % 2:
                link.sendall(b"GET /streams HTTP/1.1\r\nHost: 127")
        assert site.ask("/healthz").status == 200
        assert site.ask("/streams").status == 200


def test_a_body_without_end_is_cut_off(site: Site) -> None:
    """A chunked body tells no length: it is read up to the limit and no further."""
    with socket.create_connection(("127.0.0.1", site.port), timeout=20) as link:
        link.sendall(
            f"POST /streams HTTP/1.1\r\nHost: {site.base}\r\nContent-Type: application/json\r\n"
            "Transfer-Encoding: chunked\r\n\r\n".encode()
        )
        sent, cut = 0, False
        while sent < 100_000_000 and not cut:
            try:
                sent += link.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            except ConnectionError:
                cut = True
    assert cut
    assert sent < 20_000_000  # what buffers of the kernel hold
    assert site.ask("/healthz").status == 200


@pytest.fixture(scope="module")
def guarded(web: None) -> Iterator[Site]:
    with running(live(4), options=f"?token={TOKEN}&viewers=2") as found:
        yield found


BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/healthz", {}, 200),
        ("/", {}, 401),
        ("/streams", {}, 401),
        ("/metrics", {}, 401),
        ("/?token=wrong-wrong-wrong", {}, 401),
        (f"/streams?token={TOKEN}", {}, 401),
        ("/streams", {"Authorization": "Bearer wrong"}, 401),
        ("/streams", {"Authorization": "Basic !!!"}, 401),
        ("/streams", {"Cookie": "streamer=guess"}, 401),
        ("/streams", BEARER, 200),
        ("/streams", {"Authorization": "Basic " + base64.b64encode(f"me:{TOKEN}".encode()).decode()}, 200),
    ],
)
def test_a_token_opens_and_nothing_else_does(
    guarded: Site, path: str, headers: dict[str, str], status: int
) -> None:
    assert guarded.ask(path, headers=headers).status == status


def test_a_token_in_the_address_becomes_a_cookie(guarded: Site) -> None:
    reply = guarded.ask(f"/?token={TOKEN}")
    assert (reply.status, reply.headers["location"]) == (303, "/")
    cookie = reply.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert TOKEN not in cookie
    assert guarded.ask("/streams", headers={"Cookie": cookie.partition(";")[0]}).status == 200


def test_no_secret_is_in_any_reply(guarded: Site) -> None:
    told = json.dumps({"url": "rtsp://me:hunter2@127.0.0.1:1/cam", "name": "far"}).encode()
    added = guarded.ask("/streams", "POST", told, JSON | BEARER)
    texts = [added.body] + [
        guarded.ask(path, headers=BEARER).body
        for path in ("/streams", "/status", "/metrics", "/openapi.json", "/")
    ]
    assert added.status == 201
    for text in texts:
        assert b"hunter2" not in text
        assert TOKEN.encode() not in text


def test_viewers_beyond_the_limit_are_told_to_come_later(guarded: Site) -> None:
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect

    url = f"ws://{guarded.base}/video/{FIRST}"
    with connect(url, additional_headers=BEARER), connect(url, additional_headers=BEARER):
        wait_for(lambda: guarded.ask(f"/mjpeg/{FIRST}", headers=BEARER).status == 503)
        with pytest.raises(InvalidStatus) as caught:
            connect(url, additional_headers=BEARER)
    assert caught.value.response.status_code == 503
