"""Messages: records and events to brokers and services, through a spool and a thread for each sink."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, get_args

from engines.errors import InputError, nearest
from engines.spec import ModelSpec
from streamer.analytics.events import described
from streamer.frame import Frame
from streamer.sinks.address import Address
from streamer.sinks.delivery import Courier, Delivery
from streamer.sinks.place import Place, place_of
from streamer.sinks.records import record
from streamer.sinks.sieve import Sieve
from streamer.sinks.spool import Spool
from streamer.sources import SourceInfo
from streamer.urls import read_query, redact

__all__ = ["COURIERS", "Options", "PublishSink"]

COURIERS = {
    "mqtt:": "streamer.sinks.mqtt:MqttCourier",
    "mqtts:": "streamer.sinks.mqtt:MqttCourier",
    "redis:": "streamer.sinks.redis:RedisCourier",
    "rediss:": "streamer.sinks.redis:RedisCourier",
    "nats:": "streamer.sinks.nats:NatsCourier",
    "kafka:": "streamer.sinks.kafka:KafkaCourier",
    "webhook+http:": "streamer.sinks.webhook:WebhookCourier",
    "webhook+https:": "streamer.sinks.webhook:WebhookCourier",
    "tcp:": "streamer.sinks.tcp:TcpCourier",
}
Sent = Literal["all", "records", "events"]
ANY = (r"(?s:.*)", "")  # form of a path that may be anything
PORTS = {"mqtts:": 8883}  # of schemes whose port is another over TLS
UNSAFE = re.compile(r"[^\w.-]+")


@dataclass(frozen=True, slots=True)
class Options:
    """What every sink of messages understands. ValueError for what is out of range."""

    send: str = "all"  # one of Sent: records of frames, events of lines and zones, or both
    classes: str = ""  # names of those to keep, separated by commas; "" = all
    changes: bool = False  # only records whose tracks, or numbers of each class, differ from the last's
    rate: float = 0.0  # most records of a stream in a second of its own time, 0 = all
    spool: str = ""  # folder, "" = one of this sink's own among the user's state
    spool_mb: float = 64.0  # most that is kept there
    linger: float = 5.0  # seconds for which the end of a run waits for delivery

    def __post_init__(self) -> None:
        if self.send not in get_args(Sent):
            raise ValueError(f"send: {self.send!r}, would be one of {', '.join(get_args(Sent))}")
        for name, least in (("rate", 0.0), ("linger", 0.0), ("spool_mb", 0.01)):
            if not least <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name}: {getattr(self, name)}, {least:g} or more would be right")


class CourierClass(Protocol):
    """What makes connections of one kind."""

    options: ClassVar[Options]  # defaults; its fields are the keys of the URL's query
    needs: ClassVar[tuple[str, str]]  # module to import and its package, ("", "") = none
    port: ClassVar[int]
    path: ClassVar[str]  # what the user calls what follows the host, "" = nothing need follow
    form: ClassVar[tuple[str, str]]  # pattern of a path that can be, and what would be right

    def __call__(self, place: Place, options: Any) -> Courier: ...


class PublishSink:
    """Numbers each record, spools it and leaves; delivery is another thread's."""

    def __init__(self, address: Address, info: SourceInfo, spec: ModelSpec) -> None:
        self.check(address)
        make = _courier(address)
        options = read_query(address.url, make.options)
        place = _place(address, make)
        classes = tuple(name.strip() for name in options.classes.split(",") if name.strip())
        for name in classes:
            if name not in spec.classes:
                raise InputError(
                    f"{redact(address.url)}: classes: no class {name!r}{nearest(name, spec.classes)}"
                )
        self._spec = spec
        self._linger = options.linger
        self._send = options.send
        self._sieve = Sieve(classes, changes=options.changes, rate=options.rate)
        self._spool = Spool(options.spool or _folder(place), round(options.spool_mb * 2**20))
        self._delivery = Delivery(place.shown, self._spool, lambda: make(place, options))

    @staticmethod
    def check(address: Address) -> None:
        """Raise InputError for an option, a place or a missing package."""
        make = _courier(address)
        read_query(address.url, make.options)
        place = _place(address, make)
        module, package = make.needs
        if module and importlib.util.find_spec(module) is None:
            raise InputError(
                f"{place.shown}: {package} is not installed: pip install 'streamer[publish]' would bring it"
            )

    @property
    def counts(self) -> Counter[str]:
        """Records: appended, delivered, refused, overflowed; and connections lost."""
        return self._delivery.counts + Counter(
            appended=self._spool.appended, overflowed=self._spool.overflowed
        )

    def write(self, frame: Frame) -> None:
        """Spool the record of a frame that went through the model, and events, if they are to be sent."""
        wanted = frame.inferred and self._send != "events"
        if wanted and (chosen := self._sieve(record(frame, self._spec))):
            self._spool.append(chosen)
        if self._send != "records":
            for event in frame.events:
                told = described(event, frame.stream, self._spec.classes)
                if self._sieve.takes(told):
                    self._spool.append(told)

    def forget(self, stream: str) -> None:
        """Compare what comes of a stream no more with what was sent of one that was removed."""
        self._sieve.forget(stream)

    def close(self) -> None:
        """Wait for delivery as long as was asked, then leave the rest to the next run."""
        self._delivery.close(self._linger)
        self._spool.close()


def _courier(address: Address) -> CourierClass:
    module, _, name = COURIERS[address.kind].partition(":")
    found: CourierClass = getattr(importlib.import_module(module), name)
    return found


def _place(address: Address, make: CourierClass) -> Place:
    place = place_of(address, port=PORTS.get(address.kind, make.port), path=make.path)
    pattern, right = make.form
    if make.path and "#" in address.path.rpartition("@")[2]:  # the rest would be cut off as a URL's fragment
        raise InputError(f"{place.shown}: {make.path}: '#' must be written as %23")
    if not re.fullmatch(pattern, place.path):
        raise InputError(f"{place.shown}: {make.path}: {place.path!r}, {right} would be right")
    return place


def _folder(place: Place) -> str:
    """Return the folder that belongs to this place, whatever the login and the options are."""
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    where = f"{place.scheme}://{place.host}:{place.port}/{place.path}"
    mark = hashlib.sha256(where.encode()).hexdigest()[:8]
    return os.path.join(state, "streamer", "spool", f"{UNSAFE.sub('_', where)[:80]}-{mark}")
