"""Stateful: a stage that keeps something of each stream until that is removed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from streamer.inbox import Inbox

__all__ = ["Stateful"]

Taken = TypeVar("Taken")
Given = TypeVar("Given")
State = TypeVar("State")


@dataclass(frozen=True, slots=True, eq=False)
class Stateful(Generic[Taken, Given, State]):
    """A stage with the states of its streams, which its work is given beside its inbox."""

    work: Callable[[Inbox[Taken], dict[str, State]], Iterator[Given]]
    states: dict[str, State] = field(default_factory=dict)  # stream -> what is kept of it

    def __call__(self, inbox: Inbox[Taken]) -> Iterator[Given]:
        return self.work(inbox, self.states)

    def forget(self, stream: str) -> None:
        """Drop what is kept of a stream; from any thread, once nothing of it is under way."""
        self.states.pop(stream, None)
