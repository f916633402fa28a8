"""Soundtrack: what a live output carries of its source's sound, on the time of its pictures."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from streamer.audio import AudioTrack
from streamer.frame import Frame
from streamer.sinks.broadcast import Encoded
from streamer.sinks.film import TICKS
from streamer.sinks.sound import Remarks, Sound, takes

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.packet import Packet

__all__ = ["WAIT", "Soundtrack", "Sync"]

log = logging.getLogger(__name__)

WAIT = 1.0  # seconds of pictures for which announced sound is waited for
MOST_HELD = 64  # pictures that wait for it
TURNS = 8  # leaps of the source's time that are remembered; a frame comes at most a few pictures late


class Sync:
    """Where a source's time lies on that of the pictures, which others may have brought further already."""

    def __init__(self) -> None:
        self.begin = float("inf")  # seconds, of the first picture
        self._turns: deque[tuple[float, float]] = deque(maxlen=TURNS)  # captured, and the shift from then on

    def follow(self, part: Encoded) -> None:
        """Take note of a picture that goes out."""
        self.begin = min(self.begin, part.tick / TICKS)
        if not self._turns or self._turns[-1][1] != part.shift:
            self._turns.append((part.captured, part.shift))

    def shift(self, frame: Frame) -> float:
        """Return the seconds from the source's time to the pictures' at this frame."""
        passed = (shift for captured, shift in reversed(self._turns) if captured <= frame.captured)
        return next(passed, self._turns[0][1] if self._turns else 0.0)


class Soundtrack:
    """The sound of one live output, whatever containers follow one another there.

    A container gets a track for it only while packets come: players wait for what is announced.
    """

    def __init__(self, name: str, track: AudioTrack | None, form: str) -> None:
        """Copy the track, if a container of this form takes it; say what is left out."""
        self._name, self._form = name, form
        self._track = track if track is not None and takes(form, track) else None
        self._now = 0.0  # pts of the last frame
        self._heard = float("-inf")  # and of the last one with sound
        self._is_missed = False  # and this was said
        self._remarks = Remarks(name)
        self._held: list[Encoded] = []
        self._sound: Sound | None = None
        self._sync = Sync()
        if track is not None and self._track is None:
            log.warning("%s: %s sound does not fit %s, left out", name, track.codec, form)
        elif track is not None:
            self._remarks.tell_of_others(track)

    @property
    def track(self) -> AudioTrack | None:
        """What a container that begins now gets."""
        return self._track if self._is_heard else None

    @property
    def _is_heard(self) -> bool:
        return abs(self._now - self._heard) <= WAIT

    def hear(self, frame: Frame) -> None:
        """Take note of whether sound comes."""
        self._now = frame.pts
        if frame.audio:
            self._heard = frame.pts

    def hold(self, parts: Sequence[Encoded]) -> Sequence[Encoded]:
        """Return the pictures that can go out; before a container is begun they wait for the first sound."""
        if self._track is None or self._is_heard or self._is_missed:
            return [*self.release(), *parts]
        self._held += parts
        if self._held and self._has_waited():
            self._is_missed = True
            log.warning("%s: no %s sound in %g s, left out", self._name, self._track.codec, WAIT)
            return self.release()
        return ()

    def _has_waited(self) -> bool:
        held = self._held
        return len(held) >= MOST_HELD or held[-1].tick - held[0].tick > WAIT * TICKS

    def release(self) -> list[Encoded]:
        """Return the pictures that wait, and let none wait."""
        held, self._held = self._held, []
        return held

    def join(self, container: OutputContainer) -> None:
        """Add the track to a container that is about to begin."""
        self._sync = Sync()
        self._sound = None
        if self.track is not None:
            self._sound = Sound(container, self.track, (), self._form)

    def follow(self, part: Encoded) -> None:
        """Take note of a picture that went into the container."""
        self._sync.follow(part)

    def packets(self, frame: Frame) -> Iterator[Packet[Any]]:
        """Yield what came with a frame, ready to mux; nothing from before the container's first picture."""
        sound, sync = self._sound, self._sync
        if sound is None or not frame.audio:
            return
        shift = sync.shift(frame)
        for packet in sound.packets(frame.audio, shift, frame.pts + shift):
            if (packet.pts or 0) * float(packet.time_base) >= sync.begin:
                yield packet
        self._remarks.tell_of_strays(sound.astray)

    def lose(self, error: Exception) -> None:
        """Go on without sound."""
        self._sound = self._track = None
        self._remarks.tell_of_loss(error)
