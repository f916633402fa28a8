"""Mixed precision: bfloat16 where the processor has it, float32 where it would be slower."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from trainers import mixed

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("flags", "able"),
    [
        ("fpu sse2 avx2", False),
        ("avx512f avx512_bf16", True),
        ("amx_bf16 amx_tile", True),
        ("asimd bf16", True),
    ],
)
def test_a_forward_pass_is_in_bfloat16_only_where_the_processor_has_it(
    flags: str, able: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "cpuinfo"
    told.write_text(f"processor\t: 0\nflags\t\t: {flags}\n")
    monkeypatch.setattr(mixed, "_CPU", told)
    matrix = torch.ones(2, 2)
    with mixed.autocast(CPU, wanted=True):
        assert (matrix @ matrix).dtype == (torch.bfloat16 if able else torch.float32)
    with mixed.autocast(CPU, wanted=False):
        assert (matrix @ matrix).dtype == torch.float32
    assert mixed.remark(CPU, wanted=False) == ""
    assert mixed.remark(CPU, wanted=True) == ("" if able else "amp: this processor has no bfloat16: float32")


def test_where_flags_cannot_be_read_it_is_float32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixed, "_CPU", tmp_path / "none")
    assert not mixed.has_bfloat16(CPU)
