"""Mixed precision: the forward pass in bfloat16, on processors that compute with it.

Others can, too, but by converting to and fro, which takes longer than float32.
"""

from __future__ import annotations

from pathlib import Path

import torch

__all__ = ["autocast", "has_bfloat16", "remark"]

_CPU_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})  # x86's and Arm's names, as Linux tells them
_CPU = Path("/proc/cpuinfo")


def has_bfloat16(device: torch.device) -> bool:
    """Tell whether a device computes with bfloat16 itself."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    try:
        return not _CPU_FLAGS.isdisjoint(_CPU.read_text(encoding="utf-8").split())
    except OSError:
        return False


def autocast(device: torch.device, wanted: bool) -> torch.autocast:
    """Return the context of a forward pass: bfloat16 where it is wanted and quicker, else float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted and has_bfloat16(device))


def remark(device: torch.device, wanted: bool) -> str:
    """Return what to say when bfloat16 is wanted in vain, else nothing."""
    if not wanted or has_bfloat16(device):
        return ""
    return f"amp: this {'GPU' if device.type == 'cuda' else 'processor'} has no bfloat16: float32"
