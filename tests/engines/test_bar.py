"""Progress of compiling, for people."""

from __future__ import annotations

import pytest

from engines.bar import drawn, spoken


def test_a_sentence_comes_every_ten_seconds() -> None:
    now, said = [0.0], list[str]()
    tell = spoken(said.append, lambda: now[0])
    for second in range(25):
        now[0] = second
        tell(second / 25 if second < 15 else -1, "tactics")
    assert said == ["compiling the model: 40%, tactics", "compiling the model: tactics"]


def test_what_is_quick_draws_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with drawn():
        pass
    assert capfd.readouterr() == ("", "")


def test_what_takes_long_is_drawn_on_stderr(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with drawn() as tell:
        tell(-1, "starting")
        tell(0.5, "tactics")
    out, error = capfd.readouterr()
    assert out == ""
    assert "compiling" in error
