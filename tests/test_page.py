"""The report in a real browser: does everybody reach everything on it, on any screen and on paper?

Each was seen failing once: a font from elsewhere, a script that throws, a table out of its region, a picture without
a name, grey on grey, a region that the keyboard does not reach, a column beyond the paper's edge, details that stay
folded in print, years and versions taken for numbers, links that do nothing in a sandbox.
"""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from factory_predictions import context, predictions
from factory_watched import found
from lead_propensity import pipeline
from lead_propensity.config import load
from lead_propensity.data.simulate import simulate, write
from lead_propensity.evaluation.scorecard import scorecard
from lead_propensity.reporting import monitoring
from lead_propensity.reporting.report import render
from lead_propensity.reporting.two_runs import compare_runs
from test_evaluation import FAST
from test_reporting import hostile
from test_stored import leave

ROOT = Path(__file__).parents[1]
AXE = ROOT / "tests" / "browser" / "node_modules" / "axe-core" / "axe.min.js"
SCREENSHOTS = ROOT / "build" / "screenshots"
"""Left for people and for CI to keep; git ignores the folder."""
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SWITCHES = (
    *("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "hide-scrollbars"),
    *("disable-background-networking", "disable-component-update", "disable-sync"),
)
TELEPHONE, DESK = 375, 1440
PAPER = 688
"""CSS pixels between the margins of A4: 182 mm."""
SERIOUS = {"serious", "critical"}

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium: apt-get install chromium, or your system's like of it"
)

UNTOUCHED = "acme 1.2.3 of 10.12.2025, 2.5x"
"""A name with what looks like numbers."""
Opened = Callable[..., Any]
"""Called with a report's name, its width in pixels and its colour scheme; gives Playwright's page."""


def rows(**options: Any) -> dict[str, Any]:
    """A scorecard of the small world; `changes` go to its context, `replace` to its predictions."""
    table = predictions(options.pop("leads", 300), dated=options.pop("dated", True))
    table = table.replace(options.pop("replace", {}))
    return scorecard(table, context(**options), 7, **FAST)


def nobody_hot() -> dict[str, Any]:
    reason = "the lower bound 0.18 does not exceed the base rate 0.24"
    bands = {**context()["bands"], "hot_refused": reason, "hot_from": None}
    return rows(bands=bands, replace={"band": {"hot": "warm"}, "rules_band": {"hot": "warm"}})


def hostile_names() -> dict[str, Any]:
    told = hostile(context())
    told["name"] = "Donaudampfschifffahrtsgesellschaft" * 6
    told["rules"]["lines"][0]["text"] = "industry_is_" * 20
    told["catalogue"][0]["name"] = told["importance"][0]["feature"] = "f" * 150
    return scorecard(predictions(150), told, 7, **FAST)


def trained(folder: Path) -> dict[str, Any]:
    write(simulate(3000, seed=11), folder / "crm")
    few = ["model.trials=2", "split.test_days=56", "bands.hot_per_week=10"]
    return pipeline.train(load(folder / "crm" / "config.yaml", few), folder / "run").scorecard


REPORTS: dict[str, Callable[..., dict[str, Any]]] = {
    "event-history": lambda: rows(name=UNTOUCHED),
    "as-exported": lambda: rows(dated=False, shape="as exported", horizon_days=None),
    "without-rules": lambda: rows(rules=None),
    "nobody-hot": nobody_hot,
    "hostile-names": hostile_names,
}
TRAINED = pytest.param("trained", marks=pytest.mark.slow)

