"""Graph: stages joined by inboxes, one thread each, every frame counted in and out.

A stage is a generator function from its Inbox to what it gives on; end of input is end of loop, and `finally`
is its clean-up. What a stage yields goes to every edge that leaves it, or only to the edges of that stream.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from engines.errors import InputError, WorkError
from streamer.audio import carry
from streamer.frame import Frame
from streamer.inbox import Aborted, Inbox, Lane, Policy
from streamer.journal import Notes
from streamer.metrics import Histogram, Ledger
from streamer.stateful import Stateful

__all__ = ["Cargo", "Edge", "Graph", "Node", "Stage"]


class Cargo(Protocol):
    """What travels when it is not a single Frame: several of them together."""

    @property
    def frames(self) -> Sequence[Frame]: ...

    def let_go(self) -> None:
        """Free what they hold, as nobody will take them any more."""


Item = Frame | Cargo
Stage = Callable[[Inbox[Any]], Iterator[Item]]


@dataclass(frozen=True, slots=True)
class Edge:
    """A lane from one node into another's inbox, for one stream or for all (`stream` = "")."""

    head: Node
    lane: Lane[Item]
    stream: str
    policy: Policy


@dataclass(slots=True, eq=False)
class Node:
    """One stage, its thread and its figures."""

    name: str
    stage: Stage
    inbox: Inbox[Item]
    is_source: bool
    is_callers: bool = False  # run by the caller's thread, not by one of its own
    edges: list[Edge] = field(default_factory=list)
    busy: Histogram = field(default_factory=Histogram)  # seconds of work per item, waiting left out
    thread: threading.Thread | None = None
    ended: bool = False  # takes and gives nothing more
    cpu: float = 0.0  # seconds of its own thread up to its last item (threads of libraries are not its own)

    @property
    def is_running(self) -> bool:
        """Whether its thread has begun and not ended."""
        return self.thread is not None and self.thread.is_alive()


