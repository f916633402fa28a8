"""Real brokers, really killed: afterwards every record is there, in order."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import pytest

from streamer.frame import Frame
from streamer.sinks import Sink
from streamer.sinks import nats as nats_sink
from streamer.sinks.delivery import BATCH, Courier, Refused
from streamer.sinks.kafka import KafkaCourier
from streamer.sinks.nats import NatsCourier, NatsOptions
from streamer.sinks.place import Place
from tests.servers.brokers import Broker
from tests.servers.camera import until

pytestmark = pytest.mark.timeout(120)
ROOT = Path(__file__).parents[3]
AWAY = int(os.environ.get("BROKER_AWAY", "2"))  # seconds for which a broker is dead; 10 when all is measured


class Reader(Protocol):
    """Somebody whom the broker gives the records."""

    def read(self) -> list[dict[str, Any]]: ...

    def is_ready(self) -> bool:
        """True when the broker will keep, or hand on, what comes now."""

    def close(self) -> None:
        """End the connection."""


# Publishes 200 records a second, as a run would, and prints the number of each once it is spooled.
PUBLISHER = """
import sys, time
import numpy as np
from engines.detections import Detections
from engines.spec import ModelSpec
from streamer.frame import Frame, Planes
from streamer.sinks import open_sink
from streamer.sources import SourceInfo

url, first, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
grey = np.zeros((2, 2), np.uint8)
found = Detections.of([[0, 0, 1, 1]], [0.5], [0])
spec = ModelSpec("toy", "detect", "detections", ("car",), (32, 32))
sink = open_sink(url, info=SourceInfo((2, 2)), spec=spec)
began = time.monotonic()
for at in range(count):
    time.sleep(max(began + at / 200 - time.monotonic(), 0))
    index = first + at
    sink.write(Frame("cam", index, index / 200, Planes(grey, grey, grey), detections=found, inferred=True))
    print(index, flush=True)
