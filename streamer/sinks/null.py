"""The sink that drops every frame: for measuring all that comes before it."""

from __future__ import annotations

from engines.spec import ModelSpec
from streamer.frame import Frame
from streamer.sinks.address import Address
from streamer.sources import SourceInfo

__all__ = ["NullSink"]


class NullSink:
    """Takes frames and keeps none."""

    def __init__(self, address: Address, info: SourceInfo, spec: ModelSpec) -> None:
        self.check(address)

    @staticmethod
    def check(address: Address) -> None:
        """Raise InputError for an option; there are none."""
        address.allow()

    def write(self, frame: Frame) -> None:
        """Take one frame."""

    def close(self) -> None:
        """Nothing to finish."""
