"""The arrows between the packages, the lightness of their imports, the truth of their faces."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("engines", "streamer", "trainers")
FORBIDDEN = {
    "engines": {"streamer", "trainers"},
    "streamer": {"trainers", "torch", "torchvision"},
    "trainers": {"streamer"},
}
TORCH = {"torch", "torchvision"}
TORCH_ALLOWED = Path("engines/backends/torch")  # besides all of trainers
HEAVY = ("cv2", "av", "torch", "openvino", "onnxruntime", "onnx", "pydantic", "tensorrt", "tensorrt_rtx")


def modules() -> list[Path]:
    return sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported(tree: ast.AST, package: str) -> Iterator[str]:
    """Yield the full name of every module that a tree imports, wherever in it, by statement or by call.

    String constants of the form "room.module:function" count too: that is how tables name plug-ins.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: -node.level + 1 or None] if node.level else []
            yield ".".join([*above, *filter(None, [node.module])])
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__", "find_spec"):
                yield str(node.args[0].value)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            module, colon, function = node.value.partition(":")
            if colon and function.isidentifier() and module.split(".")[0] in ROOMS:
                yield module


def imports_of(path: Path) -> set[str]:
    """Return the top-level packages that a file imports anywhere, inside functions too."""
    name = name_of(path)
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return {module.split(".")[0] for module in imported(tree, package)}


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_imports_follow_the_arrows(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    torch_here = room == "trainers" or path.is_relative_to(ROOT / TORCH_ALLOWED)
    forbidden = FORBIDDEN[room] | (set() if torch_here else TORCH)
    assert not imports_of(path) & forbidden


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import torch.nn", {"torch"}),
        ("from streamer.frame import Frame", {"streamer"}),
        ("from . import frame", {"streamer"}),
        ("from ..engines import boxes", {"engines"}),
        ("def f():\n    import torch", {"torch"}),
        ("if TYPE_CHECKING:\n    from trainers import train", {"trainers"}),
        ("importlib.import_module('torch')", {"torch"}),
        ("SINKS = {'mp4': 'trainers.video:open_video'}", {"trainers"}),
        ("x = 'note: see trainers'", set()),
    ],
)
def test_the_walk_sees_every_way_to_import(source: str, found: set[str]) -> None:
    assert {module.split(".")[0] for module in imported(ast.parse(source), "streamer")} - {""} == found


def run(code: str) -> str:
    """Return what a fresh interpreter prints for this code."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("room", ["engines", "streamer"])
def test_import_is_light(room: str) -> None:
    loaded = {name.split(".")[0] for name in run(f"import sys, {room}; print(*sys.modules)").split()}
    assert room in loaded
    assert not loaded & set(HEAVY)


@pytest.mark.parametrize("room", ROOMS)
def test_help_is_light(room: str) -> None:
    """The command line answers --help without loading what only the work needs."""
    code = (
        "import sys, contextlib\n"
        f"from {room}.cli import main\n"
        f"sys.argv = ['{room}', '--help']\n"
        "with contextlib.suppress(SystemExit): main()\n"
        "print('MODULES', *sys.modules)"
    )
    if not (ROOT / room / "cli.py").exists():
        pytest.skip(f"{room} has no command line yet")
    usage, _, names = run(code).rpartition("MODULES")
    assert "Usage" in usage
    assert not {name.split(".")[0] for name in names.split()} & {*HEAVY, "numpy"}


def faces() -> list[Path]:
    return [path for path in modules() if path.name == "__init__.py"]


@pytest.mark.parametrize("path", faces(), ids=name_of)
def test_a_face_exports_what_it_says(path: Path) -> None:
    """Each name of `__all__` is there, once, and each public function and class of the face is in it."""
    if {"trainers", "torch"} & set(name_of(path).split(".")):
        pytest.importorskip("torch")
    face = importlib.import_module(name_of(path))
    tree = ast.parse(path.read_text(encoding="utf-8"))
    exported = list(getattr(face, "__all__", []))
    assert sorted(set(exported)) == sorted(exported)
    for name in exported:
        assert getattr(face, name) is not None, name
        if "__getattr__" in vars(face):  # a module of that name would take its place once it is imported
            assert not (path.parent / f"{name}.py").exists(), name
    assert own_names(tree) <= set(exported)


def own_names(tree: ast.Module) -> set[str]:
    """Return the public functions and classes that a module defines at its top."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {node.name for node in tree.body if isinstance(node, kinds) and not node.name.startswith("_")}


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_a_module_says_what_lives_in_it(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree) or not tree.body


def test_what_packages_need_beside_code_is_installed_with_them() -> None:
    """Weights, cards of public models, the page: each file matches a pattern of package-data."""
    told = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    for room in ROOMS:
        folder = ROOT / room
        told_of = {path for pattern in told["package-data"][room] for path in folder.glob(pattern)}
        held = {path for top in [folder, *links(folder)] for path in top.rglob("*") if path.is_file()}
        missing = {path for path in held - told_of if path.suffix not in (".py", ".pyc")}
        assert not missing, f"pyproject.toml: package-data: {room}: {sorted(missing)} are left out"


def links(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_symlink() and path.is_dir()]