sink.close()
"""


class Publisher:
    """The child that publishes."""

    def __init__(self, url: str, first: int, count: int) -> None:
        self.last = first - 1  # record known to be spooled
        self._process = subprocess.Popen(
            [sys.executable, "-c", PUBLISHER, url, str(first), str(count)], cwd=ROOT, stdout=subprocess.PIPE
        )
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.last = int(line)

    def kill(self) -> None:
        self._process.kill()
        self.wait()

    def hold(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def wait(self) -> int:
        code = self._process.wait(60)
        self._thread.join()
        assert self._process.stdout is not None
        self._process.stdout.close()
        return code


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Callable[[str], Broker]]:
    made: list[Broker] = []

    def start(program: str) -> Broker:
        folder = tmp_path / program
        folder.mkdir()
        made.append(Broker(program, folder))
        made[-1].up()
        return made[-1]

    yield start
    for one in made:
        one.kill()


class RedisReader:
    def __init__(self, port: int) -> None:
        self._client = pytest.importorskip("redis").Redis(port=port)

    def read(self) -> list[dict[str, Any]]:
        return [json.loads(fields[b"record"]) for _, fields in self._client.xrange("records")]

    def is_ready(self) -> bool:
        return True

    def close(self) -> None:
        self._client.close()


class MqttReader:
    """Acknowledges nothing, so that it never breaks off while there is something to read."""

    def __init__(self, port: int) -> None:
        mqtt = pytest.importorskip("paho.mqtt.client")
        self._found: list[dict[str, Any]] = []
        self._subscribed = threading.Event()
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        client.reconnect_delay_set(0.05, 0.1)
        client.on_connect = lambda client, *rest: client.subscribe("records", qos=0)
        client.on_subscribe = lambda *rest: self._subscribed.set()
        client.on_disconnect = lambda *rest: self._subscribed.clear()
        client.on_message = lambda client, data, message: self._found.append(json.loads(message.payload))
        client.connect("127.0.0.1", port)
        client.loop_start()
        self._client = client

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def read(self) -> list[dict[str, Any]]:
        return list(self._found)

    def is_ready(self) -> bool:
        return self._subscribed.is_set()


def _first_seen(records: list[dict[str, Any]]) -> list[int]:
    return list(dict.fromkeys(record["seq"] for record in records))


@pytest.mark.parametrize(
    ("program", "scheme", "reader"),
    [("redis-server", "redis", RedisReader), ("mosquitto", "mqtt", MqttReader)],
    ids=["redis", "mosquitto"],
)
def test_broker_and_publisher_are_killed_and_no_record_is_missing(
    tmp_path: Path,
    broker: Callable[[str], Broker],
    program: str,
    scheme: str,
    reader: Callable[[int], Reader],
) -> None:
    server = broker(program)
    there = reader(server.port)
    until(there.is_ready)
    url = f"{scheme}://127.0.0.1:{server.port}/records?spool={tmp_path}/spool&linger=40"
    first = Publisher(url, 0, 10_000)
    until(lambda: first.last > 150)
    server.kill()
    away = first.last
    until(lambda: first.last > away + AWAY * 200)
    first.hold()
    server.up()
    until(there.is_ready)
    first.go_on()
    until(lambda: bool(there.read()) and there.read()[-1]["seq"] > away + AWAY * 200)
    steady = first.last
    until(lambda: first.last > steady + 300)
    first.kill()
    second = Publisher(url, first.last + 1, 100)
    assert second.wait() == 0
    # The killed child may have spooled one record more than it could tell of.
    total = second.last + 1
    until(lambda: len(_first_seen(there.read())) >= total)
    records = there.read()
    seen = _first_seen(records)
    assert seen == list(range(len(seen)))
    assert len(seen) - total <= 1
    numbers = [record["seq"] for record in records]
    assert sum(number > steady for number in numbers) - sum(number > steady for number in seen) <= 200
    assert len(numbers) - len(seen) <= 200 + BATCH  # what the broker had not acknowledged when it died
    there.close()


def test_a_subscriber_is_told_when_we_go(
    tmp_path: Path,
    broker: Callable[[str], Broker],
    sink: Callable[..., Sink],
    frames: Callable[..., list[Frame]],
) -> None:
    mqtt = pytest.importorskip("paho.mqtt.client")
    server = broker("mosquitto")
    said: list[bytes] = []
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    client.on_connect = lambda client, *rest: client.subscribe("street/status", qos=1)
    client.on_message = lambda client, data, message: said.append(message.payload)
    client.connect("127.0.0.1", server.port)
    client.loop_start()
    url = f"mqtt://127.0.0.1:{server.port}/street?spool={tmp_path}/spool&linger=40"
    child = Publisher(url, 0, 10_000)
    until(lambda: said[-1:] == [b"online"])
    child.kill()
    until(lambda: said[-1:] == [b"offline"])
    frame = frames([0.0])[0]
    frame.inferred = True
    opened = sink(url)
    opened.write(frame)
    until(lambda: said[-1:] == [b"online"])
    opened.close()
    until(lambda: said[-1:] == [b"offline"])
    client.loop_stop()


def test_nats_is_killed_and_no_record_is_missing(
    tmp_path: Path,
    broker: Callable[[str], Broker],
    sink: Callable[..., Sink],
    frames: Callable[..., list[Frame]],
) -> None:
    pytest.importorskip("nats")
    server = broker("nats-server")
    asyncio.run(_make_stream(server.port))
    url = f"nats://127.0.0.1:{server.port}/records?jetstream=1&spool={tmp_path}/spool&linger=40"
    opened = sink(url)
    pictures = frames([index / 30 for index in range(300)])
    for frame in pictures:
        frame.inferred = True
    for frame in pictures[:100]:
        opened.write(frame)
    until(lambda: opened.counts["delivered"] == 100)  # type: ignore[attr-defined]
    server.kill()
    for frame in pictures[100:]:
        opened.write(frame)
    until(lambda: opened.counts["lost connections"] > 1)  # type: ignore[attr-defined]
    server.up()
    opened.close()
    found = asyncio.run(_read_stream(server.port, 300))
    assert _first_seen(found) == list(range(300))


async def _make_stream(port: int) -> None:
    import nats

    client = await nats.connect(f"nats://127.0.0.1:{port}")
    await client.jetstream().add_stream(name="R", subjects=["records"])
    await client.close()


async def _read_stream(port: int, count: int) -> list[dict[str, Any]]:
    import nats

    client = await nats.connect(f"nats://127.0.0.1:{port}")
    puller = await client.jetstream().pull_subscribe("records", durable="reader")
    found: list[dict[str, Any]] = []
    while len(_first_seen(found)) < count:
        found += [json.loads(message.data) for message in await puller.fetch(100, timeout=10)]
    await client.close()
    return found


class SlowStream:
    """JetStream, far away: it answers for none of so many records before it has them all."""

    def __init__(self, count: int) -> None:
        self.found: list[bytes] = []
        self._count = count
        self._all = asyncio.Event()

    async def publish(self, subject: str, line: bytes) -> None:
        if len(line) > 100:
            raise importlib.import_module("nats.errors").MaxPayloadError
        self.found.append(line)
        if len(self.found) == self._count:
            self._all.set()
        await self._all.wait()


@pytest.fixture
def jetstream(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., tuple[Courier, SlowStream]]]:
    """Make a courier to such a stream."""
    pytest.importorskip("nats")
    made: list[NatsCourier] = []

    def make(count: int) -> tuple[Courier, SlowStream]:
        stream = SlowStream(count)

        async def connect(courier: NatsCourier, place: Place) -> None:
            courier._client = SimpleNamespace(
                jetstream=lambda timeout: stream, close=lambda: asyncio.sleep(0)
            )

        monkeypatch.setattr(NatsCourier, "_connect", connect)
        place = Place("nats://far", "nats", "far", 4222, "records")
        made.append(NatsCourier(place, NatsOptions(jetstream=True)))
        return made[-1], stream

    yield make
    for courier in made:
        courier.close()


def test_jetstream_is_not_waited_for_record_by_record(
    jetstream: Callable[..., tuple[Courier, SlowStream]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nats_sink, "PATIENCE", 1.0)
    courier, stream = jetstream(3)
    courier.send([b"0", b"1", b"2"])
    assert stream.found == [b"0", b"1", b"2"]


def test_nats_refuses_what_is_too_large_for_good(
    jetstream: Callable[..., tuple[Courier, SlowStream]],
) -> None:
    courier, _ = jetstream(1)
    with pytest.raises(Refused, match="maximum payload"):
        courier.send([b"0" * 1000])


def test_kafka_refuses_what_is_too_large_for_good() -> None:
    kafka = pytest.importorskip("confluent_kafka")
    cluster = kafka.Producer({"bootstrap.servers": "none", "test.mock.num.brokers": 1, "log_level": 0})
    address = str(next(iter(cluster.list_topics(timeout=10).brokers.values()))).partition("/")[0]
    host, _, port = address.partition(":")
    courier = KafkaCourier(Place("kafka://x", "kafka", host, int(port), "records"), KafkaCourier.options)
    large = json.dumps({"stream": "cam", "mask": "x" * 1_000_000}).encode()
    with pytest.raises(Refused, match="too large"):
        courier.send([large])
    courier.close()


def test_kafka_takes_every_record_in_order(
    tmp_path: Path, sink: Callable[..., Sink], frames: Callable[..., list[Frame]]
) -> None:
    kafka = pytest.importorskip("confluent_kafka")
    cluster = kafka.Producer({"bootstrap.servers": "none", "test.mock.num.brokers": 1, "log_level": 0})
    address = str(next(iter(cluster.list_topics(timeout=10).brokers.values()))).partition("/")[0]
    opened = sink(f"kafka://{address}/records?spool={tmp_path}/spool&linger=40")
    for frame in frames([index / 30 for index in range(300)]):
        frame.inferred = True
        opened.write(frame)
    opened.close()
    consumer = kafka.Consumer(
        {"bootstrap.servers": address, "group.id": "reader", "auto.offset.reset": "earliest"}
    )
    consumer.subscribe(["records"])
    messages = []
    while len(messages) < 300:
        messages += [message for message in consumer.consume(300, 20.0) if not message.error()]
    consumer.close()
    assert [json.loads(message.value())["seq"] for message in messages] == list(range(300))
    assert {message.key() for message in messages} == {b"cam"}
