"""Probe: the facts of a source as its first frame shows them, counts only when asked for."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from engines.errors import InputError
from streamer.sources.probe import probe

from .conftest import Film, picture


def test_facts_of_a_film(film: Film):
    path = film(
        "a.mp4", [picture(0)], aspect=Fraction(2), turn=(90, False, False), form="yuv444p", times=[0.5]
    )
    seen = probe(str(path))
    assert (seen.orientation, seen.sample_aspect, seen.info.size) == (8, 2, (64, 192))
    assert (seen.matrix, seen.full_range, seen.subsampling, seen.live) == ("bt601", False, (1, 1), False)
    assert seen.start == pytest.approx(0.5)
    assert (seen.decoded, seen.seconds) == (0, 0)


def test_counting_decodes_to_the_end(film: Film):
    seen = probe(str(film()), count=True)
    assert seen.decoded == 10
    assert seen.seconds == pytest.approx(1.0)


def test_failures_are_counted(data_dir: Path):
    seen = probe(str(data_dir / "video" / "decord_corrupted.mp4"), count=True)
    assert (seen.decoded, sum(seen.failures.values())) == (49, 1)


def test_every_kind_of_source_can_be_probed(tmp_path: Path):
    assert probe("synthetic:?count=3&size=64x64", count=True).decoded == 3
    assert probe("lavfi:testsrc2=size=64x48:duration=0.2:rate=10", count=True).decoded == 2


def test_what_cannot_be_opened_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="no such file"):
        probe(str(tmp_path / "gone.mp4"))
