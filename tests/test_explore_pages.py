"""The pages of `charrnn explore`: what is measured of the selected cell or direction, reached by its keys."""

from __future__ import annotations

import importlib.util
import re
import threading
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from built_runs import QUOTING_UNIT, build_quoting, quoting_text
from conftest import TrainedRun

import charrnn
from charrnn.api import Model

pytest.importorskip("textual", reason="the extra `tui` is not installed")

from exploring import play, screen, shown, until, until_scored
from textual.widgets import Input, Static

from charrnn.apps.explore import app as explorer
from charrnn.apps.explore.app import Explorer, Work, measure_in_stages, page_in_stages
from charrnn.apps.explore.screens import Comparison, Page, TextView
from charrnn.apps.explore.state import BEST
from charrnn.apps.full_screen import Help, Question
from charrnn.cells.analysis import Study
from charrnn.progress import task
from charrnn.views.cell_page import contribution_text

if TYPE_CHECKING:
    from textual.pilot import Pilot

TEXT = quoting_text(3_000, seed=1)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("quoting")
    corpus = folder / "quoting.txt"
    corpus.write_text(quoting_text(20_000), encoding="utf-8", newline="")
    return charrnn.load(build_quoting(folder / "quoting", corpus))


@pytest.fixture(scope="module")
def study(model: Model) -> Study:
    return model.study(TEXT, cached=True)


def page_of(app: Explorer) -> Page:
    assert isinstance(app.screen, Page)
    return app.screen


def on_page(app: Explorer, widget: str) -> str:
    return str(page_of(app).query_one(widget, Static).render())


async def until_measured(app: Explorer, pilot: Pilot[None]) -> None:
    await until(pilot, lambda: isinstance(app.screen, Page) and "Most correlated" in whole_page(app))
    await until(pilot, lambda: not page_of(app).query_one("#status").display)


def whole_page(app: Explorer) -> str:
    """The pictures of a page, those below the screen too."""
    lines = page_of(app).query_one("#page", Static).render_lines(page_of(app).query_one("#page").region.reset_offset)
    return "\n".join(strip.text for strip in lines)


def test_the_quotation_cell_its_passages_outputs_and_cost_are_three_keys_away(model: Model, study: Study) -> None:
    ablation = study.ablation_of(0, QUOTING_UNIT)
    (effect,) = (one for one in ablation.effects if one.detector == "quote")
    assert effect.change_inside > ablation.change > effect.change_outside > 0.1

    async def script(app: Explorer, pilot: Pilot[None]) -> None:
        await until_scored(app, pilot)
        row = next(n for n, one in enumerate(app.browser.exploration.orders[BEST]) if one.score.detector == "quote")
        assert f"{row + 1}  0:{QUOTING_UNIT}" in screen(app) and "Enter page" in screen(app)
        keys = [str(row + 1), "enter"]
        assert len(keys) <= 3
        await pilot.press(*keys)
        await until_measured(app, pilot)
        drawn = screen(app)
        assert f"cell 0:{QUOTING_UNIT} follows quote" in drawn
        passage = next(line for line in drawn.splitlines() if line.startswith("top 1"))
        assert "+1.00" in passage and "“" in drawn
        assert f"loss {ablation.change:+.4f} nats/character; inside quote {effect.change_inside:+.4f}" in drawn
        assert f"outside {effect.change_outside:+.4f}" in drawn
        promoted, suppressed = (next(x for x in drawn.splitlines() if x.startswith(w)) for w in ("promotes", "suppr"))
        assert {"x", "y", "z"} <= {*promoted.split()} and {"a", "b", "c"} <= {*suppressed.split()}
        assert "promotes" in whole_page(app) and "Ablated: rise of the loss" in whole_page(app)
        assert "inside double quotation marks" in whole_page(app)

    play(model, script, TEXT)


def test_a_page_scrolls_and_turns_to_other_cells_and_back(model: Model) -> None:
    async def script(app: Explorer, pilot: Pilot[None]) -> None:
        await until_scored(app, pilot)
        await pilot.press("p")
        await until_measured(app, pilot)
        pictures = page_of(app).query_one("#pictures")
        await pilot.press("down", "j", "k")
        await until(pilot, lambda: pictures.scroll_offset.y == 1)
        await pilot.press("pagedown", "space")
        await until(pilot, lambda: pictures.scroll_offset.y > 2 * (pictures.size.height - 1))
        await pilot.press("end")
        await until(pilot, lambda: "Most correlated" in screen(app))
        await pilot.press("pageup", "home")
        await until(pilot, lambda: pictures.scroll_offset.y == 0)
        await pilot.press("left")
        rows = app.browser.exploration.rows
        assert on_page(app, "#caption").startswith("cell 0:5 "), "there is no cell before the first"
        await pilot.press("right")
        await until_measured(app, pilot)
        layer, unit = rows[1].cell
        assert on_page(app, "#caption").startswith(f"cell {layer}:{unit} ")
        assert f"Where cell {layer}:{unit} is high" in whole_page(app)
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(app.screen, Help))
        await pilot.press("escape", "c")
        await until(pilot, lambda: isinstance(app.screen, Question))
        await pilot.press("escape", "escape")
        await pilot.pause()
        assert app.screen is app.browser and app.browser.exploration.row == 1
        assert app.browser.query_one("CellTable").cursor_row == 1  # type: ignore[attr-defined]

    play(model, script, TEXT)


