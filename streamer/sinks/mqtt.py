"""MQTT: each record a message of quality of service 1 (delivered at least once)."""

from __future__ import annotations

import contextlib
import re
import time
import uuid
from dataclasses import dataclass
from threading import Event
from typing import Any, ClassVar

from streamer.sinks.delivery import Away
from streamer.sinks.homeassistant import HomeAssistant
from streamer.sinks.place import Place
from streamer.sinks.publish import Options
from streamer.sinks.spool import is_event

__all__ = ["MqttCourier"]

PATIENCE = 5.0  # seconds for which the broker may take to answer
KEEP_ALIVE = 15  # seconds after which it misses us
TOPIC = (r"[^+#\0]+", "a topic without the wildcards + and #")
IN_FLIGHT = 200  # messages not acknowledged yet


@dataclass(frozen=True, slots=True)
class MqttOptions(Options):
    """MQTT's own."""

    retain: bool = False  # the broker keeps the last record for those who come later
    discovery: str = ""  # topic under which Home Assistant looks for devices, "" = tell it nothing

    def __post_init__(self) -> None:
        Options.__post_init__(self)
        pattern, right = TOPIC
        if self.discovery and not re.fullmatch(pattern, self.discovery):
            raise ValueError(f"discovery: {self.discovery!r}, {right} would be right")
        if self.discovery and self.send == "events":
            raise ValueError("discovery: counts are made of records, send=all would be right")


class MqttCourier:
    """Sends to a topic, and says on TOPIC/status, retained, whether it is "online" or "offline"."""

    options: ClassVar[Options] = MqttOptions()
    needs: ClassVar[tuple[str, str]] = ("paho", "paho-mqtt")
    port: ClassVar[int] = 1883
    path: ClassVar[str] = "topic"
    form: ClassVar[tuple[str, str]] = TOPIC

    def __init__(self, place: Place, options: MqttOptions) -> None:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        self._topic, self._retain = place.path, options.retain
        classes = [name.strip() for name in options.classes.split(",") if name.strip()]
        self._home = HomeAssistant(options.discovery, place.path, classes) if options.discovery else None
        self._status = f"{place.path}/status"
        self._answered, self._broken = Event(), Event()
        self._reason = "no answer"
        client = self._client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"streamer-{uuid.uuid4().hex[:12]}",
            reconnect_on_failure=False,
        )
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.connect_timeout = PATIENCE
        client.max_inflight_messages_set(IN_FLIGHT)
        client.will_set(self._status, "offline", qos=1, retain=True)
        if place.user:
            client.username_pw_set(place.user, place.password)
        if place.scheme == "mqtts":
            client.tls_set()
        self._connect(place)

    def send(self, lines: list[bytes]) -> None:
        """Publish records and wait until the broker has acknowledged the last."""
        messages = []
        for line in lines:
            kept = self._retain and not is_event(line)
            messages.append(self._client.publish(self._topic, line, qos=1, retain=kept))
            for topic, text in self._home.told(line) if self._home and not is_event(line) else ():
                messages.append(self._client.publish(topic, text, qos=1, retain=True))
        until = time.monotonic() + PATIENCE + len(lines) * 0.01
        try:
            for message in messages:
                while not message.is_published():
                    if self._broken.is_set():
                        raise Away(self._reason)
                    if time.monotonic() > until:
                        raise Away("does not acknowledge")
                    message.wait_for_publish(0.1)
        except (RuntimeError, ValueError) as error:  # not connected any more
            raise Away(str(error)) from error

    def idle(self) -> None:
        """Notice that the broker is gone."""
        if self._broken.is_set():
            raise Away(self._reason)

    def close(self) -> None:
        """Say that we are offline, and go."""
        with contextlib.suppress(OSError, RuntimeError, ValueError):
            if not self._broken.is_set():
                self._client.publish(self._status, "offline", qos=1, retain=True).wait_for_publish(1.0)
            self._client.disconnect()
        self._client.loop_stop()

    def _connect(self, place: Place) -> None:
        try:
            self._client.connect(place.host, place.port, KEEP_ALIVE)
        except OSError as error:
            raise Away(error.strerror or str(error)) from error
        self._client.loop_start()
        if not self._answered.wait(PATIENCE) or self._broken.is_set():
            self._broken.set()
            self.close()
            raise Away(self._reason)
        self._client.publish(self._status, "online", qos=1, retain=True)

    def _on_connect(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._reason = f"refuses: {reason}"
            self._broken.set()
        self._answered.set()

    def _on_disconnect(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        if not self._broken.is_set():
            self._reason = f"connection lost: {reason}"
        self._broken.set()
        self._answered.set()
