"""Redis: each record an entry of a stream, its JSON in the field ``record``."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import ClassVar

from streamer.sinks.delivery import Away, Refused
from streamer.sinks.place import Place
from streamer.sinks.publish import ANY, Options

__all__ = ["RedisCourier"]

PATIENCE = 5.0  # seconds for which the server may take to answer


@dataclass(frozen=True, slots=True)
class RedisOptions(Options):
    """Redis' own."""

    maxlen: int = 100_000  # entries that the stream keeps, about; 0 = all
    db: int = 0

    def __post_init__(self) -> None:
        Options.__post_init__(self)
        for name in ("maxlen", "db"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: {getattr(self, name)}, 0 or more would be right")


class RedisCourier:
    """XADD in pipelines."""

    options: ClassVar[Options] = RedisOptions()
    needs: ClassVar[tuple[str, str]] = ("redis", "redis")
    port: ClassVar[int] = 6379
    path: ClassVar[str] = "stream"
    form: ClassVar[tuple[str, str]] = ANY

    def __init__(self, place: Place, options: RedisOptions) -> None:
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        self._key, self._maxlen = place.path, options.maxlen
        self._client = redis.Redis(
            host=place.host,
            port=place.port,
            db=options.db,
            username=place.user or None,
            password=place.password or None,
            ssl=place.scheme == "rediss",
            socket_timeout=PATIENCE,
            socket_connect_timeout=PATIENCE,
            retry=Retry(NoBackoff(), 0),
        )
        self._run(self._client.ping)

    def send(self, lines: list[bytes]) -> None:
        """Append records and read every answer."""
        pipe = self._client.pipeline(transaction=False)
        for line in lines:
            pipe.xadd(self._key, {"record": line}, maxlen=self._maxlen or None, approximate=True)
        self._run(pipe.execute)

    def idle(self) -> None:
        """Nothing to look after."""

    def close(self) -> None:
        """Close the connection."""
        with contextlib.suppress(Exception):
            self._client.close()

    def _run(self, command: object) -> None:
        import redis

        try:
            command()  # type: ignore[operator]
        except redis.ResponseError as error:
            if str(error).startswith("WRONGTYPE"):
                raise Refused(f"{self._key} is not a stream: {error}") from error
            raise Away(str(error)) from error
        except (redis.RedisError, OSError) as error:
            raise Away(str(error)) from error
