"""The command `engines`: look at a model, compile it, measure it, and see what is kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from engines.bench import Report
    from engines.comparison import Comparison
    from engines.evaluation import Evaluation
    from engines.options import Precision

__all__ = ["app", "main"]

app = typer.Typer(
    help="Models as this machine sees and runs them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # help must come at once, and rich takes twice as long to import as all the rest
)

store = typer.Typer(help="What was compiled and is kept for the next start.", no_args_is_help=True)
app.add_typer(store, name="cache")

ModelName = Annotated[
    str, typer.Argument(help="An .onnx file, a .yaml card, or the name of a shipped model.")
]
Backend = Annotated[str, typer.Option(help="auto, tensorrt, tensorrt_rtx, torch, openvino or onnxruntime.")]
Device = Annotated[str, typer.Option(help="auto, cpu, gpu, cuda:1 ... as the backend knows them.")]
PrecisionName = Annotated[str, typer.Option(help="auto, fp32, bf16, fp16 or int8.")]
Size = Annotated[int, typer.Option(help="Pictures that go through the engine together.")]


@app.command()
def inspect(model: ModelName) -> None:
    """Print what a model is understood to be, and how each fact was learnt."""
    from rich.table import Table
    from rich.text import Text

    from engines.console import plain
    from engines.description import describe

    found = describe(model)
    console = plain()
    console.print(Text(str(found.path), "bold"), f" {found.megabytes:.1f} MB, opset {found.opset}")
    for kind, tensors in (("input", [found.input]), ("output", found.outputs)):
        for tensor in tensors:
            shape = " x ".join(str(axis or "?") for axis in tensor.shape)
            console.print(f"  {kind:6} {tensor.name}  {shape}  {tensor.dtype}")
    table = Table("", "understood", "learnt from")
    for reason in found.spec.reasons:
        key, _, source = reason.partition(": ")
        table.add_row(key, _shown(key, getattr(found.spec, key)), source)
    console.print(table)


@app.command("compile")
def compile_(
    model: ModelName,
    backend: Backend = "auto",
    device: Device = "auto",
    precision: PrecisionName = "auto",
    batch: Size = 1,
    calibrate: Annotated[
        Path | None,
        typer.Option(help="With --precision int8: a folder of pictures or a video to calibrate on."),
    ] = None,
    save: Annotated[
        Path | None, typer.Option(help="Where the int8 model goes; by default MODEL-int8.onnx.")
    ] = None,
    inspect: Annotated[
        Path | None, typer.Option(help="Write what became of each layer to this file (JSON).")
    ] = None,
) -> None:
    """Compile a model and prove it, so that the next start finds it ready."""

    from engines.bar import drawn
    from engines.compile import prepare
    from engines.console import plain
    from engines.errors import InputError
    from engines.options import Options

    if save and not calibrate:
        raise InputError("--save: it is for the int8 model of --calibrate, which is not given")
    if calibrate:
        model, precision = _quantised(model, precision, calibrate, save), "auto"
    options = Options(backend=backend, device=device, precision=cast("Precision", precision), batch=batch)
    with drawn() as progress:
        made = prepare(model, options, progress, inspect)
    console = plain(soft_wrap=True)
    console.print(
        f"{made.spec.name}: {made.backend} {made.version} {made.precision} for {made.device}, "
        f"batch {made.batch}, in {made.folder}"
    )
    for note in made.notes:
        console.print(f"  {note}")


@store.command("list")
def list_() -> None:
    """Print what is kept, the last used first."""
    from datetime import datetime

    from rich.table import Table

    from engines.cache import LIMIT, contents, folder
    from engines.console import plain

    kept = contents()
    table = Table("model", "compiled by", "MB", "last used", "folder")
    for one in kept:
        used = datetime.fromtimestamp(one.used).strftime("%Y-%m-%d %H:%M")
        table.add_row(one.model, ", ".join(one.compiled), f"{one.size / 1e6:.1f}", used, one.path.name)
    console = plain()
    if kept:
        console.print(table)
    total = sum(one.size for one in kept)
    console.print(
        f"{len(kept)} in {folder()}: {total / 1e6:.1f} MB; above {LIMIT / 1e6:.0f} MB the longest unused go",
        soft_wrap=True,
    )


@store.command("clear")
def clear_() -> None:
    """Remove all that is kept; it is compiled again when it is wanted."""
    from engines.cache import clear, folder

    print(f"{folder()}: {clear() / 1e6:.1f} MB removed")


@app.command()
def bench(
    model: ModelName,
    seconds: Annotated[float, typer.Option(help="How long each measurement runs.")] = 3.0,
    batch: Annotated[
        str, typer.Option(help="Pictures that go through the engine together; 1,4,8 measures each.")
    ] = "1",
    backend: Backend = "auto",
    device: Device = "auto",
    precision: PrecisionName = "auto",
    json: Annotated[Path | None, typer.Option(help="Write the figures to this file as well.")] = None,
) -> None:
    """Measure the engine alone: latency with one request, throughput with several in flight."""
    from engines.bench import measure_model
    from engines.errors import InputError
    from engines.files import check_place
    from engines.locate import locate
    from engines.options import Options

    if not all(word.strip().isdecimal() for word in batch.split(",")):
        raise InputError(f"--batch: {batch!r}, a number, or several with commas as in 1,4,8, is right")
    if json:
        check_place(json, "--json", locate(model).sources)
    how = {"backend": backend, "device": device, "precision": cast("Precision", precision)}
    reports = [
        measure_model(model, Options(**how, batch=int(word)), seconds)  # type: ignore[arg-type]
        for word in batch.split(",")
    ]
    if json:
        _save(reports, json)
    _print_reports(reports)


@app.command()
def pull(name: Annotated[str, typer.Argument(help="The name of a card in configs/models.")]) -> None:
    """Download a public model; what was cut goes on where it ended, and its sha256 is checked."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    from engines.console import plain
    from engines.pull import pull as download

    name_column = TextColumn("{task.description}", markup=False)
    columns = (name_column, BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=plain(stderr=True)) as bar:
        task = bar.add_task(name, total=None)
        path = download(name, lambda done, total: bar.update(task, completed=done, total=total or None))
    plain(soft_wrap=True).print(str(path))


