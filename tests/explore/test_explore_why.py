"""`charrnn explore`: the key w, which says why the character at the cursor came."""

import numpy as np
import pytest
from built_runs import build_quoting
from exploring import play, screen, until
from known_weights import quoting_text

import charrnn
from charrnn.errors import UsageError
from charrnn.explore.state import explore_text

QUOTED = quoting_text(2_000, seed=1)


@pytest.fixture(scope="module")
def quoting(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quoting-why")
    corpus = folder / "quoting.txt"
    corpus.write_text(quoting_text(20_000), encoding="utf-8", newline="")
    return charrnn.load(build_quoting(folder / "quoting", corpus))


def test_w_colours_the_text_by_effect_and_escape_goes_back(quoting):
    place = QUOTED.index("“") + 3

    async def script(app, pilot):
        await pilot.press(*["right"] * place)
        await pilot.press("w")
        await until(pilot, lambda: app.browser.why is not None)
        assert "has a chance of" in " ".join(screen(app).split())
        assert "10 times as likely" in screen(app)
        effects = app.browser._effects()
        assert np.isfinite(effects[:place]).all() and np.isnan(effects[place:]).all()
        # The cursor moves on, and the question with it.
        await pilot.press("right")
        await until(pilot, lambda: app.browser.why is not None)
        assert len(app.browser.why.effects) == place + 1
        await pilot.press("escape")
        assert not app.browser.asks_why
        assert "has a chance of" not in " ".join(screen(app).split())

    play(quoting, script, QUOTED)


def test_before_the_first_character_is_nothing(quoting):
    async def script(app, pilot):
        await pilot.press("w")
        await until(pilot, lambda: "Nothing is shown" in " ".join(screen(app).split()))
        await pilot.press("w")
        assert not app.browser.asks_why

    play(quoting, script, QUOTED)


def test_it_is_explained_as_model_why_explains_the_text(quoting):
    exploration = explore_text(quoting, quoting.encode(QUOTED), num_shown=2_000, num_scored=8_000)
    for place in (2, 30, 700, 1_900):
        why = exploration.why(place)
        same = quoting.why(QUOTED[:place], QUOTED[place])
        assert why.character == QUOTED[place]
        np.testing.assert_allclose(why.effects, same.effects, rtol=1e-3, atol=1e-4)
    with pytest.raises(UsageError, match="Nothing is shown before"):
        exploration.why(0)
