"""Every tracker: identities that a person would not confuse stay apart, whatever happens to the frames."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.detections import EMPTY, Detections
from engines.errors import InputError
from streamer.trackers import TRACKERS, open_tracker

NAMES = tuple(TRACKERS)
Truth = list[tuple[float, NDArray[np.float64], NDArray[np.intp]]]  # pts, boxes, who they are


def walkers(fps: float, seconds: float = 4.0, speed: float = 1.0) -> Truth:
    """Four people on a pavement: two pass one another at a distance, one waits, one comes in late."""
    truth = []
    for index in range(int(seconds * fps / speed)):
        pts = index / fps
        t = pts * speed
        left = np.array([50 + 60 * t, 420 - 70 * t, 250.0, 600 - 80 * t])
        top = np.array([20.0, 260.0, 500.0, 740.0])
        who = np.arange(4)[: 4 if t > 1 else 3]
        boxes = np.stack([left, top, left + 60, top + 150], axis=1)[who]
        truth.append((pts, boxes, who))
    return truth


def follow(name: str, truth: Truth, seed: int = 0, shift: float = 0.0) -> tuple[dict[int, set[int]], int]:
    """Return the ids that each person was given, and how many boxes had one; order is shuffled each frame."""
    random, tracker = np.random.default_rng(seed), open_tracker(name)
    given: dict[int, set[int]] = {}
    count = 0
    for pts, boxes, who in truth:
        order = random.permutation(len(who))
        noisy = boxes[order] + random.normal(0, 1.5, (len(order), 4))
        found = tracker.update(Detections.of(noisy, [0.9] * len(order), [0] * len(order)), pts + shift)
        assert np.array_equal(found.boxes, noisy.astype(np.float32))
        for person, number in zip(who[order].tolist(), found.ids.tolist(), strict=True):
            if number >= 0:
                given.setdefault(person, set()).add(number)
                count += 1
    return given, count


def assert_one_each(given: dict[int, set[int]], people: int = 4) -> None:
    assert sorted(given) == list(range(people))
    assert all(len(numbers) == 1 for numbers in given.values())
    assert len(set.union(*given.values())) == people


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("fps", [2, 5, 12.5, 30, 100])
def test_people_keep_their_ids_at_any_frame_rate(name: str, fps: float) -> None:
    assert_one_each(follow(name, walkers(fps))[0])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("speed", [0.1, 0.25, 1, 4])
def test_scaling_time_and_speed_together_changes_no_identity(name: str, speed: float) -> None:
    assert_one_each(follow(name, walkers(20 * speed, speed=speed))[0])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("every", "share"), [(2, 0.0), (5, 0.0), (10, 0.0), (1, 0.2), (3, 0.2), (1, 0.5)])
def test_dropped_frames_change_no_identity(name: str, every: int, share: float) -> None:
    truth = walkers(30)[::every]
    kept = np.random.default_rng(4).random(len(truth)) >= share
    assert_one_each(follow(name, [frame for frame, keep in zip(truth, kept, strict=True) if keep])[0])


@pytest.mark.parametrize("name", NAMES)
def test_missed_detections_change_no_identity(name: str) -> None:
    random = np.random.default_rng(9)
    truth = []
    for pts, boxes, who in walkers(25):
        kept = random.random(len(who)) >= 0.3
        truth.append((pts, boxes[kept], who[kept]))
    assert_one_each(follow(name, truth)[0])


@pytest.mark.parametrize("name", NAMES)
def test_uneven_frame_times_change_no_identity(name: str) -> None:
    truth, random = walkers(100), np.random.default_rng(2)
    at = np.cumsum(random.integers(1, 40, 40))
    assert_one_each(follow(name, [truth[index] for index in at if index < len(truth)])[0])


@pytest.mark.parametrize("name", NAMES)
def test_only_differences_of_time_count(name: str) -> None:
    assert follow(name, walkers(25)) == follow(name, walkers(25), shift=1e6)


@pytest.mark.parametrize("name", NAMES)
def test_permuting_detections_permutes_ids(name: str) -> None:
    random = np.random.default_rng(1)
    one, other = open_tracker(name), open_tracker(name)
    for index in range(30):
        corner = random.uniform(0, 300, (12, 2))  # a crowd that changes too fast to be followed: contested
        boxes = np.concatenate([corner, corner + random.uniform(20, 90, (12, 2))], axis=1)
        found = Detections.of(boxes, random.uniform(0.3, 1, 12), random.integers(0, 2, 12))
        order = random.permutation(12)
        straight, permuted = one.update(found, index / 10), other.update(found[order], index / 10)
        assert np.array_equal(straight.ids[order], permuted.ids)
        assert np.array_equal(straight.classes[order], permuted.classes)


@pytest.mark.parametrize("name", NAMES)
def test_streams_never_influence_each_other(name: str) -> None:
    here, there = walkers(25), walkers(10, seconds=6)
    alone = follow(name, here)
    one, other = open_tracker(name), open_tracker(name)
    ids = []
    for index, (pts, boxes, who) in enumerate(here):
        found = one.update(Detections.of(boxes, [0.9] * len(who), [0] * len(who)), pts)
        ids.append(found.ids)
        pts, boxes, who = there[index % len(there)]
        other.update(Detections.of(boxes, [0.9] * len(who), [0] * len(who)), index / 10)
    again = open_tracker(name)
    for expected, (pts, boxes, who) in zip(ids, here, strict=True):
        found = again.update(Detections.of(boxes, [0.9] * len(who), [0] * len(who)), pts)
        assert np.array_equal(found.ids, expected)
    assert_one_each(alone[0])


@pytest.mark.parametrize("name", NAMES)
def test_reset_starts_clean_and_gives_no_id_again(name: str) -> None:
    tracker, box = open_tracker(name), Detections.of([[0, 0, 50, 100]], [0.9], [0])
    first = {int(tracker.update(box, index / 10).ids[0]) for index in range(5)}
    tracker.reset()
    second = {int(tracker.update(box, 0.5 + index / 10).ids[0]) for index in range(5)}
    assert first == {1}
    assert second == {2}


@pytest.mark.parametrize("name", NAMES)
def test_clock_that_jumps_back_starts_anew(name: str) -> None:
    tracker, box = open_tracker(name), Detections.of([[0, 0, 50, 100]], [0.9], [0])
    assert tracker.update(box, 100.0).ids.tolist() == [1]
    assert tracker.update(box, 3.0).ids.tolist() == [2]
    assert tracker.update(box, 3.1).ids.tolist() == [2]


@pytest.mark.parametrize("name", NAMES)
def test_track_ends_once_it_is_lost_for_long(name: str) -> None:
    tracker, box = open_tracker(f"{name},lost=1"), Detections.of([[0, 0, 50, 100]], [0.9], [0])
    for index in range(10):
        tracker.update(box, index / 10)
    for index in range(10, 18):
        tracker.update(EMPTY, index / 10)
    assert tracker.update(box, 1.8).ids.tolist() == [1]
    for index in range(19, 40):
        tracker.update(EMPTY, index / 10)
    assert not len(tracker.lost(4.0))
    assert 1 not in tracker.update(box, 4.0).ids


@pytest.mark.parametrize("name", NAMES)
def test_fresh_box_is_no_track_before_it_is_sure(name: str) -> None:
    tracker = open_tracker(name)
    tracker.update(EMPTY, 0.0)
    box = Detections.of([[0, 0, 50, 100]], [0.6], [0])  # .36 a time: 1.5 after the fifth
    ids = [int(tracker.update(box, 0.1 * step).ids[0]) for step in range(1, 8)]
    assert ids == [-1, -1, -1, -1, 1, 1, 1]


@pytest.mark.parametrize("name", NAMES)
def test_class_that_flickers_is_settled_by_vote(name: str) -> None:
    tracker = open_tracker(name)
    for index in range(30):
        label = 2 if index % 4 == 3 else 7
        found = tracker.update(Detections.of([[0, 0, 50, 100]], [0.8], [label]), index / 10)
        assert found.ids.tolist() == [1]
        assert found.classes.tolist() == [7]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("every", [1, 2, 5])
def test_track_goes_on_under_another_class_where_it_is_the_same_thing(name: str, every: int) -> None:
    tracker, ids = open_tracker(name), []
    for index in range(0, 60, every):
        x = 4.0 * index
        label = 2 if index // every % 4 == 3 else 7  # a truck that is a car now and then
        found = tracker.update(Detections.of([[x, 0, x + 200, 100]], [0.8], [label]), index / 20)
        ids += found.ids.tolist()
        assert found.classes.tolist() in ([7], [label] if ids[-1] < 0 else [7])
    assert set(ids[-5:]) == {1}
    assert set(ids) <= {1, -1}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("every", [1, 2, 5, 10])
def test_person_who_gets_into_a_car_does_not_become_it(name: str, every: int) -> None:
    tracker = open_tracker(name)
    classes: dict[int, set[int]] = {}
    for index in range(0, 120, every):
        x = min(4.0 * index, 240)
        person, car = (
            [x, 100, x + 60, 250],
            [230 + max(0, 6 * (index - 60)), 130, 430 + max(0, 6 * (index - 60)), 250],
        )
        boxes, labels = (
            ([person], [0]) if index < 60 else ([car], [2])
        )  # then the car is found, the person not
        found = tracker.update(Detections.of(boxes, [0.9], labels), index / 20)
        for number, label in zip(found.ids.tolist(), labels, strict=True):
            if number >= 0:
                classes.setdefault(number, set()).add(label)
    assert sorted(map(sorted, classes.values())) == [[0], [2]]


def test_classes_can_be_kept_apart_altogether() -> None:
    tracker = open_tracker("sort,switch=2")
    ids = [
        int(tracker.update(Detections.of([[0, 0, 50, 100]], [0.9], [label]), 0.1 * index).ids[0])
        for index, label in enumerate([0, 0, 0, 1, 0])
    ]
    assert ids == [1, 1, 1, -1, 1]


@pytest.mark.parametrize("name", NAMES)
def test_boxes_between_are_predicted_over_real_time(name: str) -> None:
    tracker = open_tracker(name)
    for index in range(20):
        x = 10.0 * index
        points = np.array([[[x + 5, 7, 1]]], np.float32)
        tracker.update(Detections.of([[x, 0, x + 40, 90]], [0.9], [0], keypoints=points), index / 10)
    before = tracker.predict(1.9)
    later = tracker.predict(2.15)
    assert before.boxes[0] == pytest.approx([190, 0, 230, 90])
    assert later.boxes[0] == pytest.approx([215, 0, 255, 90], abs=1)
    assert later.keypoints[0, 0] == pytest.approx([220, 7, 1], abs=1)
    assert later.ids.tolist() == [1]
    assert tracker.predict(1.9).boxes[0] == pytest.approx([190, 0, 230, 90])


@pytest.mark.parametrize("name", NAMES)
def test_lost_track_moves_on(name: str) -> None:
    tracker = open_tracker(name)
    for index in range(20):
        x = 10.0 * index
        tracker.update(Detections.of([[x, 0, x + 40, 90]], [0.9], [3]), index / 10)
    assert not len(tracker.lost(1.9))
    tracker.update(EMPTY, 2.0)
    lost = tracker.lost(2.2)
    assert lost.ids.tolist() == [1]
    assert lost.classes.tolist() == [3]
    assert lost.boxes[0] == pytest.approx([220, 0, 260, 90], abs=2)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "box",
    [[np.nan, 0, 9, 9], [0, 0, np.inf, 9], [5, 5, 5, 9], [9, 9, 0, 0]],
    ids=["nan", "inf", "flat", "turned"],
)
def test_box_without_area_is_nobody(name: str, box: list[float]) -> None:
    tracker = open_tracker(name)
    for index in range(5):
        found = tracker.update(Detections.of([box, [0, 0, 50, 100]], [0.9, 0.9], [0, 0]), index / 10)
        assert found.ids.tolist() == [-1, 1]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_found_is_no_trouble(name: str) -> None:
    tracker = open_tracker(name)
    for index in range(5):
        assert len(tracker.update(EMPTY, index / 10)) == 0
    assert len(tracker.predict(0.7)) == 0


@pytest.mark.parametrize("name", NAMES)
def test_any_overlap_does_not_mean_none(name: str) -> None:
    tracker = open_tracker(f"{name},iou=0")
    for index in range(5):
        tracker.update(Detections.of([[0, 0, 50, 100]], [0.9], [0]), index / 10)
    for index in range(5, 8):
        found = tracker.update(Detections.of([[500, 0, 550, 100]], [0.9], [0]), index / 10)
    assert found.ids.tolist() == [2]


def test_settings_are_read_from_text() -> None:
    weak = Detections.of([[0, 0, 50, 100]], [0.3], [0])
    assert open_tracker("bytetrack").update(weak, 0.0).ids.tolist() == [-1]
    assert open_tracker("bytetrack, high=0.2 ,begin=0.2").update(weak, 0.0).ids.tolist() == [1]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("bytetrak", "track: 'bytetrak': unknown, did you mean 'bytetrack'?"),
        ("", "track: '': unknown, would be one of sort, bytetrack, ocsort, botsort"),
        ("sort,losst=2", "track: sort: unknown key 'losst', did you mean 'lost'?"),
        ("sort,lost=soon", "track: sort: lost: 'soon', would be a number, like 1.0"),
        ("sort,lost=-1", "track: sort: lost: -1, would be a number of 0 or more"),
        ("sort,lost=nan", "track: sort: lost: nan, would be a number of 0 or more"),
        ("sort,iou=1.5", "track: sort: iou: 1.5, would be from 0 to 1"),
        ("botsort,shape=2", "track: botsort: shape: 2, would be from 0 to 1"),
        ("botsort,camera=0.5", "track: botsort: camera: '0.5', would be a whole number, like 1"),
    ],
)
def test_mistakes_are_told_in_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        open_tracker(text)
    assert str(caught.value) == sentence


def test_botsort_follows_a_camera_that_jumps() -> None:
    random = np.random.default_rng(3)
    wall = np.kron(random.integers(0, 256, (20, 40)), np.ones((24, 24))).astype(np.uint8)
    ids = {}
    for name in ("bytetrack", "botsort"):
        tracker = open_tracker(f"{name},reach=2")
        for index in range(12):
            x = 50 if index >= 8 else 0  # the camera swings at once by more than a box is wide
            luma = np.ascontiguousarray(wall[:360, x : x + 640])
            found = tracker.update(
                Detections.of([[300 - x, 100, 340 - x, 200]], [0.9], [0]), index / 30, luma
            )
        ids[name] = found.ids.tolist()
    assert ids["botsort"] == [1]
    assert ids["bytetrack"] != [1]


def dressed(boxes: list[list[float]], looks: list[list[float]]) -> Detections:
    vectors = np.array(looks, np.float32)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
    return Detections.of(boxes, [0.9] * len(boxes), [0] * len(boxes), embeddings=vectors)


RED, GREEN = [1.0, 0.1, 0.0], [0.0, 0.1, 1.0]


def test_botsort_knows_who_comes_back_by_looks() -> None:
    tracker = open_tracker("botsort,lost=30")
    for index in range(10):
        tracker.update(dressed([[0, 0, 50, 100], [200, 0, 250, 100]], [RED, GREEN]), index / 10)
    for index in range(10, 100):
        tracker.update(EMPTY, index / 10)
    for index in range(100, 105):  # they come back elsewhere, and change sides
        found = tracker.update(dressed([[400, 50, 450, 150], [100, 50, 150, 150]], [GREEN, RED]), index / 10)
        assert found.ids.tolist() == [2, 1]


def test_botsort_does_not_take_one_for_another_who_stands_there_now() -> None:
    ids = {}
    for name in ("bytetrack", "botsort"):
        tracker = open_tracker(name)
        for index in range(10):
            tracker.update(dressed([[0, 0, 50, 100]], [RED]), index / 10)
        for index in range(10, 14):
            found = tracker.update(dressed([[5, 0, 55, 100]], [GREEN]), index / 10)
        ids[name] = found.ids.tolist()
    assert ids == {"bytetrack": [1], "botsort": [2]}


def test_what_has_no_embedding_is_tracked_by_its_box() -> None:
    tracker = open_tracker("botsort")
    for index in range(10):
        looks = [0.0, 0, 0] if index % 3 else RED
        assert tracker.update(dressed([[index, 0, 50 + index, 100]], [looks]), index / 10).ids.tolist() == [1]


def test_botsort_bears_a_picture_that_is_no_more_than_a_stripe() -> None:
    tracker = open_tracker("botsort")
    for pts in (0.0, 0.04):
        assert len(tracker.update(EMPTY, pts, np.zeros((2, 4096), np.uint8))) == 0


def test_ocsort_goes_on_from_where_it_finds_again_as_if_it_had_seen_the_straight_way_there() -> None:
    ahead = {}
    for name in ("sort", "ocsort"):
        for hidden in (False, True):
            tracker = open_tracker(name)
            for index in range(27):
                x = 10.0 * index if index <= 20 else 200 + 2.0 * (index - 20)  # it slows down unseen
                seen = Detections.of([[x, 0, x + 100, 200]], [0.9], [0])
                found = tracker.update(EMPTY if hidden and 20 < index < 26 else seen, index / 20)
            assert found.ids.tolist() == [1]
            ahead[name, hidden] = float(tracker.predict(2.3).boxes[0, 0])
    assert ahead["ocsort", True] == pytest.approx(ahead["ocsort", False], abs=0.01)
    assert abs(ahead["sort", True] - ahead["sort", False]) > 1
