"""The sink that drops every frame: for measuring all that comes before it."""

from __future__ import annotations

from engines.spec import ModelSpec
from streamer.frame import Frame
from streamer.sinks.address import Address, refuse_options
from streamer.sources import SourceInfo

__all__ = ["NullSink"]


class NullSink:
    """Takes frames and keeps none."""

    def __init__(self, address: Address, info: SourceInfo, spec: ModelSpec) -> None:
        self.check(address)

    @staticmethod
    def check(address: Address) -> None:
        """Raise InputError for options."""
        refuse_options(address)

    def write(self, frame: Frame) -> None:
        """Take one frame."""

    def close(self) -> None:
        """Nothing to finish."""
