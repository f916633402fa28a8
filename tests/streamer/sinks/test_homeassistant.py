"""Home Assistant: what it is told of streams and classes, by itself and through a real broker."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engines.detections import Detections
from engines.errors import InputError
from streamer.frame import Frame
from streamer.sinks import Sink, check_sink
from streamer.sinks.homeassistant import HomeAssistant
from tests.servers.brokers import Broker
from tests.servers.camera import until


def line(*classes: str, stream: str = "front door") -> bytes:
    return json.dumps({"stream": stream, "detections": [{"class": name} for name in classes]}).encode()


def told(home: HomeAssistant, line: bytes) -> dict[str, Any]:
    return {topic: json.loads(text) for topic, text in home.told(line)}


def test_a_class_is_announced_once_and_counts_are_told_when_they_change() -> None:
    home = HomeAssistant("homeassistant", "street", ["person"])
    first = told(home, line("car", "car"))
    configs = [topic for topic in first if topic.endswith("/config")]
    assert sorted(topic.split("/")[1] + " " + topic.split("/")[3] for topic in configs) == [
        "binary_sensor car", "binary_sensor person", "sensor car", "sensor person",
    ]  # fmt: skip
    (state,) = first.keys() - set(configs)
    assert first[state] == {"person": 0, "car": 2}
    assert told(home, line("car", "car")) == {}
    assert told(home, line()) == {state: {"person": 0, "car": 0}}
    assert sum(topic.endswith("/config") for topic in told(home, line("car", stream="yard"))) == 4


def test_sensors_of_a_stream_are_one_device_and_know_when_we_are_away() -> None:
    found = told(HomeAssistant("homeassistant/", "street"), line("car", "person"))
    configs = [value for topic, value in found.items() if topic.endswith("/config")]
    assert len({tuple(config["device"]["identifiers"]) for config in configs}) == 1
    assert len({config["unique_id"] for config in configs}) == len(configs) == 4
    for config in configs:
        assert config["availability_topic"] == "street/status"
        assert config["device"]["name"] == "front door"
        assert config["state_topic"] in found


def test_templates_read_the_counts() -> None:
    jinja = pytest.importorskip("jinja2")
    found = told(HomeAssistant("homeassistant", "street"), line("car", "car"))
    configs = {topic.split("/")[1]: value for topic, value in found.items() if topic.endswith("/config")}

    def shown(kind: str, counts: dict[str, int]) -> str:
        text: str = jinja.Template(configs[kind]["value_template"]).render(value_json=counts)
        return text

    assert (shown("sensor", {"car": 2}), shown("binary_sensor", {"car": 2})) == ("2", "ON")
    assert (shown("sensor", {}), shown("binary_sensor", {"car": 0})) == ("0", "OFF")


def test_a_broker_keeps_devices_and_counts_for_those_who_come_later(
    tmp_path: Path, sink: Callable[..., Sink], frames: Callable[..., list[Frame]]
) -> None:
    mqtt = pytest.importorskip("paho.mqtt.client")
    broker = Broker("mosquitto", tmp_path)
    broker.up()
    url = f"mqtt://127.0.0.1:{broker.port}/street?spool={tmp_path}/spool&discovery=homeassistant"
    opened = sink(url)
    for frame in frames([0.0, 0.1]):
        frame.inferred, frame.detections = True, Detections.of([[1, 2, 30, 40]], [0.9], [1])
        opened.write(frame)
    opened.close()
    kept: dict[str, Any] = {}
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    client.on_connect = lambda client, *rest: client.subscribe("#", qos=1)
    client.on_message = lambda client, data, message: kept.update({message.topic: message.payload})
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    until(lambda: len(kept) == 4)
    client.loop_stop()
    broker.kill()
    assert kept["street/status"] == b"offline"
    assert json.loads(kept["street/counts/cam"]) == {"car": 1}
    assert sum(topic.startswith("homeassistant/") for topic in kept) == 2


def test_counts_cannot_be_made_of_events() -> None:
    with pytest.raises(InputError, match="counts are made of records"):
        check_sink("mqtt://127.0.0.1/street?discovery=homeassistant&send=events")
