"""Graph: every frame is accounted for under every policy and fault, and a failing stage ends it loudly."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from engines.errors import InputError, WorkError
from streamer.audio import MOST_CARRIED, AudioPacket
from streamer.frame import Frame, Planes
from streamer.graph import Graph, Item
from streamer.inbox import Inbox, Lane

GREY = Planes(np.zeros((2, 2), np.uint8), np.zeros((1, 1), np.uint8), np.zeros((1, 1), np.uint8))


def frames(stream: str, count: int) -> Iterator[Frame]:
    return (Frame(stream, index, index / 25, GREY) for index in range(count))


def through(inbox: Inbox[Frame]) -> Iterator[Frame]:
    yield from inbox


def build(count: int = 100, middle=through, last=through, **edge) -> tuple[Graph, list[int]]:
    """Two sources -> middle -> last, which notes the indices of stream a."""
    graph, seen = Graph(), []

    def note(inbox: Inbox[Frame]) -> Iterator[Frame]:
        for frame in last(inbox):
            if frame.stream == "a":
                seen.append(frame.index)
            yield frame

    work, end = graph.stage("work", middle), graph.stage("end", note)
    for stream in "ab":
        graph.connect(
            graph.source(f"decode:{stream}", lambda stream=stream: frames(stream, count)), work, **edge
        )
    graph.connect(work, end)
    return graph, seen


def finish(graph: Graph) -> None:
    graph.start()
    assert graph.wait(10)
    names = set(graph.nodes)
    for thread in threading.enumerate():
        if thread.name in names:
            thread.join(5)
            assert not thread.is_alive()


def test_blocking_edges_lose_nothing_and_keep_order():
    graph, seen = build(500, capacity=2)
    finish(graph)
    assert seen == list(range(500))
    assert graph.ledger.unbalanced() == []
    assert not graph.ledger.lost()


def test_latest_edges_count_what_they_drop():
    gate = threading.Event()

    def slow(inbox: Inbox[Frame]) -> Iterator[Frame]:
        gate.wait(10)
        yield from inbox

    graph, seen = build(200, middle=slow, policy="latest", capacity=1)
    graph.start()
    for stream in "ab":
        graph.nodes[f"decode:{stream}"].thread.join(10)
    gate.set()
    assert graph.wait(10)
    assert seen == [199]
    assert graph.ledger.lost() == {"work: late": 398}
    assert graph.ledger.unbalanced() == []


@pytest.mark.parametrize("count", [10, 1000])
def test_a_frame_takes_over_the_sound_of_those_too_late_before_it(count):
    sounds = [AudioPacket(b"", at, at, 1) for at in range(count)]
    graph, taken = Graph(), []

    def heard() -> Iterator[Frame]:
        for frame, sound in zip(frames("a", count), sounds, strict=True):
            frame.audio = (sound,)
            yield frame

    def slow(inbox: Inbox[Frame]) -> Iterator[Frame]:
        source.thread.join(10)
        for frame in inbox:
            taken.append(frame)
            yield frame

    source, work = graph.source("decode:a", heard), graph.stage("work", slow)
    graph.connect(source, work, policy="latest", capacity=2)
    finish(graph)
    assert [frame.index for frame in taken] == [count - 2, count - 1]
    assert [packet for frame in taken for packet in frame.audio] == sounds[-(MOST_CARRIED + 2) :]


@pytest.mark.parametrize("stage", ["decode:a", "work", "end"])
@pytest.mark.parametrize("at", [0, 57, 99])
def test_a_failing_stage_ends_the_graph_with_its_name(stage, at):
    def failing(inbox) -> Iterator[Frame]:
        for count, frame in enumerate(inbox):
            if count == at:
                raise ZeroDivisionError("on purpose")
            yield frame

    graph, _ = build()
    node = graph.nodes[stage]
    whole = node.stage
    node.stage = lambda inbox: failing(whole(inbox))
    finish(graph)
    with pytest.raises(WorkError, match=rf"^{stage}: ZeroDivisionError: on purpose$") as caught:
        graph.raise_error()
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert graph.ledger.unbalanced() == []


def test_a_failing_clean_up_is_not_swallowed():
    def untidy(inbox: Inbox[Frame]) -> Iterator[Frame]:
        try:
            yield from inbox
        finally:
            raise OSError("disk full")

    graph, _ = build(3, last=untidy)
    finish(graph)
    with pytest.raises(WorkError, match="end: OSError: disk full"):
        graph.raise_error()


@pytest.mark.parametrize(
    ("error", "told"),
    [(InputError("a.mp4: not writable"), "a.mp4: not writable"), (WorkError("disk full"), "work: disk full")],
    ids=["a user's mistake found late", "work that failed"],
)
def test_an_error_of_ours_stays_what_it_is(error, told):
    def picky(inbox: Inbox[Frame]) -> Iterator[Frame]:
        yield next(iter(inbox))
        raise error

    graph, _ = build(3, middle=picky)
    finish(graph)
    with pytest.raises(type(error), match=f"^{told}$"):
        graph.raise_error()


def test_a_stage_that_has_enough_does_not_hold_the_others():
    def three(inbox: Inbox[Frame]) -> Iterator[Frame]:
        for _ in range(3):
            yield next(iter(inbox))

    graph, _ = build(100, last=three)
    finish(graph)
    graph.raise_error()
    ended = sum(tally.dropped["end ended"] for tally in graph.ledger.stages()["end"].values())
    assert ended == 197
    assert graph.ledger.unbalanced() == []


def test_what_a_stage_keeps_to_itself_is_told_at_the_end():
    def greedy(inbox: Inbox[Frame]) -> Iterator[Frame]:
        for frame in inbox:
            if frame.index != 3:
                yield frame

    graph, _ = build(10, middle=greedy)
    finish(graph)
    graph.raise_error()
    assert graph.ledger.unbalanced() == [f"work: {stream}: 1 of 10 frames unaccounted for" for stream in "ab"]


def test_the_first_error_is_told_and_not_what_follows_from_it():
    def failing(inbox: Inbox[Frame]) -> Iterator[Frame]:
        yield next(iter(inbox))
        raise ZeroDivisionError("first")

    def untidy(inbox: Inbox[Frame]) -> Iterator[Frame]:
        try:
            yield from inbox
        finally:
            raise OSError("second")

    graph, _ = build(100, middle=untidy, last=failing)
    finish(graph)
    with pytest.raises(WorkError, match="end: ZeroDivisionError: first"):
        graph.raise_error()


def test_what_travels_together_is_let_go_where_nobody_takes_it():
    freed = []

    class Pair:
        def __init__(self, first: Frame, second: Frame) -> None:
            self.frames = (first, second)

        def let_go(self) -> None:
            freed.append(self)

    def pairs(inbox: Inbox[Frame]) -> Iterator[Item]:
        for frame in inbox:
            yield Pair(frame, next(iter(inbox)))

    graph = Graph()
    work, end = graph.stage("work", pairs), graph.stage("end", lambda inbox: iter(()))
    graph.connect(graph.source("decode:a", lambda: frames("a", 20)), work)
    graph.connect(work, end)
    finish(graph)
    assert len(freed) == 10
    assert graph.ledger.lost() == {"end: end ended": 20}
    assert graph.ledger.unbalanced() == []


def test_the_work_of_a_stage_is_told_without_its_waiting():
    def waiting(inbox: Inbox[Frame]) -> Iterator[Frame]:
        for frame in inbox:
            inbox.waited += 1000.0  # no clock says that
            yield frame

    graph, _ = build(3, middle=waiting)
    finish(graph)
    assert graph.nodes["work"].busy.total < -5000.0


def test_abort_accounts_for_what_was_under_way():
    stuck = threading.Event()

    def holding(inbox: Inbox[Frame]) -> Iterator[Frame]:
        for frame in inbox:
            stuck.wait(10)
            yield frame

    graph, _ = build(100, middle=holding)
    graph.start()
    graph.abort()
    stuck.set()
    assert graph.wait(10)
    graph.raise_error()
    assert graph.ledger.unbalanced() == []


def test_abort_ends_a_stage_though_its_source_gives_nothing():
    left = threading.Event()

    def silent() -> Iterator[Frame]:
        left.wait(30)
        yield from frames("a", 1)

    graph = Graph()
    work = graph.stage("work", through)
    graph.connect(graph.source("decode:a", silent), work)
    graph.start()
    graph.abort()
    work.thread.join(5)
    assert not work.thread.is_alive()
    left.set()
    assert graph.wait(5)


def test_a_frame_is_at_every_moment_under_way_somewhere():
    """Whoever removes a stream waits for that; between two stages it must not be overlooked."""
    seen: list[tuple[int, int]] = []
    graph, _ = build(1)
    put = graph.nodes["work"].edges[0].lane.put

    class Watched(Lane[Item]):
        __slots__ = ()

        def put(self, item: Item) -> None:
            seen.append((graph.ledger.under_way("a", ["work"]), graph.ledger.under_way("a", ["end"])))
            put(item)

    graph.nodes["work"].edges[0].lane.__class__ = Watched
    finish(graph)
    assert (1, 1) in seen
    assert graph.ledger.unbalanced() == []


def test_a_failing_stage_frees_a_source_that_waits():
    left = threading.Event()

    def silent() -> Iterator[Frame]:
        yield from frames("a", 1)
        left.wait(30)

    def failing(inbox: Inbox[Frame]) -> Iterator[Frame]:
        yield next(iter(inbox))
        raise ZeroDivisionError("on purpose")

    graph = Graph(on_abort=left.set)
    graph.connect(graph.source("decode:a", silent), graph.stage("work", failing))
    graph.start()
    assert graph.wait(10)
    with pytest.raises(WorkError, match="work: ZeroDivisionError: on purpose"):
        graph.raise_error()


def test_edges_of_one_stream_carry_no_other():
    graph = Graph()
    seen: list[str] = []

    def note(inbox: Inbox[Frame]) -> Iterator[Frame]:
        for frame in inbox:
            seen.append(frame.stream)
            yield frame

    work, end = graph.stage("work", through), graph.stage("end", note)
    for stream in "ab":
        graph.connect(graph.source(stream, lambda stream=stream: frames(stream, 10)), work)
    graph.connect(work, end, stream="b")
    finish(graph)
    assert seen == ["b"] * 10
    assert graph.ledger.unbalanced() == []


def test_nodes_join_and_leave_while_it_runs():
    graph = Graph()
    more, seen = threading.Event(), []

    def endless() -> Iterator[Frame]:
        yield from frames("a", 10)
        more.wait(10)
        yield Frame("a", 10, 0.4, GREY)

    def note(inbox: Inbox[Frame]) -> Iterator[Frame]:
        for frame in inbox:
            seen.append((frame.stream, frame.index))
            yield frame

    end = graph.stage("end", note)
    graph.connect(graph.source("first", endless), end)
    graph.start()
    late = graph.source("second", lambda: frames("b", 5))
    graph.connect(late, end)
    graph.start(late)
    late.thread.join(10)
    more.set()
    assert graph.wait(10)
    assert [index for stream, index in seen if stream == "b"] == list(range(5))
    assert [index for stream, index in seen if stream == "a"] == list(range(11))


def test_what_is_joined_to_a_node_that_has_ended_ends_too():
    graph, _ = build(1)
    finish(graph)
    late = graph.stage("late", through)
    graph.connect(graph.nodes["work"], late)
    graph.start(late)
    assert graph.wait(5)


def test_outlet_gives_items_to_the_caller_and_may_be_left_early():
    graph = Graph()
    source = graph.source("decode:a", lambda: frames("a", 50))
    outlet = graph.outlet("frames")
    graph.connect(source, outlet)
    graph.start(source)
    items = graph.pump(outlet)
    taken = [next(items).index for _ in range(3)]
    items.close()
    assert graph.wait(10)
    assert taken == [0, 1, 2]
    assert graph.ledger.tally("frames", "a").dropped["frames ended"] == 47
    assert graph.ledger.unbalanced() == []


def test_dot_draws_every_node_and_edge():
    graph, _ = build(1)
    drawn = graph.dot()
    for part in ('"decode:a" -> "work"', '"decode:b" -> "work"', '"work" -> "end"', "digraph"):
        assert part in drawn
