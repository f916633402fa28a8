"""Home Assistant: a device for each stream, with a sensor of how many and one of whether for each class.

Topics and payloads are those of its MQTT discovery (https://www.home-assistant.io/integrations/mqtt/), one
message for each sensor, which every version of it understands.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence

__all__ = ["HomeAssistant"]

UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")
Message = tuple[str, str]  # topic and payload, to be retained


class HomeAssistant:
    """Tells of each class when it is first seen, and how many of it are there whenever that changes."""

    def __init__(self, prefix: str, topic: str, classes: Sequence[str] = ()) -> None:
        """Announce below `prefix`; states go below `topic`, whose `/status` says "online" or "offline".

        ``classes`` are told of before they are seen.
        """
        self._prefix = prefix.strip("/")
        self._topic = topic
        self._mark = hashlib.sha256(topic.encode()).hexdigest()[:8]
        self._classes = tuple(classes)
        self._counts: dict[str, dict[str, int]] = {}  # stream -> class -> how many; told of are its keys

    def told(self, line: bytes) -> Iterator[Message]:
        """Yield what is to be published because of one record."""
        record = json.loads(line)
        stream = record["stream"]
        found = Counter(row["class"] for row in record["detections"])
        before = self._counts.get(stream)
        known = before if before is not None else dict.fromkeys(self._classes, 0)
        fresh = [name for name in found if name not in known]
        for name in fresh if before is not None else (*known, *fresh):
            yield from self._announced(stream, name)
        counts = {name: found[name] for name in (*known, *fresh)}
        if counts != before:
            self._counts[stream] = counts
            yield self._state(stream), json.dumps(counts, ensure_ascii=False)

    def _announced(self, stream: str, name: str) -> Iterator[Message]:
        device = f"streamer_{self._mark}_{_safe(stream)}"
        value = f"value_json.get({json.dumps(name)}, 0)"
        shared = {
            "state_topic": self._state(stream),
            "availability_topic": f"{self._topic}/status",
            "device": {"identifiers": [device], "name": stream, "manufacturer": "streamer"},
            "origin": {"name": "streamer"},
            "qos": 1,
        }
        kinds = {
            "sensor": {
                "name": f"{name} count",
                "state_class": "measurement",
                "value_template": f"{{{{ {value} }}}}",
            },
            "binary_sensor": {
                "name": name,
                "device_class": "occupancy",
                "value_template": f"{{{{ 'ON' if {value} > 0 else 'OFF' }}}}",
            },
        }
        for kind, own in kinds.items():
            mark = f"{device}_{_safe(name)}_{kind}"
            told = {**own, "unique_id": mark, **shared}
            yield (
                f"{self._prefix}/{kind}/{device}/{_safe(name)}/config",
                json.dumps(told, ensure_ascii=False),
            )

    def _state(self, stream: str) -> str:
        return f"{self._topic}/counts/{_safe(stream)}"


def _safe(word: str) -> str:
    """Return a word in the characters that discovery takes; different words stay different."""
    plain = UNSAFE.sub("_", word)
    return plain if plain == word else f"{plain}_{hashlib.sha256(word.encode()).hexdigest()[:4]}"
