"""Inbox: bounded, fair, closable, and every item that is given up is reported."""

import threading
import time
from collections import Counter

import pytest

from streamer.inbox import Aborted, Inbox


def filled(*lanes: list[int]) -> Inbox[int]:
    inbox: Inbox[int] = Inbox()
    for at, items in enumerate(lanes):
        lane = inbox.lane(str(at), capacity=max(len(items), 1))
        for item in items:
            lane.put(item)
        lane.close()
    return inbox


@pytest.mark.parametrize(
    ("lanes", "most", "expected"),
    [
        ([[1, 2, 3]], 2, [[1, 2], [3]]),
        ([[1, 2, 3], [10]], 2, [[1, 10], [2, 3]]),
        ([[1, 2], [10, 20], [100, 200]], 3, [[1, 10, 100], [2, 20, 200]]),
        ([[], [5]], 4, [[5]]),
        ([], 1, []),
    ],
    ids=["one lane", "short lane costs no turn", "one of each in turn", "empty lane", "no lane at all"],
)
def test_take_serves_lanes_in_turn(lanes, most, expected):
    inbox = filled(*lanes)
    taken = []
    while items := inbox.take(most):
        taken.append(items)
    assert taken == expected
    assert inbox.ended


def test_iteration_ends_when_every_lane_is_closed_and_empty():
    assert sorted(filled([1, 2], [3])) == [1, 2, 3]


def test_latest_lane_gives_up_its_oldest_and_says_so():
    lost = []
    inbox: Inbox[int] = Inbox(lambda item, reason: lost.append((item, reason)))
    lane = inbox.lane("camera", policy="latest", capacity=2)
    for item in range(5):
        lane.put(item)
    assert len(inbox) == 2
    lane.resize(1)
    lane.put(5)
    lane.close()
    assert list(inbox) == [5]
    assert lost == [(item, "late") for item in range(5)]


@pytest.mark.parametrize("capacity", [1, 2])
def test_what_follows_a_late_item_may_take_over_from_it(capacity):
    inbox: Inbox[str] = Inbox(inherit=lambda late, item: late + item)
    lane = inbox.lane("camera", policy="latest", capacity=capacity)
    for item in "abcde":
        lane.put(item)
    lane.close()
    assert list(inbox) == {1: ["abcde"], 2: ["abcd", "e"]}[capacity]


def test_blocking_lane_holds_its_producer_until_there_is_room():
    inbox: Inbox[int] = Inbox()
    lane = inbox.lane("file", capacity=2)
    depths: list[int] = []

    def produce() -> None:
        for item in range(50):
            lane.put(item)
            depths.append(len(lane))
        lane.close()

    producer = threading.Thread(target=produce)
    producer.start()
    assert list(inbox) == list(range(50))
    producer.join(5)
    assert not producer.is_alive()
    assert max(depths) <= 2


def test_deadline_returns_what_is_there():
    inbox: Inbox[int] = Inbox()
    lane = inbox.lane("slow")
    assert inbox.take(4, deadline=time.perf_counter() + 0.01) == []
    lane.put(1)
    assert inbox.take(4, deadline=time.perf_counter() + 0.01) == [1]
    assert not inbox.ended


def test_abort_frees_blocked_producers_and_consumers():
    lost = []
    full: Inbox[int] = Inbox(lambda item, reason: lost.append((item, reason)))
    lane = full.lane("file", capacity=1)
    lane.put(1)
    empty: Inbox[int] = Inbox()
    empty.lane("never")
    ended = []

    def blocked(call) -> None:
        try:
            call()
        except Aborted:
            ended.append(True)

    threads = [
        threading.Thread(target=blocked, args=(lambda: lane.put(2),)),
        threading.Thread(target=blocked, args=(lambda: empty.take(1),)),
    ]
    for thread in threads:
        thread.start()
    full.abort()
    empty.abort()
    for thread in threads:
        thread.join(5)
    assert ended == [True, True]
    assert lost == [(1, "aborted")]


def test_refused_items_are_lost_and_nobody_blocks():
    lost = []
    inbox: Inbox[int] = Inbox(lambda item, reason: lost.append((item, reason)))
    lane = inbox.lane("file", capacity=1)
    lane.put(1)
    inbox.refuse("window closed")
    lane.put(2)
    lane.put(3)
    assert lost == [(1, "window closed"), (2, "window closed"), (3, "window closed")]
    assert len(inbox) == 0


def test_waiting_of_the_consumer_is_measured():
    inbox: Inbox[int] = Inbox()
    inbox.lane("never")
    inbox.take(1, deadline=time.perf_counter() + 0.05)
    assert 0.04 < inbox.waited < 5