@app.command()
def evaluate(
    model: ModelName,
    coco: Annotated[Path, typer.Option(help="Annotations of COCO's form (JSON).")],
    images: Annotated[Path, typer.Option(help="The folder of the pictures that they name.")],
    backend: Backend = "auto",
    device: Device = "auto",
    precision: PrecisionName = "auto",
    nms: Annotated[str, typer.Option(help="greedy, soft, soft-linear, diou, fast or mask.")] = "greedy",
    save: Annotated[Path | None, typer.Option(help="Write the figures to this file as well (JSON).")] = None,
) -> None:
    """Measure average precision by COCO's rules: boxes, and masks or keypoints where the model gives them."""
    from dataclasses import replace

    from engines.evaluation import coco_options
    from engines.evaluation import evaluate as measured
    from engines.files import check_place
    from engines.locate import locate

    if save:
        check_place(save, "--save", [coco, *locate(model).sources])
    how = {"backend": backend, "device": device, "precision": precision, "nms": nms}
    options = replace(coco_options(model), **cast("Any", how))
    result = measured(model, coco, images, options)
    if save:
        _write(result.figures | {"classes": result.classes}, save, "--save")
    _print_evaluation(result)


@app.command()
def compare(
    a: ModelName,
    b: ModelName,
    on: Annotated[Path, typer.Option(help="A folder of pictures, a picture or a video.")],
    backends: Annotated[str, typer.Option(help="Of a and b, as in openvino,onnxruntime.")] = "auto,auto",
    precisions: Annotated[str, typer.Option(help="Of a and b, as in fp32,bf16.")] = "auto,auto",
    conf: Annotated[float, typer.Option(help="Score threshold of both; -1 is each model's own.")] = -1.0,
    pictures: Annotated[int, typer.Option(help="At most so many of them.")] = 50,
) -> None:
    """Match the detections of two models on the same pictures; ends with 1 where they are different."""
    from engines.comparison import compare_models
    from engines.errors import InputError
    from engines.options import Options

    chosen = [words.split(",") for words in (backends, precisions)]
    for flag, words in zip(("--backends", "--precisions"), chosen, strict=True):
        if len(words) != 2:
            raise InputError(f"{flag}: {','.join(words)!r}, one of a and one of b with a comma is right")
    one, other = (
        Options(backend=backend, precision=cast("Precision", precision), conf=conf)
        for backend, precision in zip(*chosen, strict=True)
    )
    found = compare_models(a, b, on, (one, other), pictures)
    _print_comparison(found)
    if found.verdict == "different":
        raise typer.Exit(1)


