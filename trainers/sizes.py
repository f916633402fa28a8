"""What sizes of input each family of networks takes. Loads no torch."""

from __future__ import annotations

from typing import NamedTuple

from engines.errors import InputError

__all__ = ["Sides", "check", "sides"]

_LEAST = 32  # pixels of a side


class Sides(NamedTuple):
    """The sizes an architecture takes."""

    step: int = 1  # both sides are multiples of it
    fixed: tuple[int, int] = (0, 0)  # width, height; empty = any

    @property
    def only(self) -> bool:
        """Whether there is one size alone."""
        return self.fixed != (0, 0)


# the start of an architecture's name -> its sizes; of those that fit, the longest counts
_SIDES = {
    "yolo": Sides(32),  # maps are doubled and joined to finer ones
    "pose": Sides(32),
    "retinanet": Sides(32),  # anchors lie a whole number of pixels apart
    "ssd": Sides(),
    "ssd300_vgg16": Sides(fixed=(300, 300)),  # its boxes are laid by steps of that size
    "yolact": Sides(),  # maps are resized to the finer ones' sides: 550 is the paper's
}


def sides(arch: str) -> Sides:
    """Return the sizes of an architecture; multiples of 32 for one that is not known here."""
    fitting = [name for name in _SIDES if arch.startswith(name)]
    return _SIDES[max(fitting, key=len)] if fitting else Sides(32)


def check(arch: str, size: tuple[int, int]) -> None:
    """Raise InputError for a size (width, height) that the architecture does not take."""
    known, (width, height) = sides(arch), size
    if known.only and size != known.fixed:
        raise InputError(f"size: {width}x{height}, {known.fixed[0]}x{known.fixed[1]} is right for {arch}")
    if width % known.step or height % known.step or min(size) < _LEAST:
        right = f"multiples of {known.step} are" if known.step > 1 else f"{_LEAST} or more is"
        raise InputError(f"size: {width}x{height}, {right} right for {arch}")
