"""The command `trainers`: each verb a thin call into the package. Torch loads only when a verb runs."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Train, evaluate and export detectors.",
    rich_markup_mode=None,
)
_debug = False


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    global _debug
    _debug = debug


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def train(
    context: typer.Context,
    config: Annotated[Path, typer.Argument(help="A training file; --key=value after it overrides a key.")],
    output: Annotated[Path | None, typer.Option(help="Folder of checkpoints [runs/<name>].")] = None,
    resume: Annotated[Path | None, typer.Option(help="Checkpoint to go on from.")] = None,
) -> None:
    """Train as CONFIG says; Ctrl-C saves last.pt, --resume goes on from it."""
    from trainers.config import read_config
    from trainers.train import train as run

    settings = read_config(config, tuple(context.args))
    folder = output or Path("runs") / settings.name
    if settings.model.arch.startswith("yolactedge_video"):
        from trainers.video import train_video

        last = train_video(settings, folder, resume=resume)
    else:
        last = run(settings, folder, resume=resume)
    typer.echo(f"{last}\ntrainers export {last} {settings.name}.onnx")


@app.command()
def evaluate(
    model: Annotated[Path, typer.Argument(help="A checkpoint (.pt) or a model file (.onnx).")],
    pictures: Annotated[int, typer.Option(min=1, help="How many are rendered.")] = 400,
    split: Annotated[str, typer.Option(help="val, held_out or fresh: which seeds.")] = "held_out",
    appearance: Annotated[str, typer.Option(help="held-out or usual.")] = "held-out",
    data: Annotated[
        Path | None, typer.Option(help="A training file: its val pictures instead of rendered ones.")
    ] = None,
    plots: Annotated[
        Path | None, typer.Option(help="A folder for plots: precision over recall, confusion.")
    ] = None,
) -> None:
    """Measure AP by pycocotools, for each class, on rendered pictures or one's own."""
    from engines.errors import InputError, nearest
    from trainers.data.scenes import SEEDS
    from trainers.exam import examine, examine_labels

    splits = SEEDS.keys() - {"train"}
    if split not in splits:
        raise InputError(f"split: {split!r}, val, held_out or fresh is right{nearest(split, splits)}")
    if appearance not in ("held-out", "usual"):
        raise InputError(f"appearance: {appearance!r}, held-out or usual is right")
    if data is not None:
        from trainers.config import read_config

        report, of = examine_labels(model, read_config(data)), f"of {data}"
    else:
        report = examine(model, pictures, split, held_out=appearance == "held-out")
        of = f"{appearance} appearance, seeds from {SEEDS[split]}"
    if plots is not None:
        from trainers.plots import plot_report

        plot_report(plots, report)
    typer.echo(f"{model}: {report.pictures} pictures, {of}")
    figures = report.figures()
    wide = max(len(name) for name in ("class", *figures))
    typer.echo(f"{'class':<{wide}} {'AP':>6} {'AP50':>6}")
    for name, pair in figures.items():
        said = ["-" if math.isnan(figure) else f"{figure:.3f}" for figure in pair]
        typer.echo(f"{name:<{wide}} {said[0]:>6} {said[1]:>6}")


@app.command()
def export(
    checkpoint: Annotated[
        Path | None, typer.Argument(help="A checkpoint (.pt); none with --weights.")
    ] = None,
    output: Annotated[Path | None, typer.Argument(help="The ONNX file to write [<name>.onnx].")] = None,
    weights: Annotated[Path | None, typer.Option(help="A published checkpoint (.pth).")] = None,
    model: Annotated[str, typer.Option(help="What the published checkpoint is of, as yolox_s.")] = "",
    half: Annotated[bool, typer.Option(help="Store the weights as FP16.")] = True,
    size: Annotated[str, typer.Option(help="Input of a published checkpoint [its own], as 640x384.")] = "",
    card: Annotated[bool, typer.Option("--card", help="Measure it and write its card beside it.")] = False,
) -> None:
    """Write a checkpoint as one self-describing ONNX file, compared with torch before it is written."""
    from engines.errors import InputError

    if weights is not None:
        from trainers.official import export_official

        if card or output is not None:
            raise InputError(
                "export: --weights takes the ONNX file to write only, as in --weights a.pth a.onnx"
            )
        path = export_official(
            weights,
            model,
            checkpoint or Path(f"{model}.onnx"),
            size=_sides(size) if size else None,
            half=half,
        )
    elif size:
        raise InputError(
            "export: --size is of published checkpoints, ours keep the size they were trained for"
        )
    elif checkpoint is None:
        raise InputError("export: nothing to export, a checkpoint or --weights FILE --model NAME is right")
    else:
        from trainers.card import check_rendered
        from trainers.export import export as run

        if card:
            check_rendered(checkpoint)
        path = run(checkpoint, output or checkpoint.with_suffix(".onnx"), half=half)
    typer.echo(f"{path}: {path.stat().st_size / 1e6:.2f} MB")
    if card and checkpoint is not None:
        from trainers.card import write_card

        typer.echo(write_card(checkpoint, path))


@app.command()
def label(
    model: Annotated[Path, typer.Argument(help="A checkpoint (.pt) or a model file (.onnx).")],
    images: Annotated[Path, typer.Argument(help="A folder of pictures without labels.")],
    out: Annotated[Path, typer.Option(help="The COCO file to write.")] = Path("labels.json"),
    conf: Annotated[float, typer.Option(min=0.0, max=1.0, help="Least score of an object.")] = 0.5,
) -> None:
    """Write what a model finds in pictures as labels to train on (COCO's form)."""
    from trainers.label import label as run

    counts = run(model, images, out, conf=conf)
    typer.echo(f"{out}: {', '.join(f'{count} {name}' for name, count in counts.items() if count)}")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def preview(
    context: typer.Context,
    config: Annotated[Path, typer.Argument(help="A training file; --key=value after it overrides a key.")],
    output: Annotated[Path, typer.Option(help="The picture (.png, .jpg) to write.")] = Path("preview.png"),
) -> None:
    """Draw a sheet of training pictures as a run sees them, with their boxes, masks and keypoints."""
    from trainers.config import read_config
    from trainers.preview import preview as run

    typer.echo(run(read_config(config, tuple(context.args)), output))


def _sides(words: str) -> tuple[int, int]:
    from engines.errors import InputError

    width, _, height = words.lower().partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise InputError(f"--size: {words!r}, width and height as 640x384 are right")
    return int(width), int(height)


def main() -> None:
    """Run the command; exit code 2 for a user's mistake, 1 for failed work, 130 after Ctrl-C."""
    from engines.errors import InputError, WorkError

    try:
        app()
    except (InputError, WorkError) as error:
        if _debug:
            raise
        print(f"trainers: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, InputError) else 1)
    except ModuleNotFoundError as error:
        if _debug or error.name not in ("torch", "torchvision", "pycocotools"):
            raise
        print(f"trainers: {error.name} is not installed: pip install 'streamer[train]'", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
