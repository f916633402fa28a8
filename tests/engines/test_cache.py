"""The cache: entries found by all that they depend on, whole, bounded, and never used when damaged."""

from __future__ import annotations

import os
import resource
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engines
from engines import cache
from engines.errors import InputError, WorkError
from engines.files import locked
from engines.locate import locate
from engines.options import Options

COMPOSED = {"model.onnx": b"composed"}


@pytest.fixture(autouse=True)
def _fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def path(saved: Callable[..., Path]) -> Path:
    """A model file."""
    return saved({"boxes": np.zeros((1, 9, 4), np.float32), "scores": np.zeros((1, 9, 80), np.float32)})


def stored(path: Path, number: int = 1, size: int = 8) -> cache.Entry:
    """An entry with a composed model of ``size`` bytes."""
    entry = cache.entry(locate(path), Options(candidates=number))
    entry.store({"model.onnx": bytes(size)}, engines.describe(path).spec)
    return entry


def changed(path: Path) -> dict[str, Callable[[], tuple[Path, Options]]]:
    def content() -> tuple[Path, Options]:
        path.write_bytes(path.read_bytes() + b" ")
        return path, Options()

    def card() -> tuple[Path, Options]:
        path.with_suffix(".yaml").write_text("pad: 1")
        return path, Options()

    def name() -> tuple[Path, Options]:
        return path.rename(path.with_name("other.onnx")), Options()

    return {
        "content": content,
        "card": card,
        "name": name,
        "batch": lambda: (path, Options(batch=2)),
        "candidates": lambda: (path, Options(candidates=7)),
        "labels": lambda: (path, Options(labels="all")),
    }


@pytest.mark.parametrize("what", changed(Path()).keys())
def test_an_entry_is_found_by_all_that_it_depends_on(what: str, path: Path) -> None:
    before = cache.entry(locate(path), Options()).path
    assert cache.entry(locate(path), Options(conf=0.9, max_det=5)).path == before, (
        "these do not change the graph"
    )
    model, options = changed(path)[what]()
    assert cache.entry(locate(model), options).path != before


def test_an_entry_is_there_whole_or_not_at_all(path: Path) -> None:
    entry = cache.entry(locate(path), Options())
    assert entry.spec() is None
    spec = engines.describe(path).spec
    entry.store(COMPOSED, spec)
    entry.store(COMPOSED, spec)  # a second process with the same thought
    assert (entry.spec(), entry.model.read_bytes()) == (spec, b"composed")
    assert not list(entry.path.parent.glob("new-*"))


def test_the_longest_unused_go_when_all_are_too_large_but_none_in_use(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "LIMIT", 250_000)
    entries = [stored(path, number, 100_000) for number in range(1, 5)]
    for number, entry in enumerate(entries[:3]):
        os.utime(entry.path, (number + 1, number + 1))  # long ago
    stored(path, 9, 100_000)
    assert [entry.spec() is not None for entry in entries] == [False, False, False, True]
    assert len(cache.contents()) == 2