def test_parts_of_a_page_appear_as_they_are_measured_and_keys_work_meanwhile(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Semaphore(0)

    def measure(*arguments: Any, **options: Any) -> Iterator[Any]:
        for page in page_in_stages(*arguments, **options):
            assert go_on.acquire(timeout=600)
            yield page

    monkeypatch.setattr(explorer, "page_in_stages", measure)

    async def script(app: Explorer, pilot: Pilot[None]) -> None:
        await until_scored(app, pilot)
        await pilot.press("enter")
        await until(pilot, lambda: "ing" in on_page(app, "#status"))
        go_on.release()
        await until(pilot, lambda: "Values over" in whole_page(app))
        assert "promotes" not in whole_page(app) + screen(app)
        await until(pilot, lambda: "ablating" in on_page(app, "#status"))
        await pilot.press("down")
        await until(pilot, lambda: page_of(app).query_one("#pictures").scroll_offset.y == 1)
        go_on.release()
        await until(pilot, lambda: "ablated" in screen(app))
        assert "promotes" not in screen(app)
        # A page that is left is not measured any further, and what it measures does not show on another.
        await pilot.press("right")
        go_on.release()
        go_on.release()
        await until(pilot, lambda: "Values over" in whole_page(app))
        assert "Where cell 0:5 " not in whole_page(app)
        for _ in range(8):
            go_on.release()
        await until_measured(app, pilot)

    play(model, script, TEXT)


def test_a_page_does_not_wait_until_all_cells_are_scored(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    is_page_there = threading.Event()

    def measure(*arguments: Any, **options: Any) -> Iterator[Any]:
        trace, *_ = measure_in_stages(*arguments, **options)
        yield trace
        with task("scoring", 2) as advance:
            advance(1)
            while not is_page_there.wait(0.01):
                advance(0)

    monkeypatch.setattr(explorer, "measure_in_stages", measure)

    async def script(app: Explorer, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "scoring 50%" in screen(app))
        await pilot.press("enter")
        await until_measured(app, pilot)
        assert on_page(app, "#caption").startswith("cell 0:0 of ")
        is_page_there.set()
        await pilot.press("escape")
        await until(pilot, lambda: not shown(app, "#status"))

    play(model, script, TEXT)
    assert is_page_there.is_set()


def test_a_direction_colours_the_text_is_clamped_and_has_a_cost(model: Model, study: Study) -> None:
    direction = study.direction("quote", 4)
    values = study.direction_text(direction).coloured.values

    async def script(app: Explorer, pilot: Pilot[None]) -> None:
        await until_scored(app, pilot)
        await pilot.press("d")
        await until(pilot, lambda: app.browser.exploration.direction is not None)
        assert app.browser.exploration.direction == direction
        assert shown(app, "#caption").startswith("direction quote@4 (inside double quotation marks")
        coloured = app.browser.exploration.values
        assert coloured is not None and coloured.tolist() == pytest.approx(list(values[:2_000]), abs=1e-4)
        assert f"{coloured[0]:+.2f}" in shown(app, "#readout")
        await pilot.press("t")
        app.browser._type("”a “x")
        await until(pilot, lambda: app.browser.typed.text == "”a “x")
        typed = app.browser.exploration.values
        assert typed is not None and typed[-1] > 0.9 > -0.9 > typed[0]
        await pilot.press("escape", "escape", "enter")
        await until(pilot, lambda: isinstance(app.screen, Page) and "Clamped at its mean" in whole_page(app))
        assert "random" in whole_page(app) and "inside quote" in whole_page(app)
        await pilot.press("escape", "c")
        await until(pilot, lambda: isinstance(app.screen, Question))
        assert "Clamp direction quote@4 at which output" in screen(app)
        for answer in ("highest", "inf"):
            app.screen.query_one(Input).value = answer
            await pilot.press("enter")
            await pilot.pause()
            assert "Write low, high or a number" in screen(app)
        app.screen.query_one(Input).value = "high"
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, Comparison) and "quote@4 clamped at" in screen(app))
        clamped, free = app.screen.query("TextView")
        assert not {*clamped._characters} & {*"abc"} and {*free._characters} & {*"abc"}  # type: ignore[attr-defined]
        await pilot.press("escape", "c")
        await until(pilot, lambda: isinstance(app.screen, Question))
        app.screen.query_one(Input).value = "1000"
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, Comparison))
        title = app.screen.query_one("#clamped-title", Static)
        await until(pilot, lambda: "this direction reaches" in str(title.render()))
        assert "--clamp quote@4=1000: with" in str(title.render()) and title.size.height > 1
        await pilot.press("escape", "d")
        await pilot.pause()
        assert app.browser.exploration.direction is None
        assert shown(app, "#caption").startswith("cell 0:5 follows quote")

    play(model, script, TEXT)


