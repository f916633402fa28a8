"""Journal: every frame's way can be told afterwards, and the sums are proven from the file alone."""

from __future__ import annotations

import json
import resource

import pytest

from engines.errors import InputError, WorkError
from streamer.journal import Journal, read
from streamer.ledger import print_balance, print_journey
from streamer.pipeline import Pipeline
from streamer.settings import gather

from .test_pipeline import GreyModel, synthetic


def run(path, *urls, **how):
    sinks = [str(path.with_name("a.jsonl"))]
    settings = gather(urls, "grey", sinks, ledger=str(path), **how)
    with Pipeline(settings, model=GreyModel()) as pipeline:
        return pipeline.run()


def test_the_file_agrees_with_the_report(tmp_path):
    path = tmp_path / "run.ledger"
    report = run(path, synthetic(20), synthetic(10, seed=1) + "&live=1")
    story = read(path)
    assert story.unbalanced() == []
    assert {name: story.tallies[f"decode:{name}", name].out for name in story.streams()} == {
        stream.name: stream.decoded for stream in report.streams
    }
    late = sum(tally.dropped.total() for tally in story.tallies.values())
    assert late == report.lost.total()


def test_each_frame_of_a_file_can_be_followed_to_its_sink(tmp_path):
    path = tmp_path / "run.ledger"
    run(path, synthetic(20))
    for frame in (0, 19):
        ((_, events),) = read(path, frame=frame).frames.items()
        assert [event.stage for event in events if event.what == "out"] == [
            "decode:synthetic",
            "submit",
            "collect",
            "write:a.jsonl",
        ]
        times = [event.at for event in events]
        assert times == sorted(times)
        assert events[0].captured <= events[0].at


def test_a_lost_frame_says_where_and_why(tmp_path, capsys):
    path = tmp_path / "a.ledger"
    lines = [
        {"ledger": 1},
        [1.0, "cam", 7, "decode:cam", "out", 0.95],
        [1.0, "cam", 7, "submit", "in"],
        [1.1, "cam", 7, "submit", "late"],
        [1.2, "cam", -1, "decode:cam", "frozen", 3],
        [2.0, "yard", 7, "write:a.jsonl", "in"],
        [2.01, "yard", 7, "write:a.jsonl", "out"],
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    cam = """\
cam #7
        0.0 ms  captured
       50.0 ms  decoded
       50.0 ms  waits for submit
      150.0 ms  lost at submit: late
"""
    yard = """\
yard #7
        0.0 ms  captured
        0.0 ms  waits for write:a.jsonl
       10.0 ms  written to a.jsonl
"""
    for stream, told in (("", cam + yard), ("cam", cam), ("yard", yard)):
        assert print_journey(path, 7, stream)
        assert capsys.readouterr().out == told
    assert print_balance(path)
    shown = capsys.readouterr().out
    assert "balanced" in shown
    assert "3 frozen" in shown
    with pytest.raises(InputError, match="frame 8: is not in it; never given out: 3 frozen"):
        print_journey(path, 8)
    with pytest.raises(InputError, match="no stream 'cm', did you mean 'cam'"):
        print_journey(path, 7, "cm")


def test_frames_that_are_missing_are_told(tmp_path, capsys):
    path = tmp_path / "a.ledger"
    path.write_text('{"ledger":1}\n[1.0,"cam",0,"submit","in"]\n[1.0,"cam",1,"submit","in"]\n')
    assert not print_balance(path)
    assert "submit: cam: 2 of 2 frames unaccounted for" in capsys.readouterr().out


def test_a_line_cut_off_by_a_kill_is_passed_over(tmp_path):
    path = tmp_path / "a.ledger"
    path.write_text('{"ledger":1}\n[1.0,"cam",0,"decode:cam","out",0.9]\n[1.0,"ca')
    assert read(path).tallies["decode:cam", "cam"].out == 1


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("", InputError, "is empty"),
        ("[]\n", InputError, "is no ledger"),
        ("hello\n", InputError, "is no ledger"),
        ('{"ledger":1}\n[1.0,"cam"]\n', WorkError, "damaged"),
    ],
)
def test_what_is_no_ledger_is_refused(tmp_path, text, error, words):
    path = tmp_path / "a.ledger"
    path.write_text(text)
    with pytest.raises(error, match=words):
        read(path)
    with pytest.raises(InputError, match="cannot be read"):
        read(tmp_path / "none")


def test_a_disk_that_cannot_follow_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("streamer.journal.MOST", 2)
    monkeypatch.setattr("streamer.journal.EVERY", 60.0)
    journal = Journal(tmp_path / "a.ledger")
    for _ in range(5):
        journal.count("cam", "submit", "late", 1)
    journal.close()
    assert "3 events are missing" in read(tmp_path / "a.ledger").unbalanced()[0]


def test_a_place_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        Journal(tmp_path / "file" / "a.ledger")


def run_on_a_full_disk(path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    settings = gather([synthetic(20)], "grey", [], ledger=str(path))
    try:
        with Pipeline(settings, model=GreyModel()) as pipeline:
            resource.setrlimit(resource.RLIMIT_FSIZE, (200, limits[1]))
            assert pipeline.run().results == 20
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_ends_a_good_run_with_one_sentence_and_the_file_tells(tmp_path):
    path = tmp_path / "a.ledger"
    with pytest.raises(WorkError, match=r"--ledger .*a\.ledger: \d+ events are missing: File too large"):
        run_on_a_full_disk(path)
    story = read(path)
    assert story.left_out > 0
    assert f"{story.left_out} events are missing" in story.unbalanced()[0]


def test_a_mistake_leaves_the_ledger_of_the_run_before_as_it_is(tmp_path):
    path = tmp_path / "a.ledger"
    run(path, synthetic(3))
    before = path.read_text()
    with pytest.raises(InputError, match="no such file"):
        run(path, str(tmp_path / "nosuch.mp4"))
    assert path.read_text() == before