def test_no_lane_gives_more_than_its_share_and_the_others_fill_up():
    inbox: Inbox[str] = Inbox()
    lanes = {name: inbox.lane(name, capacity=9) for name in "abc"}
    for name, count in (("a", 6), ("b", 1), ("c", 3)):
        for _ in range(count):
            lanes[name].put(name)
    taken: Counter[str] = Counter()
    assert Counter(inbox.take(8, share=2, taken=taken)) == {"a": 2, "b": 1, "c": 2}
    assert inbox.take(8, share=2, taken=taken, deadline=0.0) == []
    lanes["b"].put("b")
    assert inbox.take(8, share=2, taken=taken, deadline=0.0) == ["b"]
    assert Counter(inbox.take(8, share=2)) == {"a": 2, "c": 1}


def test_closed_lanes_are_forgotten_while_others_live():
    inbox: Inbox[int] = Inbox()
    alive = inbox.lane("alive")
    for _ in range(50):
        inbox.lane("passing").close()
        alive.put(1)
        assert inbox.take(1) == [1]
        alive.put(2)
        assert inbox.take(4) == [2]
    assert list(inbox.depths()) == ["alive"]


def test_what_comes_through_a_lane_after_its_end_is_lost_and_ends_no_other():
    lost = []
    inbox: Inbox[int] = Inbox(lambda item, reason: lost.append((item, reason)))
    over, alive = inbox.lane("over"), inbox.lane("alive")
    over.close()
    alive.put(1)
    assert inbox.take(1) == [1]
    over.put(2)
    alive.put(3)
    alive.close()
    assert list(inbox) == [3]
    assert lost == [(2, "closed")]


@pytest.mark.parametrize("end", ["its lanes", "abort", "refuse"])
def test_an_inbox_whose_consumer_has_ended_says_so(end):
    inbox: Inbox[int] = Inbox()
    lane = inbox.lane("a")
    lane.put(1)
    assert inbox.take(1) == [1]
    assert inbox.take(1, deadline=0.0) == []
    assert not inbox.is_deserted
    {"its lanes": lane.close, "abort": inbox.abort, "refuse": lambda: inbox.refuse("over")}[end]()
    if end == "its lanes":
        assert inbox.take(1) == []
    assert inbox.is_deserted


def test_who_lingers_is_woken_by_the_last_of_several():
    inbox: Inbox[int] = Inbox()
    lane = inbox.lane("a", capacity=9)
    given: list[int] = []
    woken = threading.Thread(target=lambda: (inbox.linger(3, 30.0), given.extend(inbox.take(9))))
    woken.start()
    for item in range(3):
        lane.put(item)
    woken.join(10.0)
    assert given == [0, 1, 2]


def test_who_has_lingered_is_woken_by_one_item_again():
    inbox: Inbox[int] = Inbox()
    lane = inbox.lane("a")
    inbox.linger(3, 0.01)
    waits, wait = threading.Event(), inbox._filled.wait
    inbox._filled.wait = lambda seconds=None: (waits.set(), wait(seconds))
    given: list[int] = []
    woken = threading.Thread(target=lambda: given.extend(inbox.take(1)), daemon=True)
    woken.start()
    assert waits.wait(5.0)
    lane.put(1)
    woken.join(5.0)
    assert given == [1]


def test_a_lane_that_grows_frees_its_producer():
    inbox: Inbox[int] = Inbox()
    lane = inbox.lane("file", capacity=1)
    lane.put(1)
    waits, wait = threading.Event(), lane._room.wait
    lane._room.wait = lambda: (waits.set(), wait())
    producer = threading.Thread(target=lane.put, args=(2,), daemon=True)
    producer.start()
    assert waits.wait(5.0)
    lane.resize(2)
    producer.join(5.0)
    assert not producer.is_alive()
    assert inbox.take(2) == [1, 2]


@pytest.mark.parametrize("end", ["close", "abort", "refuse", "time"])
def test_who_lingers_does_not_outstay_the_end(end: str):
    inbox: Inbox[int] = Inbox()
    lane = inbox.lane("a")
    lane.put(1)
    woken = threading.Thread(target=inbox.linger, args=(3, 0.05 if end == "time" else 30.0))
    woken.start()
    if end == "close":
        lane.close()
    elif end == "abort":
        inbox.abort()
    elif end == "refuse":
        inbox.refuse("enough")
    woken.join(10.0)
    assert not woken.is_alive()
    assert inbox.waited < 10
