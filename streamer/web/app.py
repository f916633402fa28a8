"""App: the routes of the live page and its API, as docs/web.md and /openapi.json describe them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from engines.errors import InputError, WorkError
from streamer.urls import redact
from streamer.web.audience import Audience, Gone, Viewer
from streamer.web.bodies import read_object, wanted_stream
from streamer.web.drawing import Drawing
from streamer.web.figures import figures, streams
from streamer.web.hls import MEDIA, file_of
from streamer.web.prometheus import Figures, expose
from streamer.web.shows import Note, Shows

if TYPE_CHECKING:
    from streamer.pipeline import Pipeline

__all__ = ["make_app"]

PAGE = {
    "": ("index.html", "text/html; charset=utf-8"),
    "app.js": ("app.js", "text/javascript; charset=utf-8"),
    "player.js": ("player.js", "text/javascript; charset=utf-8"),
    "editor.js": ("editor.js", "text/javascript; charset=utf-8"),
    "charts.js": ("charts.js", "text/javascript; charset=utf-8"),
    "style.css": ("style.css", "text/css; charset=utf-8"),
    "icon.svg": ("icon.svg", "image/svg+xml"),
    "openapi.json": ("openapi.json", "application/json"),
}
KINDS = ("detections", "event", "status")
TICK = 1.0  # seconds between two looks at the figures
SNAPSHOT = 5.0  # seconds that a snapshot waits for a picture
PATIENCE = 10.0  # seconds that a viewer has to take one item
MOST_ADDED = 64  # streams at one time


class Api:
    """The handlers; all of them run in the event loop."""

    def __init__(self, pipeline: Pipeline, shows: Shows, most_viewers: int) -> None:
        self._pipeline = pipeline
        self._shows = shows
        self._seats = most_viewers
        self._figures = Figures(pipeline, shows)
        self._changes = asyncio.Lock()
        self._status: tuple[float, str] = (0.0, "")  # time.monotonic() and JSON

    async def page(self, request: Request) -> Response:
        """Serve a file of the page."""
        name, media = PAGE[request.path_params.get("file", "")]
        return Response((files("streamer.web") / "page" / name).read_bytes(), media_type=media)

    async def health(self, request: Request) -> Response:
        """Say whether the pipeline runs."""
        alive = self._pipeline.graph.error is None
        return PlainTextResponse("ok\n" if alive else "failed\n", 200 if alive else 503)

    async def ready(self, request: Request) -> Response:
        """Say whether results come: the first has come, and no stage has failed."""
        ready = self._pipeline.graph.error is None and self._pipeline.latency.count > 0
        return PlainTextResponse("ready\n" if ready else "not ready\n", 200 if ready else 503)

    async def metrics(self, request: Request) -> Response:
        """Serve the figures to Prometheus."""
        body, media = expose(self._figures, request.headers.get("accept", ""))
        return Response(body, media_type=media)

    async def status(self, request: Request) -> Response:
        """Serve the figures to the page."""
        return Response(self._current(), media_type="application/json")

    async def streams(self, request: Request) -> Response:
        """List the streams."""
        return JSONResponse(streams(self._pipeline, self._shows))

    async def add(self, request: Request) -> Response:
        """Take up another source."""
        url, name, every = wanted_stream(await read_object(request))
        async with self._changes:
            if len(self._pipeline.streams) >= MOST_ADDED:
                raise HTTPException(409, f"streams: {MOST_ADDED} at most")
            added = await asyncio.to_thread(self._pipeline.add_stream, url, name, every=every)
        return JSONResponse({"name": added}, 201)

    async def remove(self, request: Request) -> Response:
        """End a stream."""
        name = self._known(request)
        async with self._changes:
            if len(self._pipeline.streams) < 2:
                raise HTTPException(409, f"stream {name!r}: the last one, the run would end with it")
            await asyncio.to_thread(self._pipeline.remove_stream, name)
        return Response(status_code=204)

    async def pause(self, request: Request) -> Response:
        """Give out no frames of a stream for now."""
        self._pipeline.pause(self._known(request), True)
        return Response(status_code=204)

    async def resume(self, request: Request) -> Response:
        """Go on with a stream."""
        self._pipeline.pause(self._known(request), False)
        return Response(status_code=204)

    async def snapshot(self, request: Request) -> Response:
        """Serve the next picture."""
        show = self._shows[self._known(request)]
        with self._seat(show.pictures) as viewer:
            try:
                picture = await asyncio.wait_for(viewer.next(), SNAPSHOT)
            except (TimeoutError, Gone):
                raise HTTPException(503, f"no picture for {SNAPSHOT:g} s") from None
        return Response(picture, media_type="image/jpeg")

    async def mjpeg(self, request: Request) -> Response:
        """Serve pictures for as long as somebody looks."""
        show = self._shows[self._known(request)]

        async def parts(viewer: Viewer[bytes]) -> AsyncIterator[bytes]:
            with contextlib.suppress(Gone):
                while True:
                    picture = await viewer.next()
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
                    yield head.encode() + picture + b"\r\n"

        with contextlib.ExitStack() as seat:
            viewer = seat.enter_context(self._seat(show.pictures))
            media = "multipart/x-mixed-replace; boundary=frame"
            return _Seated(parts(viewer), seat.pop_all(), media)

    async def hls(self, request: Request) -> Response:
        """Serve a file of the run's own HLS output."""
        path = file_of(self._pipeline, self._known(request), request.path_params["file"])
        try:
            data = await asyncio.to_thread(path.read_bytes) if path is not None else None
        except OSError:
            data = None
        if path is None or data is None:
            raise HTTPException(404, "hls: there is no such file")
        return Response(data, media_type=MEDIA[path.suffix])

    async def events(self, request: Request) -> Response:
        """Serve detections, events and figures as server-sent events."""
        kinds, stream = _wanted_notes(request)

        async def lines(viewer: Viewer[Note]) -> AsyncIterator[str]:
            async for kind, text in self._notes(viewer, kinds, stream):
                yield f"event: {kind}\ndata: {text}\n\n" if text else ":\n\n"

        with contextlib.ExitStack() as seat:
            viewer = seat.enter_context(self._seat(self._shows.notes))
            return _Seated(lines(viewer), seat.pop_all(), "text/event-stream")

    async def messages(self, socket: WebSocket) -> None:
        """Serve the same as messages of a WebSocket, one JSON object each."""

        async def tell() -> None:
            async for _, text in self._notes(viewer, kinds, stream):
                if text:
                    await asyncio.wait_for(socket.send_text(text), PATIENCE)

        with contextlib.ExitStack() as seat:
            try:
                kinds, stream = _wanted_notes(socket)
                viewer = seat.enter_context(self._seat(self._shows.notes))
            except HTTPException as error:
                return await socket.send_denial_response(_error(error.status_code, error.detail))
            await socket.accept()
            return await _serve(socket, tell())

    async def video(self, socket: WebSocket) -> None:
        """Serve a stream as fragmented MP4."""
        name = socket.path_params["stream"]
        if name not in self._pipeline.streams:
            return await socket.send_denial_response(_error(404, f"stream {name!r}: there is none"))
        show = self._shows[name]
        with contextlib.ExitStack() as seat:
            try:
                viewer = seat.enter_context(self._seat(show.video))
            except HTTPException as error:
                return await socket.send_denial_response(_error(error.status_code, error.detail))
            await socket.accept()
            return await _serve(socket, _send(socket, viewer))

    async def _notes(
        self, viewer: Viewer[Note], kinds: set[str], stream: str
    ) -> AsyncIterator[tuple[str, str]]:
        """Give kind and JSON of what is told, and something at least every second, be it empty."""
        due = time.monotonic()
        with contextlib.suppress(Gone):
            while True:
                if time.monotonic() >= due:
                    due += TICK
                    yield "status", self._current() if "status" in kinds else ""
                try:
                    note: Note = await asyncio.wait_for(viewer.next(), max(due - time.monotonic(), 0.001))
                except TimeoutError:
                    continue
                if note.kind in kinds and stream in ("", note.stream):
                    yield note.kind, note.text

    def _current(self) -> str:
        """Return the figures as JSON, read once for all who ask within a second."""
        now = time.monotonic()
        if now - self._status[0] > TICK / 2:
            self._status = (now, json.dumps(figures(self._pipeline, self._shows), separators=(",", ":")))
        return self._status[1]

    def _known(self, request: Request) -> str:
        name: str = request.path_params["stream"]
        if name not in self._pipeline.streams:
            raise HTTPException(404, f"stream {name!r}: there is none")
        return name

    @contextlib.contextmanager
    def _seat(self, audience: Audience[Any]) -> Iterator[Viewer[Any]]:
        """Watch something. Raises HTTPException where all seats are taken: before an answer is begun."""
        if self._seats <= 0:
            raise HTTPException(503, "as many viewers as may be, try again later")
        self._seats -= 1
        viewer = audience.join()
        try:
            yield viewer
        finally:
            audience.leave(viewer)
            self._seats += 1


