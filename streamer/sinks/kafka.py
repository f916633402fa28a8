"""Kafka: each record a message keyed by its stream, so that those of a stream stay in order."""

from __future__ import annotations

import contextlib
import json
from typing import Any, ClassVar

from streamer.sinks.delivery import Away, Refused
from streamer.sinks.place import Place
from streamer.sinks.publish import Options

__all__ = ["KafkaCourier"]

PATIENCE = 5.0  # seconds for which the brokers may take to answer


class KafkaCourier:
    """An idempotent producer: its own repetitions neither double nor reorder."""

    options: ClassVar[Options] = Options()
    needs: ClassVar[tuple[str, str]] = ("confluent_kafka", "confluent-kafka")
    port: ClassVar[int] = 9092
    path: ClassVar[str] = "topic"
    form: ClassVar[tuple[str, str]] = (r"(?!\.\.?$)[A-Za-z0-9._-]{1,249}", "1 to 249 of A-Z a-z 0-9 . _ -")

    def __init__(self, place: Place, options: Options) -> None:
        from confluent_kafka import KafkaException, Producer

        self._topic = place.path
        self._errors: list[Any] = []
        settings: dict[str, Any] = {
            "bootstrap.servers": place.authority,
            "enable.idempotence": True,
            "acks": "all",
            "linger.ms": 5,
            "message.timeout.ms": int(PATIENCE * 1e3),
            "socket.timeout.ms": int(PATIENCE * 1e3),
            "log_level": 0,
            "error_cb": lambda error: None,
        }
        if place.user:
            settings |= {
                "security.protocol": "SASL_PLAINTEXT",
                "sasl.mechanism": "PLAIN",
                "sasl.username": place.user,
                "sasl.password": place.password,
            }
        self._producer = Producer(settings)
        try:
            self._producer.list_topics(timeout=PATIENCE)
        except KafkaException as error:
            raise Away(error.args[0].str()) from error

    def send(self, lines: list[bytes]) -> None:
        """Produce records and wait for every report."""
        from confluent_kafka import KafkaError, KafkaException

        self._errors.clear()
        try:
            for line in lines:
                key = json.loads(line)["stream"]
                self._producer.produce(self._topic, line, key=key, on_delivery=self._on_delivery)
            left = self._producer.flush(PATIENCE * 2)
        except KafkaException as error:
            if error.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE:
                raise Refused(error.args[0].str()) from error
            raise Away(str(error)) from error
        except BufferError as error:
            raise Away(str(error)) from error
        if self._errors:
            first = self._errors[0]
            if all(error.code() == KafkaError.MSG_SIZE_TOO_LARGE for error in self._errors):
                raise Refused(first.str())
            raise Away(first.str())
        if left:
            raise Away("does not acknowledge")

    def idle(self) -> None:
        """Serve the library's callbacks."""
        self._producer.poll(0)

    def close(self) -> None:
        """Forget what is under way; it is sent again over the next connection."""
        with contextlib.suppress(Exception):
            self._producer.purge()
            self._producer.flush(0.1)

    def _on_delivery(self, error: Any, message: Any) -> None:
        if error is not None:
            self._errors.append(error)