KINDS = (*REPORTS, "two-runs", "monitor")
each = pytest.mark.parametrize("name", [*KINDS, TRAINED])
each_width = pytest.mark.parametrize("width", [TELEPHONE, DESK])
each_scheme = pytest.mark.parametrize("scheme", ["light", "dark"])


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser for this module alone: its event loop would be in the way of other tests'."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="no Playwright: pip install -e '.[dev]'"
    )
    with playwright.sync_playwright() as started:
        switches = [f"--{switch}" for switch in SWITCHES]
        browser = started.chromium.launch(executable_path=CHROMIUM, args=switches)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The file of a report, made when it is first asked for."""
    folder = tmp_path_factory.mktemp("reports")

    def file(name: str) -> Path:
        path = folder / f"{name}.html"
        if not path.exists():
            if name == "two-runs":
                a, b = (leave(folder / one, predictions(300, seed=3)) for one in ("<a>", "b" * 150))
                compare_runs(a, b, path)
            elif name == "monitor":
                long = "Donaudampfschifffahrtsgesellschaft" * 4
                path.write_text(monitoring.render(found(long, feature="f" * 150)), encoding="utf-8")
            else:
                card = trained(folder) if name == "trained" else REPORTS[name]()
                path.write_text(render(card), encoding="utf-8")
        return path

    return file


@pytest.fixture
def opened(chromium: Any, report: Callable[[str], Path]) -> Iterator[Opened]:
    pages = []

    def call(name: str, width: int = DESK, scheme: str = "light", **options: Any) -> Any:
        size = {"width": width, "height": 900}
        page = chromium.new_page(viewport=size, color_scheme=scheme, **options)
        pages.append(page)
        page.asked, page.complaints = [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("console", lambda message: page.complaints.append(message.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.goto(report(name).as_uri())
        return page

    yield call
    for page in pages:
        page.close()


def unfold(page: Any) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")


@each
def test_it_asks_nobody_and_complains_of_nothing(name: str, opened: Opened) -> None:
    page = opened(name)
    unfold(page)
    assert page.complaints == []
    assert [url for url in page.asked if not url.startswith(("file:", "data:"))] == []
    assert len(page.content().encode()) < 1_500_000


@each
@each_width
def test_nothing_is_wider_than_the_screen(name: str, width: int, opened: Opened) -> None:
    page = opened(name, width)
    unfold(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    outside = """width => [...document.body.querySelectorAll("*")]
        .filter(node => !node.closest(".scroll > *, nav li, svg *"))
        .filter(node => node.getBoundingClientRect().right > width + 1)
        .map(node => node.outerHTML.slice(0, 120))"""
    assert page.evaluate(outside, width) == []


def test_numbers_are_in_the_readers_format_and_nothing_else_changes(opened: Opened) -> None:
    words = "() => document.body.innerText + [...document.querySelectorAll('svg')].map(s => s.textContent)"
    english, german, indian = (
        opened("event-history", locale=locale).evaluate(words)
        for locale in ("en-US", "de-DE", "en-IN")
    )
    assert "95% interval" in english
    assert "95\xa0% interval" in german
    assert not re.search(r"\d\.(?!\d{3}\b)\d|\d%", german.replace(UNTOUCHED, ""))
    back = re.sub(r"(?<=\d)\xa0%", "%", re.sub(r"(?<=\d),(?=\d)", ".", german))
    assert back == re.sub(r"(?<=\d),(?=\d{3}\b)", ".", english)
    assert indian == english


def test_it_works_in_the_sandboxed_frame_of_a_tracking_server(
    opened: Opened, report: Callable[[str], Path]
) -> None:
    page = opened("event-history")
    page.evaluate(
        """html => {
        const frame = document.createElement("iframe");
        frame.sandbox = "allow-scripts";
        frame.style = "width: 900px; height: 600px";
        frame.src = URL.createObjectURL(new Blob([html], {type: "text/html"}));
        document.body.replaceChildren(frame);
    }""",
        report("event-history").read_text(encoding="utf-8"),
    )
    frame = page.frame_locator("iframe")
    for name, section in (("Trust", "trust"), ("Words", "words")):
        frame.locator("nav a", has_text=name).click()
        top = frame.locator(f"#{section}").evaluate("node => node.getBoundingClientRect().top")
        assert 0 <= top < 600
    assert page.complaints == []


@each
def test_every_picture_has_a_name_and_is_drawn(name: str, opened: Opened) -> None:
    page = opened(name)
    pictures = page.locator("svg, img, canvas")
    assert pictures.count() > {"two-runs": 0, "monitor": 1}.get(name, 2)
    for picture in pictures.all():
        assert picture.get_attribute("role") == "img"
        assert len(picture.get_attribute("aria-label")) > 20
        assert picture.bounding_box()["height"] > 60


@each
@each_scheme
def test_axe_finds_no_serious_problem(name: str, scheme: str, opened: Opened) -> None:
    if not AXE.is_file():
        pytest.skip("no axe-core: npm ci --prefix tests/browser")
    page = opened(name, scheme=scheme)
    unfold(page)
    page.add_script_tag(path=AXE)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    told = [
        (one["id"], node["html"][:200], node["failureSummary"])
        for one in found
        if one["impact"] in SERIOUS
        for node in one["nodes"]
    ]
    assert told == []


@each
def test_the_keyboard_reaches_everything_that_moves(name: str, opened: Opened) -> None:
    page = opened(name)
    unfold(page)
    wanted = page.evaluate(
        """[...document.querySelectorAll("a[href], summary, .scroll")]
        .map((node, place) => { node.dataset.place = place; return place; })"""
    )
    reached = []
    for _ in wanted:
        page.keyboard.press("Tab")
        reached.append(page.evaluate("Number(document.activeElement.dataset.place)"))
    assert reached == wanted
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


@each
def test_it_prints_whole_on_a4(name: str, opened: Opened, tmp_path: Path) -> None:
    page = opened(name, PAPER)
    page.emulate_media(media="print", color_scheme="light")
    shown = page.evaluate(
        "[...document.querySelectorAll('table')].map(node => node.getBoundingClientRect())"
        ".map(box => [box.left, box.right])"
    )
    assert shown
    assert [box for box in shown if box[0] < -1 or box[1] > PAPER + 1] == []
    folded = (
        "[...document.querySelectorAll('table')].filter(node => !node.checkVisibility()).length"
    )
    assert page.evaluate(folded) == 0
    page.pdf(path=tmp_path / "report.pdf", prefer_css_page_size=True)
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize(
    ("name", "width", "scheme"),
    [
        *((name, *screen) for name in KINDS for screen in ((TELEPHONE, "dark"), (DESK, "light"))),
        pytest.param("trained", TELEPHONE, "light", marks=pytest.mark.slow),
        pytest.param("trained", TELEPHONE, "dark", marks=pytest.mark.slow),
        pytest.param("trained", DESK, "light", marks=pytest.mark.slow),
        pytest.param("trained", DESK, "dark", marks=pytest.mark.slow),
    ],
)
def test_a_picture_of_it_is_kept(name: str, width: int, scheme: str, opened: Opened) -> None:
    page = opened(name, width, scheme)
    file = SCREENSHOTS / f"{name}-{width}-{scheme}.png"
    page.screenshot(path=file, full_page=True)
    assert file.stat().st_size > 20_000