class _Seated(StreamingResponse):
    """Leaves its seat however it ends; what it sends from is closed only when it is collected."""

    def __init__(self, content: AsyncIterator[str | bytes], seat: contextlib.ExitStack, media: str) -> None:
        super().__init__(content, media_type=media)
        self._seat = seat

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._seat:
            await super().__call__(scope, receive, send)


def make_app(pipeline: Pipeline, shows: Shows, most_viewers: int) -> Starlette:
    """Return the application; call it in the event loop's thread."""
    api, drawing = Api(pipeline, shows, most_viewers), Drawing(pipeline)

    def get(path: str, handler: Callable[[Request], Any]) -> Route:
        return Route(path, handler, methods=["GET"])

    pages = [get(f"/{name}", _of_file(api.page, name)) for name in PAGE]
    return Starlette(
        routes=[
            *pages,
            get("/healthz", api.health),
            get("/readyz", api.ready),
            get("/metrics", api.metrics),
            get("/status", api.status),
            get("/events", api.events),
            get("/streams", api.streams),
            Route("/streams", api.add, methods=["POST"]),
            Route("/streams/{stream:path}/pause", api.pause, methods=["POST"]),
            Route("/streams/{stream:path}/resume", api.resume, methods=["POST"]),
            Route("/streams/{stream:path}", api.remove, methods=["DELETE"]),
            get("/snapshot/{stream:path}.jpg", api.snapshot),
            get("/mjpeg/{stream:path}", api.mjpeg),
            get("/hls/{stream:path}/{file}", api.hls),
            get("/analytics", drawing.show),
            *(
                Route(f"/analytics/{kind}/{{name:path}}", handler, methods=[method])
                for kind in ("lines", "zones")
                for method, handler in (("PUT", drawing.put(kind)), ("DELETE", drawing.remove(kind)))
            ),
            WebSocketRoute("/video/{stream:path}", api.video),
            WebSocketRoute("/messages", api.messages),
        ],
        exception_handlers={HTTPException: _refused, InputError: _wrong, WorkError: _not_done},
    )


