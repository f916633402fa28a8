"""The command: quick to start, one sentence for a mistake."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


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
        (("export", "nowhere.pt", "a.onnx"), "nowhere.pt: no such checkpoint"),
    ],
)
def test_mistakes_are_one_sentence_and_exit_code_2(arguments: tuple[str, ...], said: str) -> None:
    pytest.importorskip("torch", reason="torch is not installed: pip install 'streamer[train]'")
    done = trainers(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


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