@pytest.mark.parametrize("size", [(20, 5), (80, 24), (120, 40)])
def test_a_page_fits_every_size_without_colour(
    model: Model, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    async def script(app: Explorer, pilot: Pilot[None]) -> None:
        await until_scored(app, pilot)
        await pilot.press("enter")
        await until_measured(app, pilot)
        lines = screen(app).splitlines()
        assert len(lines) == size[1] and {len(line) for line in lines} == {size[0]}
        if size[0] >= 80:
            assert lines[-1].startswith("↑↓ PgUp PgDn scroll") and "Esc back" in lines[-1]
            passage = next(n for n, line in enumerate(lines) if line.startswith("top 1"))
            assert {*lines[passage + 1][23:].strip()} <= {*"▁▂▃▄▅▆▇█ "}
            assert "█" in lines[passage + 1]

    play(model, script, TEXT, size=size)


def test_the_cost_names_the_detector_or_else_the_one_where_it_is_largest(study: Study) -> None:
    ablation = study.ablation_of(0, QUOTING_UNIT)
    assert "; inside quote +" in contribution_text(ablation)
    text = contribution_text(ablation, "word-position")
    assert "; word-position over 0 +" in text and ", at 0 +" in text
    assert contribution_text(study.ablation_of(0, 1), "none").startswith("loss +0.0000 nats/character")


def test_the_newest_job_runs_first_and_none_after_closing() -> None:
    done: list[str] = []
    failures: list[Exception] = []
    has_begun, is_second_there, is_first_done, has_failed, is_endless_there = (threading.Event() for _ in range(5))

    def on_failure(error: Exception) -> None:
        failures.append(error)
        has_failed.set()

    def first(pause: Any) -> None:
        has_begun.set()
        assert is_second_there.wait(600)
        pause()
        done.append("first")
        is_first_done.set()

    def second(pause: Any) -> None:
        done.append("second")

    def endless(pause: Any) -> None:
        done.append("endless")
        is_endless_there.set()
        while True:
            pause()

    def fail(pause: Any) -> None:
        raise ValueError("broken")

    work = Work(on_failure)
    work.start(first)
    assert has_begun.wait(600)
    work.start(second)
    is_second_there.set()
    assert is_first_done.wait(600)
    assert done == ["second", "first"]
    work.start(fail)
    assert has_failed.wait(600)
    assert [str(one) for one in failures] == ["broken"]
    work.start(endless)
    assert is_endless_there.wait(600)
    assert not work.is_closed
    work.close()
    assert work.is_closed
    others = {*threading.enumerate()}
    work.start(second)
    for late in {*threading.enumerate()} - others:
        late.join(600)
        assert not late.is_alive()
    assert done == ["second", "first", "endless"]


def test_a_carriage_return_before_a_newline_is_not_shown(byte_run: TrainedRun) -> None:
    async def script(app: Explorer, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.browser.given.trace is not None)
        assert "ab,↵" in screen(app) and "␍" not in "".join(screen(app).splitlines()[:-2])
        view = app.browser.query_one("#text", TextView)
        await pilot.press("right", "right", "right")
        await until(pilot, lambda: app.browser.exploration.viewed.cursor == 3)
        (marked,) = (segment.text for segment in view.render_line(0) if segment.style and segment.style.reverse)
        assert marked == "↵"
        await pilot.press("right", "right")
        await until(pilot, lambda: view.current_line == 1)

    play(charrnn.load(byte_run.path), script, b"ab,\r\n" * 20)


def test_the_picture_of_the_documentation_shows_the_quotation_cell(model: Model, tmp_path: Path) -> None:
    script = Path(__file__).parents[1] / "docs" / "make_explore_picture.py"
    spec = importlib.util.spec_from_file_location("make_explore_picture", script)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    pictures = []
    for name in ("first", "second"):
        picture = module.draw(model, model.encode(TEXT))
        (tmp_path / f"{name}.svg").write_text(picture, encoding="utf-8")
        pictures.append(picture)
    assert pictures[0] == pictures[1]
    words = re.sub("<[^>]*>", "", pictures[0])
    assert "cell 0:5 follows quote" in words and "Enter page" in words and "reading" not in words
    for picture in (pictures[0], module.FILE.read_text(encoding="utf-8")):
        assert len(picture.encode()) < 60_000
        assert re.findall("https?://[^\"' ]*", picture) == ["http://www.w3.org/2000/svg"]
        assert "prefers-color-scheme: dark" in picture and ET.fromstring(picture).tag.endswith("svg")