def _of_file(page: Callable[[Request], Any], name: str) -> Callable[[Request], Any]:
    async def handler(request: Request) -> Any:
        request.path_params["file"] = name
        return await page(request)

    return handler


def _wanted_notes(connection: HTTPConnection) -> tuple[set[str], str]:
    """Return the kinds of notes that are asked for, and the stream, "" for all. Raises HTTPException."""
    kinds = {kind for kind in connection.query_params.get("kinds", ",".join(KINDS)).split(",") if kind}
    if not kinds or not kinds <= set(KINDS):
        raise HTTPException(400, f"kinds: some of {', '.join(KINDS)} would be right")
    return kinds, connection.query_params.get("stream", "")


async def _serve(socket: WebSocket, sending: Coroutine[Any, Any, None]) -> None:
    """Run what sends until it ends, or the viewer goes."""
    tasks = [asyncio.create_task(sending), asyncio.create_task(_listen(socket))]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _send(socket: WebSocket, viewer: Viewer[bytes]) -> None:
    """Send what comes until there is no more, or the viewer takes nothing."""
    with contextlib.suppress(Gone, TimeoutError, WebSocketDisconnect, RuntimeError):
        while True:
            await asyncio.wait_for(socket.send_bytes(await viewer.next()), PATIENCE)


async def _listen(socket: WebSocket) -> None:
    """Wait for the end of the connection; what a viewer says is not heard."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass


def _error(status: int, why: str) -> JSONResponse:
    return JSONResponse({"error": redact(why)}, status)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    response = _error(error.status_code, error.detail)
    response.headers.update(error.headers or {})
    return response


async def _wrong(request: Request, error: Exception) -> Response:
    return _error(400, str(error))


async def _not_done(request: Request, error: Exception) -> Response:
    return _error(409, str(error))
