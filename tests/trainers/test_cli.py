"""The command: quick to start, one sentence for a mistake."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
LITTLE = {"widths": [8, 8, 16, 16, 16], "depths": [1, 1, 1, 1], "neck": 16}


def trainers(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from trainers.cli import main; main()", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_help_loads_neither_torch_nor_pictures() -> None:
    code = "import sys, trainers.cli as c; from typer.testing import CliRunner; "
    code += "print(CliRunner().invoke(c.app, ['--help']).output); "
    code += "print([m for m in ('torch', 'cv2', 'numpy', 'pydantic', 'onnx', 'av') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert all(verb in done.stdout for verb in ("train", "evaluate", "export", "preview"))
    assert done.stdout.strip().endswith("[]")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("train", "nowhere.yaml"), "nowhere.yaml: no such file"),
        (("train", "configs/train/tiny-yolo.yaml", "--optim.epocs=3"), "did you mean 'epochs'?"),
        (("evaluate", "a.pt", "--split", "train"), "split: 'train', val, held_out or fresh is right"),
        (("export", "nowhere.pt", "a.onnx"), "nowhere.pt: no such checkpoint"),
    ],
)
def test_mistakes_are_one_sentence_and_exit_code_2(arguments: tuple[str, ...], said: str) -> None:
    pytest.importorskip("torch", reason="torch is not installed: pip install 'streamer[train]'")
    done = trainers(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "mean 'train'" not in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.fixture(scope="module")
def of_another_family(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a little SSD."""
    pytest.importorskip("torch", reason="torch is not installed: pip install 'streamer[train]'")
    from trainers.config import Config
    from trainers.train import train

    folder = tmp_path_factory.mktemp("ssd")
    settings = {
        "name": "a",
        "size": (64, 64),
        "model": LITTLE | {"arch": "ssd_small"},
        "data": {"train": 2, "val": 1},
    }
    return train(Config.model_validate(settings | {"optim": {"epochs": 1}}), folder, quiet=True)


@pytest.mark.parametrize(
    ("config", "arguments", "said"),
    [
        (
            "data: {kind: coco, images: some, labels: some.json}",
            (),
            "some.json: No such file or directory, a COCO label file is right",
        ),
        (
            "data: {kind: yolo, images: some, labels: some, classes: [a]}",
            (),
            "some: no such folder of pictures",
        ),
        ("optim: {epohs: 3}", (), "optim.epohs: unknown key, did you mean 'epochs'?"),
        ("size: [90, 64]", (), "size: 90x64, multiples of 32 are right for yolo"),
        ("model: {arch: yolox_q}", (), "model.arch: 'yolox_q', one of yolo,"),
        ("device: gpu", (), "device: 'gpu', auto, cpu or cuda:0 is right"),
        ("device: meta", (), "device: 'meta', auto, cpu or cuda:0 is right"),
        ("device: mps", (), "device: 'mps', auto, cpu or cuda:0 is right"),
        ("start: {weights: no.pt}", (), "no.pt: no such checkpoint"),
        ("start: {freeze: [stm]}", (), "did you mean 'stem'?"),
        ("teacher: {checkpoint: no.pt}", (), "no.pt: no such checkpoint"),
        ("seed: 1", ("--resume", "OTHER"), "resume: model differs from the checkpoint's"),
        ("seed: 1", ("--resume", "config.yaml"), "config.yaml: not a checkpoint of `trainers train`"),
    ],
)
def test_training_on_what_is_wrong_ends_in_one_sentence_and_leaves_nothing(
    config: str,
    arguments: tuple[str, ...],
    said: str,
    of_another_family: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from trainers.cli import main

    monkeypatch.chdir(tmp_path)
    tree = {
        "name": "a",
        "size": [64, 64],
        "model": LITTLE,
        "data": {"train": 2, "val": 1},
        "optim": {"epochs": 1},
    }
    Path("config.yaml").write_text(yaml.safe_dump(tree | yaml.safe_load(config)))
    given = [str(of_another_family) if word == "OTHER" else word for word in arguments]
    monkeypatch.setattr(sys, "argv", ["trainers", "train", "config.yaml", *given])
    with pytest.raises(SystemExit) as end:
        main()
    words = capsys.readouterr().err.strip()
    assert end.value.code == 2
    assert said in words
    assert len(words.splitlines()) == 1
    assert not Path("runs").exists()


def test_ctrl_c_says_what_is_saved_and_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="torch is not installed: pip install 'streamer[train]'")
    from trainers import train as loop
    from trainers.cli import main

    take = loop._step

    def step_and_stop(*given: object) -> dict[str, float]:
        signal.raise_signal(signal.SIGINT)
        return take(*given)

    monkeypatch.setattr(loop, "_step", step_and_stop)
    tree = {"name": "a", "size": [64, 64], "model": LITTLE, "data": {"train": 2, "val": 1}}
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(tree))
    command = ["trainers", "train", str(tmp_path / "a.yaml"), "--output", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 130
    assert capsys.readouterr().err.endswith(f"{tmp_path / 'last.pt'}: saved, --resume goes on from it\n")
    assert (tmp_path / "last.pt").is_file()


def test_a_missing_torch_is_named_with_what_installs_it(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from trainers.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "export", "a.pt", "a.onnx"],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert "streamer[train]" in done.stderr
    assert "Traceback" not in done.stderr
