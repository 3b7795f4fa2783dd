"""Mirrors modelbay_ollama/calibration.py: bounds of what text and images cost."""

from hypothesis import given
from hypothesis import strategies as st

from modelbay_ollama.calibration import AGREEING, ANY, IMAGE_TOKENS, Costs, Step, rates


def step(tokens: float, size: int, messages: int = 2, images: int = 0) -> Step:
    return Step(tokens, tokens, size, messages, images, certain=True)


@given(
    st.floats(1.2, 6.0),
    st.integers(0, 16),
    st.lists(st.tuples(st.integers(1, 5000), st.floats(-0.06, 0.06)), min_size=2, max_size=12),
)
def test_bounds_hold_for_text_no_more_uneven_than_the_spread(
    bytes_per_token: float, overhead: int, turns: list[tuple[int, float]]
) -> None:
    counts = [
        (size, 2 * overhead + size / (bytes_per_token * (1 + uneven))) for size, uneven in turns
    ]
    known = rates([step(tokens, size) for size, tokens in counts[:-1]], Costs())
    size, tokens = counts[-1]

    assert known.least(size, 2) <= tokens + 1e-6
    assert known.most(size, 2) >= tokens - 1e-6


def test_text_that_is_more_uneven_widens_the_spread() -> None:
    even = rates([step(250, 1000), step(252, 1000)], Costs())
    uneven = rates([step(250, 1000), step(330, 1000)], Costs())

    assert even.spread < uneven.spread
    assert uneven.least(1000, 2) < 250
    assert uneven.most(1000, 2) > 330


def test_where_nothing_fits_nothing_is_claimed() -> None:
    known = rates([step(900, 1000), step(1, 1000)], Costs())

    assert known == ANY


def test_images_cost_something_known_once_several_agree_and_until_one_does_not() -> None:
    costs = Costs()
    text = [step(250, 1000), step(500, 2000)]
    learned = []
    for _ in range(AGREEING):
        learned.append(costs.image)
        costs.learn_images([*text, step(1000, 1000, images=1)])
    low, high = costs.image
    costs.learn_images([*text, step(400, 1000, images=1)])

    assert learned == [(0.0, IMAGE_TOKENS)] * AGREEING
    assert 650 < low < 750 < high < 850
    assert costs.image[0] < 150
    assert costs.image[1] == IMAGE_TOKENS


def test_a_prompt_that_may_have_been_cut_bounds_an_image_only_from_below() -> None:
    costs = Costs()
    text = [step(250, 1000), step(500, 2000)]
    for _ in range(AGREEING):
        costs.learn_images([*text, Step(1000, 1000, 1000, 2, images=1)])

    assert costs.image[0] > 650
    assert costs.image[1] == IMAGE_TOKENS