class Graph:
    """Nodes and edges; may grow and shrink while it runs.

    `on_abort` is called when all is to end at once: a source that waits for the outside does not notice it.
    """

    def __init__(self, journal: Notes | None = None, *, on_abort: Callable[[], None] = lambda: None) -> None:
        self.ledger = Ledger()
        self.journal = journal
        self.nodes: dict[str, Node] = {}
        self.error: tuple[str, BaseException] | None = None  # node, what it raised
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._running = 0
        self._aborted = False
        self._on_abort = on_abort

    def source(self, name: str, frames: Callable[[], Iterator[Frame]]) -> Node:
        """Add a node that makes frames from the outside."""
        return self._add(Node(name, lambda inbox: frames(), Inbox(), is_source=True))

    def stage(self, name: str, stage: Stage) -> Node:
        """Add a node that works on what it is sent."""
        return self._add(Node(name, stage, Inbox(self._count_lost(name), heir), is_source=False))

    def connect(
        self, tail: Node, head: Node, *, stream: str = "", policy: Policy = "block", capacity: int = 4
    ) -> None:
        """Send what `tail` yields to `head`: all of it, or only frames of `stream`."""
        lane = head.inbox.lane(stream or tail.name, policy=policy, capacity=capacity)
        tail.edges = [*tail.edges, Edge(head, lane, stream, policy)]
        if tail.ended:
            lane.close()  # nobody else will

    def disconnect(self, tail: Node, stream: str) -> list[Node]:
        """Send nothing more of `stream` from `tail` along edges of its own; what is under way still arrives.

        Return the nodes at whose other end the edges were.
        """
        gone = [edge for edge in tail.edges if edge.stream == stream]
        tail.edges = [edge for edge in tail.edges if edge.stream != stream]
        for edge in gone:
            edge.lane.close()
        return [edge.head for edge in gone]

    def remove(self, node: Node, timeout: float) -> bool:
        """Forget a node once its thread has ended, or before it began; False if it has not in time.

        Of one that runs on, what follows takes nothing more, so that it can end.
        """
        if node.thread is None:
            self._let_go(node)
        else:
            node.thread.join(timeout)
            if node.thread.is_alive():
                self._close_edges(node)
                return False
        self.nodes.pop(node.name, None)
        return True

    def forget(self, stream: str) -> None:
        """Let every stage drop what it keeps of a stream that has ended."""
        for node in tuple(self.nodes.values()):
            if isinstance(node.stage, Stateful):
                node.stage.forget(stream)

    def outlet(self, name: str) -> Node:
        """Add a node whose items the caller takes with `pump`."""
        node = self.stage(name, iter)
        node.is_callers = True
        return node

    def pump(self, node: Node) -> Generator[Item, None, None]:
        """Give the items of an outlet to the caller, counted like those of any stage."""
        try:
            for item in node.inbox:
                self._give(node, item)
                yield item
        except Aborted:
            return
        finally:
            node.inbox.refuse(f"{node.name} ended")

    def start(self, *nodes: Node) -> None:
        """Start the threads of these nodes, or of all that do not run yet and are not the caller's to run."""
        for node in nodes or tuple(self.nodes.values()):
            if node.thread is None and not node.is_callers:
                node.thread = threading.Thread(target=self._run, args=(node,), name=node.name, daemon=True)
                with self._lock:
                    self._running += 1
                node.thread.start()

    def run_here(self, node: Node) -> None:
        """Run one node in the calling thread until it ends (a window belongs to the main thread)."""
        node.thread = threading.current_thread()
        with self._lock:
            self._running += 1
        self._run(node)

    def wait(self, timeout: float | None = None) -> bool:
        """Block until every node has ended; True if so, False when the time ran out."""
        with self._changed:
            return self._changed.wait_for(lambda: self._running == 0, timeout)

    def abort(self) -> None:
        """End every node at its next step; frames under way are counted as dropped."""
        self._aborted = True
        for node in tuple(self.nodes.values()):
            node.inbox.abort()
        self._on_abort()

    def dot(self) -> str:
        """Return the graph in Graphviz's language, with the frames that went along each edge so far."""
        lines = ["digraph streamer {", "  rankdir=LR; node [shape=box];"]
        for node in list(self.nodes.values()):
            lines.append(f'  "{node.name}" [label="{node.name}\\n{node.busy.quantile(0.5) * 1e3:.2f} ms"];')
            for edge in node.edges:
                label = f"{edge.stream or 'all'}, {edge.policy}, {len(edge.lane)} queued"
                lines.append(f'  "{node.name}" -> "{edge.head.name}" [label="{label}"];')
        return "\n".join([*lines, "}"])

    def _add(self, node: Node) -> Node:
        if node.name in self.nodes:
            raise ValueError(f"graph: node {node.name!r} exists already")
        self.nodes[node.name] = node
        return node

    def _count_lost(self, stage: str) -> Callable[[Item, str], None]:
        def lost(item: Item, reason: str) -> None:
            for frame in frames_of(item):
                self.ledger.tally(stage, frame.stream).dropped[reason] += 1
                if self.journal is not None:
                    self.journal.note(frame, stage, reason)
            if not isinstance(item, Frame):
                item.let_go()

        return lost

    def _run(self, node: Node) -> None:
        work = node.stage(node.inbox)
        try:
            self._pump(node, work)
        except Aborted:
            pass
        except BaseException as error:
            if self.error is None:
                self.error = (node.name, error)
            self.abort()
        finally:
            self._finish(node, work)

    def _pump(self, node: Node, work: Iterator[Item]) -> None:
        inbox, busy, clock = node.inbox, node.busy, time.perf_counter
        while not self._aborted:
            began, waited = clock(), inbox.waited
            try:
                item = next(work)
            except StopIteration:
                return
            busy.add(clock() - began - (inbox.waited - waited))
            self._give(node, item)
            node.cpu = time.thread_time()

    def _give(self, node: Node, item: Item) -> None:
        """Send an item on; at every moment its frames are under way somewhere, in the ledger as well.

        They are out once they lie where they go: whoever waits for that may close the edges then.
        """
        edges = [edge for edge in node.edges if not edge.stream or _is_of(item, edge.stream)]
        for frame in frames_of(item):
            for edge in edges:
                self.ledger.tally(edge.head.name, frame.stream).offered += 1
            if node.is_source:
                self.ledger.tally(node.name, frame.stream).offered += 1
            self._note(frame, node, edges)
        try:
            for edge in edges:
                self._put(edge, item)
        finally:
            for frame in frames_of(item):
                self.ledger.tally(node.name, frame.stream).out += 1

    def _put(self, edge: Edge, item: Item) -> None:
        try:
            edge.lane.put(item)
        except Aborted:
            edge.head.inbox.lost(item, "aborted")
            raise

    def _note(self, frame: Frame, node: Node, edges: Sequence[Edge]) -> None:
        if self.journal is None:
            return
        self.journal.note(frame, node.name, "out", captured=node.is_source)
        for edge in edges:
            self.journal.note(frame, edge.head.name, "in")

    def _finish(self, node: Node, work: Iterator[Item]) -> None:
        try:
            close = getattr(work, "close", None)
            if close is not None:
                close()
        except BaseException as error:
            if self.error is None:
                self.error = (node.name, error)
            self.abort()
        self._let_go(node)
        node.cpu = time.thread_time()
        with self._changed:
            self._running -= 1
            if self._aborted and not self._running:
                self._write_off("aborted")
            self._changed.notify_all()

    def _let_go(self, node: Node) -> None:
        """Take and give nothing more at a node, so that those around it need not wait for it."""
        node.ended = True
        node.inbox.refuse(f"{node.name} ended")
        self._close_edges(node)

    def _close_edges(self, node: Node) -> None:
        for edge in node.edges:
            edge.lane.close()

    def _write_off(self, reason: str) -> None:
        for stage, stream, frames in self.ledger.write_off(reason):
            if self.journal is not None:
                self.journal.count(stream, stage, reason, frames)

    def raise_error(self) -> None:
        """Raise what ended the graph, if anything did, with the stage's name.

        Raises:
            WorkError: a stage failed; the cause is chained.
        """
        if self.error is None:
            return
        name, error = self.error
        if isinstance(error, InputError):
            raise error
        kind = "" if isinstance(error, WorkError) else f"{type(error).__name__}: "
        raise WorkError(f"{name}: {kind}{error}") from error


def heir(late: Item, item: Item) -> Item:
    """Return an item with the events and sound of the one before it, which came too late to be handed on."""
    if not isinstance(late, Frame) or not isinstance(item, Frame) or not (late.events or late.audio):
        return item
    return replace(item, events=(*late.events, *item.events), audio=carry(late.audio, item.audio))


def frames_of(item: Item) -> Sequence[Frame]:
    """Return the frames that an item carries."""
    return (item,) if isinstance(item, Frame) else item.frames


def _is_of(item: Item, stream: str) -> bool:
    return isinstance(item, Frame) and item.stream == stream
