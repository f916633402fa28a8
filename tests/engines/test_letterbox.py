"""Where a picture lies in the input, and the way back."""

from __future__ import annotations

import numpy as np
import pytest

from engines.letterbox import Placement, place

CASES = {
    "wide into square, centred": ((768, 432), (320, 320), "letterbox", ((320, 180), 0, 70)),
    "tall into square, centred": ((432, 768), (320, 320), "letterbox", ((180, 320), 70, 0)),
    "wide into square, top left": ((768, 432), (320, 320), "letterbox-topleft", ((320, 180), 0, 0)),
    "stretched": ((768, 432), (320, 320), "stretch", ((320, 320), 0, 0)),
    "as it is": ((320, 320), (320, 320), "letterbox", ((320, 320), 0, 0)),
    "a smaller picture is enlarged": ((64, 32), (320, 320), "letterbox", ((320, 160), 0, 80)),
    "an odd bar is larger below": ((320, 181), (320, 320), "letterbox", ((320, 181), 0, 69)),
    "one line stays a line": ((1000, 1), (320, 320), "letterbox", ((320, 1), 0, 159)),
    "one column stays a column": ((1, 1000), (320, 320), "letterbox", ((1, 320), 159, 0)),
}


@pytest.mark.parametrize(("source", "target", "rule", "expected"), CASES.values(), ids=CASES.keys())
def test_a_picture_is_scaled_as_its_rule_says(
    source: tuple, target: tuple, rule: str, expected: tuple
) -> None:
    seen = place(source, target, rule)  # type: ignore[arg-type]
    assert seen == Placement(source, *expected)
    assert seen.left + seen.size[0] <= target[0]
    assert seen.top + seen.size[1] <= target[1]


@pytest.mark.parametrize(("source", "target", "rule", "expected"), CASES.values(), ids=CASES.keys())
def test_the_way_back_undoes_the_way_there(source: tuple, target: tuple, rule: str, expected: tuple) -> None:
    seen = place(source, target, rule)  # type: ignore[arg-type]
    corners = np.array([[0, 0], source], np.float32)
    inside = [[seen.left, seen.top], [seen.left + seen.size[0], seen.top + seen.size[1]]]
    np.testing.assert_allclose(seen.to_input(corners), inside, atol=1e-3)
    np.testing.assert_allclose(seen.to_source(seen.to_input(corners)), corners, atol=1e-3)
