"""Pulling: a local server that cuts, lies and answers in ranges; digests of the card or of the first time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from engines import locate, pull
from engines.errors import InputError, WorkError


def network(seed: int, size: int = 240_000) -> bytes:
    """Return an ONNX file of four bytes for each number of its size."""
    numbers = np.random.default_rng(seed).random(size, np.float32)
    face = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [size]) for name in ("x", "y")]
    node = helper.make_node("Add", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "net", face[:1], face[1:], [numpy_helper.from_array(numbers, "w")])
    return bytes(helper.make_model(graph).SerializeToString())


CONTENT, OTHER = network(0), network(1)
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves CONTENT under any path; ``cut`` bytes at most per answer, ``ranges`` asked for.

    It knows its file again by an ETag, and where that is another, gives all of it if ``knows_tags``.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.cut, self.ranges, self.knows_ranges = CONTENT, 1 << 30, list[str](), True
        self.topology = b"<net>"  # what it serves as .xml
        self.has_tags = self.knows_tags = self.tells_length = True

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
        body = self.server.topology if self.path.endswith(".xml") else self.server.content
        tag = f'"{hashlib.sha256(body).hexdigest()}"'
        is_same = self.headers.get("If-Range", tag) == tag or not self.server.knows_tags
        start = int(asked[6:-1]) if asked and self.server.knows_ranges and is_same else 0
        if asked and start >= len(body):
            self.send_error(416)
            return
        body = body[start:]
        self.send_response(206 if start else 200)
        if self.server.tells_length:
            self.send_header("Content-Length", str(len(body)))
        if self.server.has_tags:
            self.send_header("ETag", tag)
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


NEW = {
    "a server that compares": {},
    "a server that does not look": {"knows_tags": False},
    "a server that tells no versions": {"has_tags": False},
    "a server of whole files": {"knows_ranges": False},
    "a shorter file": {"content": network(2, 20_000), "knows_tags": False},
}


@pytest.mark.parametrize("how", NEW.values(), ids=NEW.keys())
def test_a_file_that_changes_between_two_parts_is_not_patched_together(
    how: dict[str, object], card: Path, server: Server
) -> None:
    vars(server).update({"has_tags": how.get("has_tags", True), "cut": 400_000})
    with pytest.raises(WorkError, match="run it again to go on"):
        pull.pull("net")
    vars(server).update({"content": OTHER, "cut": 1 << 30} | how)
    path = pull.pull("net")
    assert path.read_bytes() == server.content
    assert sorted(each.name for each in path.parent.iterdir()) == ["lock", "net.onnx", "net.onnx.sha256"]


RUBBISH = {
    "a page": ({"content": b"<!DOCTYPE html><html>log in</html>"}, "a web page came, 34 bytes"),
    "nothing": ({"content": b""}, "an empty file came, 0 bytes"),
    "words": ({"content": b"not found"}, "no network, or part of one, came, 9 bytes"),
    "a part, of a length that was not told": ({"cut": 400_000, "tells_length": False}, "400000 bytes"),
}


@pytest.mark.parametrize(("how", "said"), RUBBISH.values(), ids=RUBBISH.keys())
def test_what_is_no_network_is_neither_used_nor_remembered(
    how: dict[str, object], said: str, card: Path, server: Server
) -> None:
    before = {name: getattr(server, name) for name in how}
    vars(server).update(how)
    with pytest.raises(WorkError, match=said) as refusal:
        pull.pull("net")
    assert "\n" not in str(refusal.value)
    vars(server).update(before)
    assert pull.pull("net").read_bytes() == CONTENT


def test_a_part_that_is_all_there_is_taken_by_its_digest(card: Path, server: Server) -> None:
    card.write_text(card.read_text() + f"sha256: {DIGEST}\n")
    part = pull.downloads() / "net" / "net.onnx.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT)
    assert pull.pull("net").read_bytes() == CONTENT


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
    with pytest.raises(WorkError, match="no network, or part of one, came"):
        pull.pull("net")
    server.topology = b"<net/>"
    path = pull.pull("net")
    assert (path.name, path.with_suffix(".bin").read_bytes()) == ("net.xml", CONTENT)


def test_two_at_once_download_once(card: Path, server: Server) -> None:
    """Otherwise the second cuts off what the first has written beyond the size that it saw."""
    threads: list[Thread] = []
    waiting, found = Event(), []

    def second() -> None:
        found.append(pull.pull("net", lambda done, total: waiting.set()))

    def begin_another(done: int, total: int) -> None:
        if done and not threads:
            threads.append(Thread(target=second, daemon=True))
            threads[0].start()
            assert waiting.wait(30)

    found.append(pull.pull("net", begin_another))
    threads[0].join(30)
    assert [path.read_bytes() for path in found] == [CONTENT] * 2
    assert len(server.ranges) == 1


def test_a_folder_that_cannot_be_made_is_told(card: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    with pytest.raises(WorkError, match="net: Not a directory, the model is not kept"):
        pull.pull("net")


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
