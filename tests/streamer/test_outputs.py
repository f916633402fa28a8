"""Several outputs of one stream at once: one encode for all that want the same picture, none for nobody."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from streamer import outputs
from streamer.pipeline import Pipeline
from streamer.settings import gather
from streamer.web.hls import playlist_of
from tests.servers.website import Site, free_port, live, wait_for

from .test_pipeline import GreyModel

WEB = ("starlette", "uvicorn", "websockets", "prometheus_client")


def test_web_rtsp_and_hls_share_one_encoder(tmp_path: Path) -> None:
    for name in WEB:
        pytest.importorskip(name, reason="pip install 'streamer[web]'")
    from websockets.sync.client import connect

    web, rtsp = free_port(), free_port()
    sinks = [f"http://127.0.0.1:{web}", f"rtsp://:{rtsp}/cam", f"{tmp_path}/live.m3u8?segment=1"]
    with Pipeline(gather([live(1, fps=20)], "tiny-yolo", sinks)) as pipeline:
        pipeline.start()
        (member,) = pipeline.streams.values()
        wait_for(lambda: member.studio.encoded > 5)
        url = f"rtsp://127.0.0.1:{rtsp}/cam"
        with (
            connect(f"ws://127.0.0.1:{web}/video/{member.name}", max_size=None) as viewer,
            av.open(url, options={"rtsp_transport": "tcp"}, timeout=(15, 10)) as player,
        ):
            assert len(viewer.recv(timeout=20)) > 16
            before, came = member.studio.encoded, pipeline.graph.ledger.tally("collect", member.name).out
            for _, _ in zip(range(20), player.decode(video=0), strict=False):
                viewer.recv(timeout=20)
            encoded = member.studio.encoded - before
            assert member.studio.encoders == 1
            assert encoded <= pipeline.graph.ledger.tally("collect", member.name).out - came + 1
        pipeline.stop()
        pipeline.join()
        assert member.studio.encoders == 0
    assert list(tmp_path.glob("*.m4s"))


def test_nobody_who_watches_costs_no_drawing_and_no_encoding() -> None:
    for name in WEB:
        pytest.importorskip(name, reason="pip install 'streamer[web]'")
    sinks = [f"http://127.0.0.1:{free_port()}", f"rtsp://:{free_port()}/cam"]
    with Pipeline(gather([live(1, fps=30)], "tiny-yolo", sinks)) as pipeline:
        pipeline.start()
        (member,) = pipeline.streams.values()
        wait_for(lambda: pipeline.graph.ledger.tally("write:cam", member.name).out > 10)
        pipeline.stop()
        pipeline.join()
        assert (member.studio.encoders, member.studio.encoded) == (0, 0)
        assert not any(name.startswith("draw") for name in pipeline.graph.nodes)


def test_the_page_serves_the_playlist_of_the_run_and_nothing_else(tmp_path: Path) -> None:
    for name in WEB:
        pytest.importorskip(name, reason="pip install 'streamer[web]'")
    (tmp_path / "secret.txt").write_text("root:")
    web = free_port()
    sinks = [f"http://127.0.0.1:{web}", f"{tmp_path}/{{stream}}.m3u8?segment=0.5"]
    with Pipeline(gather([live(1, fps=20)], "tiny-yolo", sinks)) as pipeline:
        site = Site(pipeline, web)
        pipeline.start()
        wait_for(lambda: (tmp_path / "synthetic.m3u8").exists())
        (stream,) = site.ask("/streams").json()
        assert stream["hls"] == "/hls/synthetic/synthetic.m3u8"
        playlist = site.ask(stream["hls"])
        assert playlist.headers["content-type"].startswith("application/vnd.apple.mpegurl")
        named = [line for line in playlist.body.decode().splitlines() if line.endswith(".m4s")]
        assert site.ask(f"/hls/synthetic/{named[-1]}").headers["content-type"] == "video/iso.segment"
        with av.open(f"http://127.0.0.1:{web}{stream['hls']}") as container:
            assert next(container.decode(video=0)).width == 320
        for wrong in ("secret.txt", "..%2fsecret.txt", "synthetic-x.m4s", "synthetic-99999.m4s"):
            assert site.ask(f"/hls/synthetic/{wrong}").status == 404
        assert site.ask("/hls/nobody/synthetic.m3u8").status == 404
        pipeline.stop()
        pipeline.join()


def test_the_page_leads_to_the_playlist_that_is_written_now(tmp_path: Path) -> None:
    (url,) = sinks = [f"{tmp_path}/live.m3u8?keep=0"]
    with Pipeline(gather([live(1)], "grey", sinks), model=GreyModel()) as pipeline:
        for name in ("live", "live-2"):
            pipeline.outputs.targets.claim(url, "synthetic")
            assert playlist_of(pipeline, "synthetic") == f"/hls/synthetic/{name}.m3u8"


def test_outputs_of_one_name_in_different_places_are_all_written(tmp_path: Path) -> None:
    sinks = [
        f"{tmp_path}/{place}/{name}" for place in "ab" for name in ("cam.mp4", "all.jsonl", "{stream}.mkv")
    ]
    source = "synthetic:?size=128x72&fps=30&count=6"
    with Pipeline(gather([source], "tiny-yolo", sinks)) as run:
        assert not run.run().unbalanced
    for place in "ab":
        assert (tmp_path / place / "cam.mp4").stat().st_size > 1000
        assert len((tmp_path / place / "all.jsonl").read_text().splitlines()) == 6
        assert (tmp_path / place / "synthetic.mkv").stat().st_size > 1000


@pytest.mark.parametrize(
    ("sinks", "told", "bursts"),
    [
        (["a.mp4", "a.jsonl"], {}, {"draw": 8, "a.mp4": 8, "a.jsonl": 1}),
        (["a.mp4", "{stream}.png"], {}, {"draw": 8, "a.mp4": 8, "{stream}.png": 8}),
        (["a.mp4"], {"realtime": True}, {"draw": 1, "a.mp4": 1}),
        (["a.mp4", "window:"], {}, {"draw": 1, "a.mp4": 8, "window:": 1}),
    ],
    ids=["files", "pictures", "at their own pace", "somebody looks on"],
)
def test_bursts_are_for_files_that_nobody_waits_for(tmp_path, monkeypatch, sinks, told, bursts) -> None:
    chosen: list[int] = []

    def draw(overlays: object, burst: int) -> object:
        chosen.append(burst)
        return real_draw(overlays, burst)

    def write(*given: object, burst: int, **rest: object) -> object:
        chosen.append(burst)
        return real_write(*given, burst=burst, **rest)

    real_draw, real_write = outputs.stages.draw, outputs.stages.write
    monkeypatch.setattr("streamer.sinks.window._probe", lambda url: None)
    monkeypatch.setattr(outputs.stages, "draw", draw)
    monkeypatch.setattr(outputs.stages, "write", write)
    paths = [sink if sink.endswith(":") else str(tmp_path / sink) for sink in sinks]
    settings = gather(["synthetic:?size=320x180&count=3"], "tiny-yolo", paths, **told)
    with Pipeline(settings, model=GreyModel()):
        pass
    assert sorted(chosen) == sorted(bursts.values())
