"""URLs: no secret is ever shown, and options are read or refused with what would be right."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from engines.errors import InputError
from streamer.urls import encode_login, read_query, redact, scheme


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://admin:hunter2@10.0.0.5/h264", "rtsp://admin:***@10.0.0.5/h264"),
        ("rtsp://admin:p@ss:w/rd@10.0.0.5:554/h264", "rtsp://admin:***@10.0.0.5:554/h264"),
        ("rtsp://:hunter2@cam/1", "rtsp://:***@cam/1"),
        ("rtsp://me@firm:hunter2@cam/1", "rtsp://me@firm:***@cam/1"),
        (
            "srt://me@firm.com:p@ss@[fe80::1]:9000?mode=caller",
            "srt://me@firm.com:***@[fe80::1]:9000?mode=caller",
        ),
        ("a rtsp://a@b:x@h/1, b rtsp://c@d:y@h/1", "a rtsp://a@b:***@h/1, b rtsp://c@d:***@h/1"),
        ("http://cam/video?mail=me@firm.com", "http://cam/video?mail=me@firm.com"),
        ("http://cam/a:b@c?token=d@e&fps=3", "http://cam/a:b@c?token=***&fps=3"),
        ("rtsp://me@cam/1?mail=me@firm.com", "rtsp://me@cam/1?mail=me@firm.com"),
        ("http://cam/video?user=a&password=hunter2&fps=3", "http://cam/video?user=a&password=***&fps=3"),
        ("https://cam/v?api_key=abc&access_token=def#x", "https://cam/v?api_key=***&access_token=***#x"),
        ("rtsp://admin@cam/1", "rtsp://admin@cam/1"),
        ("rtsp://cam:554/1", "rtsp://cam:554/1"),
        ("rtsp://[fe80::1]:554/a@b, me@firm.com", "rtsp://[fe80::1]:554/a@b, me@firm.com"),
        ("rtsp://admin:hunter2@[fe80::1]/1", "rtsp://admin:***@[fe80::1]/1"),
        ("clips/a@b:c.mp4", "clips/a@b:c.mp4"),
        (
            "rtsp://cam/user=admin_password=hunter2_channel=1_stream=0.sdp",
            "rtsp://cam/user=admin_password=***_channel=1_stream=0.sdp",
        ),
        ("rtsp://cam/user=a&password=hunter2&channel=1", "rtsp://cam/user=a&password=***&channel=1"),
        ("http://cam/v?loginuse=a&loginpas=hunter2", "http://cam/v?loginuse=a&loginpas=***"),
        ("http://cam/v?u=a&p=hunter2&psw=hunter2", "http://cam/v?u=a&p=***&psw=***"),
        ("srt://cam:9000?streamid=#!::u=a,s=hunter2&mode=caller", "srt://cam:9000?streamid=***&mode=caller"),
        ("https://cdn/a.m3u8?hdnts=exp=1~hmac=hunter2", "https://cdn/a.m3u8?hdnts=***"),
        ("rtsp://us/er:hunter2@cam/1", "rtsp://us/er:***@cam/1"),
        ("rtsp:/admin:hunter2@cam/1", "rtsp:/admin:***@cam/1"),
        ("rtsp//admin:hunter2@cam/1", "rtsp//admin:***@cam/1"),
        ("mqtt:admin:hunter2@broker/cams", "mqtt:admin:***@broker/cams"),
        ("http:/admin:hunter2@host/m.onnx", "http:/admin:***@host/m.onnx"),
    ],
)
def test_secrets_are_hidden_and_the_rest_is_kept(text, shown):
    assert redact(text) == shown


@pytest.mark.parametrize("options", ["fps=3&preset=fast&count=2&pattern=a", "keep=5&segment=2&sport=b&mp=4"])
def test_ordinary_options_are_kept(options):
    assert redact(f"synthetic:?{options}") == f"synthetic:?{options}"


@pytest.mark.parametrize(
    ("url", "encoded"),
    [
        ("rtsp://admin:hunter2@cam/1", "rtsp://admin:hunter2@cam/1"),
        ("rtsp://admin:hunter2@10.0.0.5:554/1?a=b", "rtsp://admin:hunter2@10.0.0.5:554/1?a=b"),
        ("rtsp://admin:hunter%402@cam/1", "rtsp://admin:hunter%402@cam/1"),
        ("rtsp://admin:hunter2@100%@cam/1", "rtsp://admin:hunter2%40100%25@cam/1"),
        ("rtsp://admin:hunter2:/?#@10.0.0.5/1", "rtsp://admin:hunter2%3A%2F%3F%23@10.0.0.5/1"),
        ("rtsp://me@firm:hunter2@cam/1", "rtsp://me%40firm:hunter2@cam/1"),
        ("rtsp://me@firm.com:hunter2@cam.local:554/1", "rtsp://me%40firm.com:hunter2@cam.local:554/1"),
        ("rtsp://admin:hunter2@cam/1?mail=me@home", "rtsp://admin:hunter2@cam/1?mail=me@home"),
        ("rtsp://admin:hunter2@10.0.0.5/1?mail=me@firm.com", "rtsp://admin:hunter2@10.0.0.5/1?mail=me@firm.com"),
    ],
)  # fmt: skip
def test_every_login_that_is_encoded_is_also_hidden(url, encoded):
    assert encode_login(url) == encoded
    for text in (url, encoded, f"{url}: refused", repr([url])):
        assert "hunter2" not in redact(text)


@pytest.mark.parametrize(
    ("url", "encoded"),
    [
        ("http://cam/video?mail=me@firm.com", "http://cam/video?mail=me@firm.com"),
        ("http://10.0.0.5/me@home", "http://10.0.0.5/me@home"),
        ("rtsp://m e@cam/1?mail=me@firm.com", "rtsp://m%20e@cam/1?mail=me@firm.com"),
        ("clips/a@b.mp4", "clips/a@b.mp4"),
    ],
)
def test_what_is_no_login_is_left_as_it_is(url, encoded):
    assert encode_login(url) == encoded


@pytest.mark.parametrize(
    ("url", "found"),
    [("RTSP://cam/1", "rtsp"), ("synthetic:", "synthetic"), ("clips/a.mp4", ""), ("C:/a.mp4", ""), ("0", "")],
)
def test_scheme_is_what_stands_before_the_colon(url, found):
    assert scheme(url) == found


@dataclass(frozen=True)
class Options:
    size: tuple[int, int] = (640, 360)
    fps: float = 30.0
    count: int = 1
    fast: bool = False
    title: str = ""

    def __post_init__(self) -> None:
        if self.fps <= 0:
            raise ValueError("fps: above 0 would be right")


def test_query_replaces_the_named_fields():
    assert read_query("x:?size=320X180&fps=12.5&fast=1&title=a%20b", Options()) == Options(
        (320, 180), 12.5, fast=True, title="a b"
    )
    assert read_query("x:", Options(count=4)) == Options(count=4)
    assert all(read_query(f"x:?fast={word}", Options()).fast for word in ("1", "true", "Yes"))
    assert not any(read_query(f"x:?fast={word}", Options(fast=True)).fast for word in ("0", "False", "no"))


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("fsp=3", ["unknown key 'fsp'", "did you mean 'fps'?"]),
        ("zzzz=3", ["unknown key 'zzzz'", "size, fps, count, fast"]),
        ("size=640", ["size: '640'", "640x360"]),
        ("count=2.5", ["count: '2.5'", "a whole number"]),
        ("fps=", ["fps: ''", "a number"]),
        ("fast=maybe", ["fast: 'maybe'", "0 or 1"]),
        ("fps=0", ["above 0 would be right"]),
    ],
)
def test_bad_query_says_what_would_be_right(query, words):
    with pytest.raises(InputError) as caught:
        read_query(f"x:?{query}", Options())
    assert all(word in str(caught.value) for word in [f"x:?{query}: ", *words])


@pytest.mark.parametrize("query", ["fsp=1", "fps=x", "fps=0"])
def test_bad_query_shows_no_password(query):
    with pytest.raises(InputError) as caught:
        read_query(f"rtsp://a:hunter2@b/?{query}", Options())
    assert "hunter2" not in str(caught.value)
