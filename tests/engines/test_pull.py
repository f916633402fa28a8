"""Pulling: a local server that cuts, lies and answers in ranges; digests of the card or of the first time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from engines import locate, pull
from engines.errors import InputError, WorkError

CONTENT = np.random.default_rng(0).bytes(1_000_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves CONTENT under any path; ``cut`` bytes at most per answer, ``ranges`` asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.cut, self.ranges, self.knows_ranges = CONTENT, 1 << 30, list[str](), True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/net.onnx"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        if self.path == "/gone.onnx":
            self.send_error(404)
            return
        asked = self.headers.get("Range", "")
        self.server.ranges.append(asked)
        start = (
            int(asked.removeprefix("bytes=").removesuffix("-")) if asked and self.server.knows_ranges else 0
        )
        body = self.server.content[start:]
        if not body:
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.cut])

    def log_message(self, *words: object) -> None:
        """Keep quiet."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def card(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(locate, "_CARDS", tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "net.yaml"
    path.write_text(f"model: net.onnx\nurl: {server.url}\n")
    return path


def test_a_file_comes_whole_and_is_found_by_its_name(card: Path, server: Server) -> None:
    seen: list[tuple[int, int]] = []
    path = pull.pull("net", lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert locate.locate("net").model == path
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert path.with_name("net.onnx.sha256").read_text().strip() == DIGEST
    pull.pull("net")
    assert len(server.ranges) == 1, "what is there is not downloaded again"


@pytest.mark.parametrize("knows_ranges", [True, False], ids=["a server of ranges", "a server of whole files"])
def test_a_cut_download_goes_on(knows_ranges: bool, card: Path, server: Server) -> None:
    server.cut, server.knows_ranges = 400_000, knows_ranges
    with pytest.raises(WorkError, match="run it again to go on"):
        pull.pull("net")
    server.cut = 1 << 30
    assert pull.pull("net").read_bytes() == CONTENT
    assert server.ranges == ["", "bytes=400000-"]


def test_another_file_than_the_cards_is_not_used(card: Path, server: Server) -> None:
    card.write_text(card.read_text() + f"sha256: {'a' * 64}\n")
    with pytest.raises(WorkError, match=f"sha256: {DIGEST}, {'a' * 64} is right") as refusal:
        pull.pull("net")
    assert "\n" not in str(refusal.value)
    with pytest.raises(InputError, match="`engines pull net` downloads it"):
        locate.locate("net")
    card.write_text(card.read_text().replace("a" * 64, DIGEST))
    assert pull.pull("net").read_bytes() == CONTENT


def test_a_damaged_copy_is_replaced_by_the_same_file_only(card: Path, server: Server) -> None:
    path = pull.pull("net")
    path.write_bytes(CONTENT[:-1])
    assert pull.pull("net").read_bytes() == CONTENT
    path.write_bytes(CONTENT[:-1])
    server.content = CONTENT + b"!"
    with pytest.raises(WorkError, match=f"{DIGEST} is right; the file has changed"):
        pull.pull("net")


def test_both_files_of_an_ir_come(card: Path, server: Server) -> None:
    card.write_text(f"model: net.xml\nurl: {server.url.replace('.onnx', '.xml')}\nweights_sha256: {DIGEST}\n")
    path = pull.pull("net")
    assert (path.name, path.with_suffix(".bin").read_bytes()) == ("net.xml", CONTENT)


REFUSED = {
    "no such file": ("/net.onnx", "/gone.onnx", "HTTP 404"),
    "nobody there": ("http://127.0.0.1", "http://127.0.0.2", "refused"),
}


@pytest.mark.parametrize(("old", "new", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_had_is_said_in_one_sentence(old: str, new: str, said: str, card: Path) -> None:
    card.write_text(card.read_text().replace(old, new))
    with pytest.raises(WorkError, match=said) as refusal:
        pull.pull("net")
    assert "\n" not in str(refusal.value)


def test_unknown_names_and_cards_without_an_address_are_refused(card: Path) -> None:
    with pytest.raises(InputError, match="'nett': no card of this name, did you mean 'net'"):
        pull.pull("nett")
    card.write_text("model: net.onnx\n")
    with pytest.raises(InputError, match="url: none, this card does not say"):
        pull.pull("net")