def test_what_is_dated_ahead_is_as_old_as_what_is_dated_back(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Entries of a clock that was put back would otherwise stay, and push out all others."""
    monkeypatch.setattr(cache, "LIMIT", 250_000)
    now = time.time()
    ahead, used = stored(path, 1, 200_000), stored(path, 2, 100_000)
    os.utime(ahead.path, (now + 1e7, now + 1e7))
    os.utime(used.path, (now - 1e4, now - 1e4))
    stored(path, 3, 100_000)
    assert (ahead.path.exists(), used.path.exists()) == (False, True)


DAMAGE = {
    "another bit": lambda folder: (folder / "model.onnx").write_bytes(b"another."),
    "a file less": lambda folder: (folder / "model.onnx").unlink(),
    "no record": lambda folder: (folder / "stored.json").unlink(),
    "half a record": lambda folder: (folder / "stored.json").write_text('["model'),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_what_is_damaged_is_removed(damage: Callable[[Path], object], path: Path) -> None:
    entry = stored(path)
    assert not entry.drop_if_damaged()
    damage(entry.path)
    assert entry.drop_if_damaged()
    assert entry.spec() is None
    assert not entry.drop_if_damaged(), "where nothing is, nothing is damaged"


def test_a_damaged_model_is_composed_again_with_a_sentence() -> None:
    options = Options(backend="onnxruntime")
    engines.load("tiny-yolo", options).close()
    (kept,) = cache.contents()
    (kept.path / "model.onnx").write_bytes(b"zeros and ones")
    with engines.load("tiny-yolo", options) as model:
        assert "composed again: what the cache held is damaged" in model.notes


def test_a_damaged_blob_of_openvino_is_compiled_again_with_a_sentence() -> None:
    options = Options(backend="openvino", precision="fp32")
    engines.load("tiny-yolo", options).close()
    (blob,) = cache.folder().rglob("*.blob")
    damaged = bytearray(blob.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    blob.chmod(0o600)
    blob.write_bytes(damaged)
    with engines.load("tiny-yolo", options) as model:
        assert f"compiled again: {blob.name} is damaged" in model.notes
    with engines.load("tiny-yolo", options) as model:
        assert not any("again" in note for note in model.notes)


def test_a_full_disk_leaves_no_half_entry(path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        with pytest.raises(WorkError, match="File too large, the composed model is not kept"):
            stored(path, size=2 << 20)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(cache.folder().iterdir())


def test_a_disk_without_room_for_a_folder_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**how: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.tempfile, "mkdtemp", full)
    with pytest.raises(WorkError, match="No space left on device, the composed model is not kept"):
        stored(path)


def test_an_entry_is_stored_though_the_whole_cache_was_removed_meanwhile(path: Path) -> None:
    entry, spec = cache.entry(locate(path), Options()), engines.describe(path).spec
    shutil.rmtree(cache.folder())
    entry.store(COMPOSED, spec)
    assert entry.spec() == spec


@pytest.mark.parametrize("text", ["", '{"name": "a', "[]", '{"name": "a"}'])
def test_a_damaged_spec_is_none_and_is_not_listed(text: str, path: Path) -> None:
    """Also where nobody has looked for damage yet, as where the batch is chosen."""
    entry = stored(path)
    (entry.path / "spec.json").write_text(text)
    assert entry.spec() is None
    (entry.path.parent / "foreign").mkdir()
    (entry.path.parent / "foreign" / "spec.json").write_text("{}")
    assert [kept.model for kept in cache.contents()] == (["a"] if text.endswith('"}') else [])
    with engines.load(path, Options(batch=0, candidates=1, backend="openvino")) as model:
        assert model.spec == engines.describe(path).spec


def test_what_is_kept_is_listed_and_cleared(path: Path) -> None:
    old, new = stored(path, 1, 1000), stored(path, 2, 3000)
    (new.path / "tensorrt_rtx-fp16-0123abcd.plan").write_bytes(bytes(400))
    (new.path / "fp16").mkdir()
    (new.path / "fp16" / "1.blob").write_bytes(bytes(100))
    os.utime(old.path, (1, 1))
    first, second = cache.contents()
    assert (first.path, second.path) == (new.path, old.path)
    assert (first.model, first.compiled, second.compiled) == ("model", ("openvino", "tensorrt_rtx fp16"), ())
    assert (second.used, first.size - second.size) == (1, 2500)
    assert cache.clear() == first.size + second.size
    assert cache.contents() == []
    assert cache.clear() == 0


def test_what_another_process_compiles_is_not_cleared(path: Path) -> None:
    busy, idle = stored(path, 1), stored(path, 2)
    with locked(busy.path):
        cache.clear()
    assert (busy.spec() is not None, idle.spec()) == (True, None)


def test_a_cache_that_cannot_be_written_is_replaced_for_this_process(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    entry = cache.entry(locate(path), Options())
    entry.store(COMPOSED, engines.describe(path).spec)
    assert entry.model.read_bytes() == b"composed"


def test_what_is_being_written_is_not_cleared(path: Path) -> None:
    fresh = cache.entry(locate(path), Options()).path.with_name("new-1")
    fresh.mkdir()
    old = fresh.with_name("new-0")
    old.mkdir()
    os.utime(old, (1, 1))
    cache.clear()
    assert (fresh.is_dir(), old.exists()) == (True, False)


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_a_cache_that_is_cleared_while_something_is_compiled_is_filled_again(
    backend: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, times = cache.Entry.store, [True, True]

    def and_clear(self: cache.Entry, *what: Any) -> None:
        store(self, *what)
        if times:
            times.pop()
            cache.clear()

    monkeypatch.setattr(cache.Entry, "store", and_clear)
    with engines.load(path, Options(backend=backend)) as model:
        assert model.notes.count("composed again: the cache was cleared meanwhile") == 2
    times[:] = [True] * 9
    cache.clear()
    with pytest.raises(WorkError, match="it is cleared again and again"):
        engines.load(path, Options(backend=backend))


def test_a_folder_for_a_lock_is_damage_and_is_cleared(path: Path) -> None:
    options = Options(backend="openvino", precision="fp32")
    engines.load(path, options).close()
    (kept,) = cache.contents()
    (kept.path / "lock").unlink()
    (kept.path / "lock").mkdir()
    with engines.load(path, options) as model:
        assert "composed again: what the cache held is damaged" in model.notes
    (kept.path / "lock").unlink()
    (kept.path / "lock").mkdir()
    assert cache.clear() > 0
    assert cache.contents() == []


def test_the_cache_lies_in_the_users_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.folder() == tmp_path / ".cache" / "streamer" / "engines"


def test_without_a_home_the_cache_lasts_as_long_as_the_process(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(*who: object) -> None:
        raise KeyError(who)

    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name)
    monkeypatch.setattr("pwd.getpwuid", nobody)
    entry = stored(path)
    assert entry.spec() == engines.describe(path).spec
    assert entry.path.is_relative_to(cache._own_root())
    cache.clear()


@pytest.mark.parametrize("denied", ["the entry", "its lock", "its spec"])
def test_an_entry_that_this_user_cannot_read_is_as_good_as_none(
    denied: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looked at through the system's answers: the superuser may read all."""
    number = len(denied)  # the folder of this process is the same for all
    entry, access, read = stored(path, number), os.access, Path.read_text
    spec = entry.spec()
    assert spec is not None
    (entry.path / "lock").touch()
    if denied != "its spec":
        closed = entry.path if denied == "the entry" else entry.path / "lock"
        monkeypatch.setattr(os, "access", lambda place, mode: place != closed and access(place, mode))
    else:

        def text(place: Path, **how: Any) -> str:
            if place.name == "spec.json" and place.parent == entry.path:
                raise PermissionError(13, "Permission denied", str(place))
            return read(place, **how)

        monkeypatch.setattr(Path, "read_text", text)
    again = cache.entry(locate(path), Options(candidates=number))
    assert again.spec() is None
    if denied != "its spec":
        assert again.path.parent != entry.path.parent
        again.store(COMPOSED, spec)
        assert again.spec() == spec


@pytest.mark.parametrize("name", ["streamer", "streamer/engines"])
def test_where_a_file_is_in_the_place_of_the_cache_nothing_is_kept(name: str, tmp_path: Path) -> None:
    place = tmp_path / "cache" / name
    place.parent.mkdir(parents=True)
    place.touch()
    assert (cache.contents(), cache.clear()) == ([], 0)
    assert place.is_file()


def test_a_cache_that_cannot_be_listed_is_not_called_cleared(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(place: Path) -> None:
        raise PermissionError(13, "Permission denied", str(place))

    stored(path)
    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(InputError, match="engines: Permission denied, a folder that can be read is needed"):
        cache.clear()
