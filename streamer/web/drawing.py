"""Drawing: the lines and zones of the running pipeline as the page's editor and programs see and set them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from streamer.analytics.anchors import ANCHORS
from streamer.analytics.desk import Desk, Kind, told
from streamer.web.bodies import read_object

if TYPE_CHECKING:
    from streamer.pipeline import Pipeline

__all__ = ["Drawing"]

NAME = re.compile(r"[\w.-]([\w .-]{0,62}[\w.-])?")
Handler = Callable[[Request], Awaitable[Response]]


class Drawing:
    """What serves /analytics; a change is in the pipeline's file, if there is one, before it is answered."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._changes = asyncio.Lock()

    async def show(self, request: Request) -> Response:
        """List the lines and zones."""
        desk = self._pipeline.desk
        shapes = {kind: {} if desk is None else _shapes(desk, kind) for kind in ("lines", "zones")}
        return JSONResponse(
            {
                "watching": desk is not None,
                "file": Path(desk.file).name if desk is not None else "",
                "classes": list(self._pipeline.model.spec.classes),
                "anchors": list(ANCHORS),
                **shapes,
            }
        )

    def put(self, kind: Kind) -> Handler:
        """Return what sets one line or zone."""

        async def handler(request: Request) -> Response:
            name, desk = request.path_params["name"], self._desk()
            if not NAME.fullmatch(name) and name not in _shapes(desk, kind):
                raise HTTPException(
                    400, "name: up to 64 letters, digits, blanks, dots, dashes or underscores would be right"
                )
            shape = await read_object(request)
            async with self._changes:
                await asyncio.to_thread(desk.put, kind, name, shape)
            return JSONResponse({"file": Path(desk.file).name})

        return handler

    def remove(self, kind: Kind) -> Handler:
        """Return what forgets one line or zone."""

        async def handler(request: Request) -> Response:
            name, desk = request.path_params["name"], self._desk()
            async with self._changes:
                if not await asyncio.to_thread(desk.remove, kind, name):
                    raise HTTPException(404, f"{kind}: there is no {name!r}")
            return Response(status_code=204)

        return handler

    def _desk(self) -> Desk:
        desk = self._pipeline.desk
        if desk is None:
            raise HTTPException(409, "lines and zones need tracks: start with --track bytetrack")
        return desk


def _shapes(desk: Desk, kind: Kind) -> dict[str, object]:
    return {part.name: told(part) for part in getattr(desk.plan, kind)}
