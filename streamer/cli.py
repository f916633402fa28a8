"""The `streamer` command: each verb a thin call into the package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["app", "main"]

app = typer.Typer(
    help="Real-time video through detectors: cameras, RTSP feeds and files in; overlays and records out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # help must come at once, and rich takes twice as long to import as all the rest
)

Sources = Annotated[
    list[str] | None,
    typer.Argument(
        help="Video file, image, folder, glob, camera index, /dev/videoN, rtsp:// http:// udp://, synthetic:"
    ),
]
ModelName = Annotated[
    str, typer.Option("--model", "-m", help="Path (.onnx, .xml), card (.yaml) or name of a shipped model.")
]
Conf = Annotated[
    float | None, typer.Option(help="Least score of a detection, 0..1; the model's own by default.")
]
Iou = Annotated[float | None, typer.Option(help="Overlap above which the weaker of two boxes goes, 0..1.")]
Classes = Annotated[str | None, typer.Option(help="Keep only these: names or ids, separated by commas.")]
Nms = Annotated[
    str | None, typer.Option(help="Of boxes that overlap: greedy, soft, soft-linear, diou, fast or mask.")
]
Agnostic = Annotated[
    bool | None, typer.Option("--class-agnostic", help="Let boxes of different classes suppress, too.")
]
MaxDet = Annotated[int | None, typer.Option(help="Most detections of one frame.")]
Device = Annotated[str | None, typer.Option(help="Where the engine runs: auto, cpu, gpu, npu, cuda:0 ...")]
Backend = Annotated[str | None, typer.Option(help="What runs it: auto, openvino, onnxruntime ...")]
Precision = Annotated[str | None, typer.Option(help="auto, fp32, bf16 or fp16.")]
KeyInterval = Annotated[
    str | None,
    typer.Option(
        help="Models for video: frames from one key frame to the next (5), or auto[,most=12,flow=0.018,...]."
    ),
]
Batch = Annotated[
    int | None,
    typer.Option(
        help="Frames that go through the engine together: by itself 1; for files 4, if the model is small."
    ),
]


@app.command()
def run(
    sources: Sources = None,
    model: ModelName = "",
    sink: Annotated[
        list[str] | None,
        typer.Option(
            help="a.mp4, a.jsonl, - (records), a.txt (tracks), window:, dir/%06d.jpg, clips:events, null:, "
            "http://127.0.0.1:8080 (live page), "
            "rtsp:// (serves), push+rtmp://, hls/live.m3u8, mqtt:// redis:// nats:// kafka:// tcp:// "
            "webhook+http:// (records); "
            "{stream} is the stream's name."
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Pipeline YAML; options given here win over it.")
    ] = None,
    conf: Conf = None,
    iou: Iou = None,
    classes: Classes = None,
    max_det: MaxDet = None,
    nms: Nms = None,
    class_agnostic: Agnostic = None,
    device: Device = None,
    backend: Backend = None,
    precision: Precision = None,
    batch: Batch = None,
    every: Annotated[
        int | None,
        typer.Option(help="Infer every N-th frame; those between keep its detections, or follow --track."),
    ] = None,
    then: Annotated[
        list[str] | None,
        typer.Option(
            help="A model on what was found: MODEL[,classes=person+dog][,conf=][,batch=][,margin=]."
        ),
    ] = None,
    hide: Annotated[
        str | None,
        typer.Option(help="blur, pixelate or fill what was found: blur,classes=face+person or blur,heads=1."),
    ] = None,
    key_interval: KeyInterval = None,
    track: Annotated[
        str | None,
        typer.Option(help="sort, bytetrack, ocsort or botsort, and its settings: bytetrack,lost=2."),
    ] = None,
    trails: Annotated[
        float | None, typer.Option(help="Seconds of each track's way that are drawn; 2 by default.")
    ] = None,
    show_lost: Annotated[
        bool | None, typer.Option("--show-lost", help="Draw tracks that are not seen now, in dashes.")
    ] = None,
    heatmap: Annotated[
        float | None,
        typer.Option(help="Draw where things stand for long; after so many seconds half is forgotten."),
    ] = None,
    realtime: Annotated[
        bool | None, typer.Option("--realtime", help="Read files at the speed they were filmed at.")
    ] = None,
    frames: Annotated[int | None, typer.Option(help="Stop after so many frames of each source.")] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Stop after so many seconds of each source's own time.")
    ] = None,
    loop: Annotated[bool | None, typer.Option("--loop", help="Start files again at their end.")] = None,
    no_overlay: Annotated[
        bool, typer.Option("--no-overlay", help="Write the pictures as they came.")
    ] = False,
    wait: Annotated[
        bool | None, typer.Option("--wait", help="Start although no source answers, and try on.")
    ] = None,
    quarantine: Annotated[
        str | None,
        typer.Option(help="Pictures of live sources to withhold: corrupt,black,frozen (by default) or none."),
    ] = None,
    latency: Annotated[
        str | None, typer.Option(help="Keep 95 of 100 live results younger than this, as 150ms.")
    ] = None,
    traces: Annotated[
        float | None, typer.Option(help="Tell OpenTelemetry the way of this share of the frames, as 0.01.")
    ] = None,
    ledger: Annotated[
        Path | None, typer.Option(help="Write what becomes of each frame; `streamer ledger FILE` tells.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no summary.")] = False,
) -> None:
    """Process sources to their end or to Ctrl-C: once finishes what is under way, twice stops at once."""
    from streamer.follow import Follower
    from streamer.pipeline import Pipeline
    from streamer.runner import run_to_end, say, summary
    from streamer.settings import Settings, merge

    given = {
        "conf": conf, "iou": iou, "classes": classes, "max_det": max_det, "nms": nms,
        "class_agnostic": class_agnostic, "device": device,
        "backend": backend, "precision": precision, "batch": batch, "every": every,
        "key_interval": key_interval,
        "then": then or None, "hide": hide, "track": track, "trails": trails, "show_lost": show_lost,
        "heatmap": heatmap,
        "realtime": realtime, "frames": frames,
        "seconds": seconds, "loop": loop, "overlay": False if no_overlay else None,
        "wait": wait, "quarantine": quarantine, "latency": latency,
        "ledger": str(ledger) if ledger else None, "traces": traces,
    }  # fmt: skip

    def read() -> Settings:
        return merge(sources or [], model, sink or [], config, given)

    tell = (lambda sentence: None) if quiet else say
    with Pipeline(read(), say=tell) as pipeline:
        if config is not None and not sources:
            pipeline.each_second(Follower(config, pipeline, read, tell).look)
        status = run_to_end(pipeline, quiet=quiet)
        if not quiet:
            summary(pipeline)
    raise typer.Exit(status)


@app.command()
def bench(
    sources: Sources = None,
    model: ModelName = "",
    streams: Annotated[int, typer.Option(help="Run each source so many times side by side.")] = 1,
    seconds: Annotated[float, typer.Option(help="How long each of the three measurements takes.")] = 10.0,
    sink: Annotated[
        list[str] | None, typer.Option(help="What the whole pipeline writes to; null: by default.")
    ] = None,
    save: Annotated[Path | None, typer.Option(help="Write the figures as JSON.")] = None,
    compare: Annotated[Path | None, typer.Option(help="Figures saved before, to compare with.")] = None,
    fail_under: Annotated[
        float, typer.Option(help="Exit with 1 if fps falls below this ratio of --compare's.")
    ] = 0.9,
    conf: Conf = None,
    iou: Iou = None,
    classes: Classes = None,
    max_det: MaxDet = None,
    nms: Nms = None,
    class_agnostic: Agnostic = None,
    device: Device = None,
    backend: Backend = None,
    precision: Precision = None,
    batch: Batch = None,
    every: Annotated[int | None, typer.Option(help="Infer every N-th frame.")] = None,
    key_interval: KeyInterval = None,
    no_overlay: Annotated[
        bool, typer.Option("--no-overlay", help="Write the pictures as they came.")
    ] = False,
) -> None:
    """Measure the engine alone, decoding alone and the whole pipeline, in one run."""
    from engines.errors import InputError
    from engines.files import check_place
    from streamer.bench import measure
    from streamer.figures import compare_with, print_figures, read_fps, save_figures
    from streamer.settings import merge

    given = {
        "conf": conf, "iou": iou, "classes": classes, "max_det": max_det, "nms": nms,
        "class_agnostic": class_agnostic, "device": device,
        "backend": backend, "precision": precision, "batch": batch, "every": every,
        "key_interval": key_interval, "overlay": False if no_overlay else None,
        "loop": True,
    }  # fmt: skip
    if streams < 1:
        raise InputError(f"--streams: {streams}, 1 or more would be right")
    if not 0 <= fail_under < float("inf"):
        raise InputError(f"--fail-under: {fail_under}, a ratio such as 0.9 would be right")
    settings = merge((sources or []) * streams, model, sink or ["null:"], None, given)
    before = read_fps(compare) if compare else 0.0
    if save:
        check_place(save, "--save", [*settings.files(), *([compare] if compare and compare != save else [])])
    figures = measure(settings, seconds)
    print_figures(figures)
    if save:
        save_figures(figures, save)
    if compare and not compare_with(figures, compare, before, fail_under):
        raise typer.Exit(1)


@app.command()
def probe(
    source: Annotated[str, typer.Argument(help="Anything that `run` reads.")],
    count: Annotated[bool, typer.Option("--count", help="Decode to the end and count the frames.")] = False,
) -> None:
    """Say what a source holds."""
    from dataclasses import asdict

    from streamer.sources.probe import probe as look

    _print_facts(source, asdict(look(source, count=count)))


@app.command()
def evaluate(
    tracks: Annotated[
        list[Path], typer.Option(help="MOTChallenge text, as `--sink NAME.txt` writes it; may be repeated.")
    ],
    gt: Annotated[Path, typer.Option(help="Folder of sequences (NAME/gt/gt.txt), one of them, or a gt.txt.")],
) -> None:
    """Score tracks against a ground truth: MOTA, IDF1, HOTA, identity switches."""
    from streamer.evaluate import evaluate as score
    from streamer.evaluate import print_scores

    print_scores(score(gt, tracks))


@app.command()
def zones(
    source: Annotated[str, typer.Argument(help="Anything that `run` reads.")],
    at: Annotated[float, typer.Option(help="Seconds into the source at which the picture is taken.")] = 0.0,
    config: Annotated[
        Path | None, typer.Option(help="Pipeline YAML whose lines and zones are shown, and kept when drawn.")
    ] = None,
    save: Annotated[
        Path | None, typer.Option(help="Write the picture with a grid of coordinates instead of a window.")
    ] = None,
) -> None:
    """Draw lines and zones on a picture of a source: in a window, or by a grid where there is none."""
    from streamer.sketch import draw_zones

    draw_zones(source, at, config, save)


@app.command("ledger")
def ask_ledger(
    file: Annotated[Path, typer.Argument(help="What `run --ledger FILE` wrote.")],
    frame: Annotated[int | None, typer.Option(help="Tell where the frame of this index went.")] = None,
    stream: Annotated[str, typer.Option(help="Of this stream; of all by default.")] = "",
) -> None:
    """Tell what became of the frames of a run, and whether the sums agree; exit code 1 if they do not."""
    from streamer.ledger import print_balance, print_journey

    balanced = print_balance(file) if frame is None else print_journey(file, frame, stream)
    raise typer.Exit(0 if balanced else 1)


@app.command()
def doctor() -> None:
    """Examine this machine: what works, what is missing, what would help."""
    from streamer.doctor import examine, print_findings

    print_findings(examine())


@app.command()
def models() -> None:
    """List the shipped models."""
    import engines

    for spec in engines.models():
        typer.echo(f"{spec.name:16} {spec.task:8} {spec.size[0]}x{spec.size[1]}  {', '.join(spec.classes)}")


@app.command()
def validate(file: Annotated[Path, typer.Argument(help="Pipeline YAML.")]) -> None:
    """Check a pipeline's YAML without running it; it may be running elsewhere."""
    from streamer.settings import merge
    from streamer.urls import redact

    settings = merge([], "", [], file, {})
    streams = [source.name for source in settings.sources]
    for sentence in (*settings.taken(), *settings.analytics.strangers(streams)):
        typer.echo(f"{file}: for now: {sentence}", err=True)
    typer.echo(
        f"{file}: ok, {len(settings.sources)} sources, model {redact(settings.model)}, "
        f"{len(settings.sinks)} sinks"
    )


@app.command()
def graph(
    sources: Sources = None,
    model: ModelName = "",
    sink: Annotated[list[str] | None, typer.Option(help="As for run.")] = None,
) -> None:
    """Print the graph that `run` would build, in Graphviz's language."""
    from streamer.pipeline import Pipeline
    from streamer.settings import merge

    with Pipeline(merge(sources or [], model, sink or [], None, {})) as pipeline:
        typer.echo(pipeline.graph.dot())


def main() -> None:
    """Run the command; exit codes: 0 ok, 1 failed at work, 2 wrong usage or input, 130 interrupted."""
    from engines.console import run
    from streamer.argv import hide_secrets

    hide_secrets()
    run(app)


def _print_facts(title: str, facts: dict[str, Any]) -> None:
    from streamer.urls import redact

    typer.echo(redact(title))
    for name, value in facts.items():
        if isinstance(value, dict):
            for inner, fact in value.items():
                typer.echo(f"  {inner:14} {fact}")
        else:
            typer.echo(f"  {name:14} {value}")


if __name__ == "__main__":
    main()
