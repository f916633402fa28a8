from __future__ import annotations

import asyncio

import pytest

from streamer.web.audience import Audience, Gone, Viewer


def taken(viewer: Viewer[str]) -> list[str]:
    """Return all that waits for a viewer that was dismissed."""

    async def drain() -> list[str]:
        items = []
        try:
            while True:
                items.append(await viewer.next())
        except Gone:
            return items

    return asyncio.get_event_loop().run_until_complete(drain())


@pytest.fixture
def loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield loop
    asyncio.set_event_loop(None)
    loop.close()


# offered: k = a key, d = a difference; what the viewer gets, h = the head; what is given up
CASES = {
    "starts at a key, with the head in front": ("ddkdd", "hkdd", 2),
    "all keys are all kept": ("kkk", "hkkk", 0),
    "full: gives up all and goes on with the next key": ("kdddddkd", "hkd", 6),
    "full at a key: begins anew with it": ("kddddkd", "hkd", 5),
    "no key ever: nothing": ("ddd", "", 3),
}


@pytest.mark.parametrize(("offered", "got", "lost"), CASES.values(), ids=CASES.keys())
def test_a_viewer_gets_what_it_can_begin_with(
    loop: asyncio.AbstractEventLoop, offered: str, got: str, lost: int
) -> None:
    viewer: Viewer[str] = Viewer(loop, capacity=5)
    given_up = sum(viewer.offer(kind, is_key=kind == "k", before="h") for kind in offered)
    viewer.dismiss()
    assert "".join(taken(viewer)) == got
    assert given_up == viewer.dropped == lost


def test_a_slow_viewer_harms_only_itself(loop: asyncio.AbstractEventLoop) -> None:
    async def show() -> tuple[list[str], int, int]:
        audience: Audience[str] = Audience(capacity=3)
        quick, slow = audience.join(), audience.join()
        seen = []
        for number in range(100):
            audience.offer(str(number))
            seen.append(await quick.next())
        return seen, quick.dropped, slow.dropped

    seen, quick, slow = loop.run_until_complete(show())
    assert seen == [str(number) for number in range(100)]
    assert quick == 0
    assert slow >= 96


def test_who_has_left_is_offered_nothing(loop: asyncio.AbstractEventLoop) -> None:
    async def show() -> tuple[int, list[str]]:
        audience: Audience[str] = Audience(capacity=3)
        viewer = audience.join()
        audience.leave(viewer)
        audience.offer("late")
        viewer.dismiss()
        with pytest.raises(Gone):
            await viewer.next()
        return len(audience), []

    assert loop.run_until_complete(show())[0] == 0


def test_an_item_from_another_thread_wakes_the_viewer(loop: asyncio.AbstractEventLoop) -> None:
    async def show() -> str:
        audience: Audience[str] = Audience(capacity=3)
        viewer = audience.join()
        waiting = asyncio.create_task(viewer.next())
        await asyncio.sleep(0)
        await asyncio.to_thread(audience.offer, "hello")
        return await asyncio.wait_for(waiting, 10)

    assert loop.run_until_complete(show()) == "hello"
