"""Plans: one is used only where all that it depends on is the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from engines.plans import find_plan, guarded, keep_plan, plan_path

PARTS = {
    "backend": "tensorrt",
    "version": "10.16.1",
    "device": "NVIDIA H200",
    "capability": "9.0",
    "precision": "fp16",
    "shapes": "batch 1",
    "model": hashlib.sha256(b"model").hexdigest(),
    "layout": "1",
}


def keep(folder: Path, parts: dict[str, str]) -> Path:
    made, path = folder / "made", plan_path(folder, parts)
    made.write_bytes(b"the plan")
    assert keep_plan(made, path, parts, 1.5) == b"the plan"
    return path


def test_what_was_kept_is_found(tmp_path: Path) -> None:
    path = keep(tmp_path, PARTS)
    assert find_plan(path, PARTS) == (b"the plan", "")
    assert {entry.name for entry in tmp_path.iterdir()} == {path.name, path.with_suffix(".json").name}


def test_what_never_was_needs_no_reason(tmp_path: Path) -> None:
    assert find_plan(plan_path(tmp_path, PARTS), PARTS) == (b"", "")


@pytest.mark.parametrize("part", PARTS)
def test_each_part_of_the_key_changes_it(part: str, tmp_path: Path) -> None:
    """Under another name, or at the same place with a reason."""
    path, other = keep(tmp_path, PARTS), PARTS | {part: "another"}
    plan, why = find_plan(path, other)
    assert (plan, why) == (b"", f"{path.name} is of another {part}: {shown(PARTS[part])}, not another")
    assert find_plan(plan_path(tmp_path, other), other)[0] == b""


@pytest.mark.parametrize("part", ["backend", "device", "precision", "shapes"])
def test_what_is_used_by_turns_lies_side_by_side(part: str, tmp_path: Path) -> None:
    other = PARTS | {part: "another"}
    first, second = keep(tmp_path, PARTS), keep(tmp_path, other)
    assert first != second
    assert find_plan(first, PARTS)[0]
    assert find_plan(second, other)[0]


DAMAGE = {
    "a bit of the plan": lambda plan: plan.write_bytes(b"thf plan"),
    "half of the plan": lambda plan: plan.write_bytes(b"the "),
    "what is said of it": lambda plan: plan.with_suffix(".json").write_text("{"),
    "what it was made from": lambda plan: plan.with_suffix(".json").write_text(json.dumps({"parts": 7})),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_plan_is_not_used(damage: object, tmp_path: Path) -> None:
    path = keep(tmp_path, PARTS)
    assert callable(damage)
    damage(path)
    assert find_plan(path, PARTS) == (b"", f"{path.name} is damaged")


@pytest.mark.parametrize("suffix", [".plan", ".json"])
def test_half_of_the_pair_is_none(suffix: str, tmp_path: Path) -> None:
    path = keep(tmp_path, PARTS)
    path.with_suffix(suffix).unlink()
    assert find_plan(path, PARTS) == (b"", "")


def shown(value: str) -> str:
    return value if len(value) <= 40 else f"{value[:12]}..."


def test_what_a_library_writes_again_is_known_by_what_it_wrote_last(tmp_path: Path) -> None:
    """OpenVINO removes a blob that it cannot load for a device, and only then says that there is none."""
    blob, told = tmp_path / "1.blob", []

    def compile_(write: Callable[[], object]) -> None:
        with guarded(tmp_path, ".blob", told.append, lambda: None):
            write()

    def fail() -> None:
        blob.unlink()
        raise RuntimeError("no such device")

    compile_(lambda: blob.write_bytes(b"first"))
    with pytest.raises(RuntimeError, match="no such device"):
        compile_(fail)
    for write in (lambda: blob.write_bytes(b"other"), lambda: blob.write_bytes(b"third"), lambda: None):
        compile_(write)
    assert told == []


def test_what_an_interrupted_library_left_is_not_called_damaged(tmp_path: Path) -> None:
    told: list[str] = []
    (tmp_path / "1.blob").write_bytes(b"half")
    with guarded(tmp_path, ".blob", told.append, lambda: None):
        assert not (tmp_path / "1.blob").exists()
    assert told == ["compiled again: 1.blob is not whole"]
