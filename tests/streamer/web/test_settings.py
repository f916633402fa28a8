from __future__ import annotations

import pytest

from engines.errors import InputError
from streamer.sinks import check_sink
from streamer.web.settings import read_listen

GOOD = "0123456789abcdef"


@pytest.mark.parametrize(
    ("url", "host", "port", "token"),
    [
        ("http://127.0.0.1:8080", "127.0.0.1", 8080, ""),
        ("http://localhost:80/", "localhost", 80, ""),
        ("http://[::1]:0", "::1", 0, ""),
        (f"http://0.0.0.0:8080?token={GOOD}", "0.0.0.0", 8080, GOOD),
        ("http://127.0.0.1:8080?viewers=5&width=640&crf=30&quality=50", "127.0.0.1", 8080, ""),
    ],
)
def test_an_address_says_where_and_for_whom(url: str, host: str, port: int, token: str) -> None:
    listen = read_listen(url)
    assert (listen.host, listen.port, listen.token) == (host, port, token)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://0.0.0.0:8080", "STREAMER_WEB_TOKEN"),
        ("http://192.0.2.1:8080", "STREAMER_WEB_TOKEN"),
        ("http://camera.example:8080", "STREAMER_WEB_TOKEN"),
        ("http://[::]:8080", "STREAMER_WEB_TOKEN"),
        ("http://0.0.0.0:8080?token=short", "token: 5 characters"),
        ("http://127.0.0.1", "http://127.0.0.1:8080 would be right"),
        ("http://127.0.0.1:99999", "http://127.0.0.1:8080 would be right"),
        ("http://127.0.0.1:8080/live", "http://127.0.0.1:8080 would be right"),
        ("http://me:pw@127.0.0.1:8080", "http://127.0.0.1:8080 would be right"),
        ("http://127.0.0.1:8080?crf=99", "crf: 99"),
        ("http://127.0.0.1:8080?veiwers=3", "viewers"),
    ],
)
def test_a_wrong_address_is_one_sentence_without_secrets(
    url: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STREAMER_WEB_TOKEN", raising=False)
    with pytest.raises(InputError) as caught:
        check_sink(url)
    assert said in str(caught.value)
    assert "token=short" not in str(caught.value)
    assert ":pw@" not in str(caught.value)


def test_the_environment_gives_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMER_WEB_TOKEN", GOOD)
    assert read_listen("http://0.0.0.0:8080").token == GOOD


def test_what_is_not_installed_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamer.sinks.web.NEEDED", ("starlette", "not_there_at_all"))
    with pytest.raises(InputError, match=r"not_there_at_all.*pip install 'streamer\[web\]'"):
        check_sink("http://127.0.0.1:0")