def main() -> None:
    """Run the command; exit codes: 0 done, 1 failed at work, 2 wrong usage or input, 130 interrupted."""
    from engines.console import run

    run(app)


def _quantised(model: str, precision: str, calibrate: Path, save: Path | None) -> str:

    from engines.console import plain
    from engines.errors import InputError
    from engines.quantize import quantize

    if precision != "int8":
        raise InputError(f"--calibrate: precision {precision}, it is for --precision int8")
    path = quantize(model, calibrate, save or Path(f"{Path(model).stem}-int8.onnx"))
    plain(soft_wrap=True).print(f"int8 model, calibrated on {calibrate}: {path}")
    return str(path)


def _shown(key: str, value: Any) -> str:
    """A fact on one line; what is long is cut, what is 1/255 is not 0.00392."""
    if key == "classes":
        return f"{len(value)}: {', '.join(value[:6])}{', ...' if len(value) > 6 else ''}"
    if key == "keypoints":
        return f"{len(value)}: {', '.join(value[:4])}, ..." if value else "none"
    if key == "skeleton":
        return f"{len(value)} limbs" if value else "none"
    if key == "size":
        return f"{value[0]}x{value[1]}"
    if key == "scale" and value:
        return "1" if value == 1 else f"1/{1 / value:g}"
    if key in ("between", "state"):
        return (value if key == "between" else ", ".join(value)) or "none"
    return ", ".join(f"{item:g}" for item in value) if isinstance(value, tuple) else str(value)


def _print_reports(reports: list[Report]) -> None:
    from rich.table import Table

    from engines.console import plain

    one = reports[0].latency
    title = f"{one.model}: {one.backend} {one.version} {one.precision} on {one.device}"
    names = ("flying", "fps", "median ms", "p99 ms", "GPU ms", "CPU ms/pic")
    table = Table("batch", *names, title=title)
    for report in reports:
        for name, seen in (("latency", report.latency), ("throughput", report.throughput)):
            cells = (seen.fps, seen.median_ms, seen.p99_ms, seen.device_ms, seen.cpu_ms)
            words = (f"{cell:.2f}" if cell else "" for cell in cells)
            table.add_row(f"{seen.batch} {name}", str(seen.requests), *words)
    plain().print(table)


def _print_evaluation(result: Evaluation) -> None:
    from rich.table import Table

    from engines.console import plain

    console = plain()
    table = Table(
        "", *next(iter(result.figures.values())), title=f"{result.model}, {result.pictures} pictures"
    )
    for kind, figures in result.figures.items():
        table.add_row(kind, *(f"{figures[key]:.3f}" if key in figures else "" for key in _columns(table)))
    console.print(table)
    by_class = Table("class", *result.figures)
    for name, figures in result.classes.items():
        if any(value >= 0 for value in figures.values()):
            by_class.add_row(name, *(f"{figures[kind]:.3f}" for kind in result.figures))
    console.print(by_class)


def _columns(table: Table) -> list[str]:
    return [str(column.header) for column in table.columns[1:]]


def _print_comparison(found: Comparison) -> None:
    from rich.table import Table

    from engines.comparison import rows
    from engines.console import plain

    table = Table("", "mean", "worst", title=f"{found.matched} pairs in {found.pictures} pictures")
    for row in rows(found):
        table.add_row(*row)
    console = plain()
    console.print(table)
    console.print(f"only in a: {found.only_a}, only in b: {found.only_b}; verdict: {found.verdict}")


def _save(reports: list[Report], path: Path) -> None:
    from dataclasses import asdict

    _write([asdict(report) for report in reports], path, "--json")


def _write(values: object, path: Path, flag: str) -> None:
    import json

    from engines.errors import InputError

    try:
        path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{flag}: {path}: {error.strerror}, a file that can be written is right") from error


if __name__ == "__main__":
    main()
