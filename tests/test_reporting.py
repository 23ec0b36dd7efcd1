"""Does the page hold what the scorecard says, for every kind of run, and nothing else?"""

import re
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest

from factory_predictions import context, predictions
from lead_propensity.evaluation.funnel import agreed
from lead_propensity.evaluation.scorecard import scorecard
from lead_propensity.reporting.answers import answers
from lead_propensity.reporting.pictures import pictures, svg_files
from lead_propensity.reporting.report import asset, render
from test_evaluation import DEGENERATE, FAST

HOSTILE = "$a_{b}^$ <script>alert('x')</script>\"' onload=evil() & ]]> \x00\ud7ff漢"


class Page(HTMLParser):
    """Tags with their attributes, checked to be well nested."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "link", "br", "img", "hr"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def check(html):
    page = Page(html)
    assert page.open == []
    names = [tag for tag, _ in page.tags]
    assert not {"link", "iframe", "img", "object", "foreignobject"} & set(names)
    assert html.count("<script") == 1, "our own script alone"
    assert f"<script>\n{asset('report.js')}</script>" in html
    assert "http://" not in html
    assert "https://" not in html
    assert not [key for _, attrs in page.tags for key in attrs if key.startswith("on")]
    links = [attrs["href"] for tag, attrs in page.tags if tag == "a"]
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert {link.removeprefix("#") for link in links} <= set(ids)
    assert len(ids) == len(set(ids))
    images = [attrs for tag, attrs in page.tags if tag == "svg"]
    assert all(attrs["role"] == "img" and attrs["aria-label"] for attrs in images)
    assert len(html.encode()) < 1_500_000
    return page


@pytest.fixture(scope="module")
def card():
    return scorecard(predictions(400), context(), 7, **FAST)


def test_the_page_stands_alone_and_starts_with_the_verdict(card):
    html = render(card)
    page = check(html)
    assert sum(tag == "svg" for tag, _ in page.tags) == len(pictures(card)) >= 7
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    first = html.index(card["verdict"]["sentence"].replace("'", "&#39;"))
    assert first < html.index("<svg")


def test_the_same_scorecard_gives_the_same_bytes(card):
    assert render(card) == render(card)
    assert svg_files(pictures(card)) == svg_files(pictures(card))
    assert render(card, pictures(card)) == render(card)


def test_pictures_name_their_figures_in_words(card):
    drawn = pictures(card)
    hot = next(row for row in card["bands"]["stock"] if row["band"] == "hot")
    assert f"hot {hot['observed']:.1%}" in drawn["bands"].alt
    assert all(picture.svg.startswith("<?xml") for picture in drawn.values())
    assert "<dc:date>" not in "".join(svg_files(drawn).values())


@pytest.mark.parametrize("case", DEGENERATE)
def test_a_page_of_little_still_renders(case):
    change, changes = DEGENERATE[case]
    check(render(scorecard(change(predictions(120)), context(**changes), 7, **FAST)))


def test_as_exported_speaks_of_shares_and_not_of_weeks():
    table = predictions(200, dated=False)
    card = scorecard(table, context(shape="as exported", horizon_days=None), 7, **FAST)
    html = render(card)
    check(html)
    assert "won, as exported" in html
    first = answers(card)[0]
    share = next(row["share"] for row in card["bands"]["stock"] if row["band"] == "hot")
    assert (first.question, first.value) == ("How many leads should we call?", f"{share:.1%}")


def test_refused_hot_says_why():
    reason = "the lower bound 0.18 does not exceed the base rate 0.24."
    bands = {**context()["bands"], "hot_refused": reason, "hot_from": None}
    table = predictions(200).replace({"band": {"hot": "warm"}})
    card = scorecard(table, context(bands=bands), 7, **FAST)
    html = render(card)
    check(html)
    assert (answers(card)[0].value, answers(card)[0].detail) == ("0", reason.rstrip("."))
    assert "0.24.." not in html
    assert f"<strong>Nobody is called hot:</strong> {reason}" in html


def test_a_refused_hot_band_is_not_called_a_small_one():
    bands = {**context()["bands"], "hot_refused": "not enough evidence.", "hot_from": None}
    table = predictions(200).replace({"band": {"hot": "warm"}})
    answer = answers(scorecard(table, context(bands=bands), 7, **FAST))[2]
    assert (answer.value, "too few" in answer.detail) == ("Not enough", False)


@pytest.mark.parametrize(("probability", "value"), [(0.2, "Too high"), (0.0001, "Unknown")])
def test_that_no_deal_came_speaks_against_percentages_that_expected_many(probability, value):
    table = predictions(300).assign(won=0.0, probability=probability)
    card = scorecard(table, context(), 7, **FAST)
    answer = answers(card)[5]
    assert (answer.value, "were expected" in answer.detail) == (value, True)
    said = card["verdict"]["calibration"]
    assert said.startswith(
        "The percentages were too high" if value == "Too high" else "The percentages cannot be"
    )


def test_no_word_is_explained_twice(card):
    html = render(card)
    terms = [
        name.strip()
        for term in re.findall(r"<dt>(.*?)</dt>", html) + re.findall(r"<em>(.*?)</em>", html)
        for name in term.lower().split(",")
    ]
    explained = [name for name in terms if name in {"slope", "pooled", "smooth calibration error"}]
    assert sorted(explained) == ["pooled", "slope", "smooth calibration error"]


def test_one_day_is_one_day():
    told = context()
    routes = {
        **agreed({})["routes"],
        **dict.fromkeys(("silent_days", "release_days", "follow_up_days"), 1),
    }
    told["bands"] |= {"routes": routes}
    html = render(scorecard(predictions(200), told, 7, **FAST))
    assert "no event for 1 day." in html
    assert "1 days" not in html


@pytest.mark.parametrize(
    ("weight", "whose"), [(1.0, "leads open"), (4.0, "leads of the sample open")]
)
def test_changes_of_a_sample_are_told_as_such(weight, whose):
    card = scorecard(predictions(200).assign(weight=weight), context(), 7, **FAST)
    (told,) = (one for one in answers(card) if one.question == "Which leads changed?")
    assert f"{whose} on both days" in told.detail


def test_no_rules_says_that_there_is_nothing_to_beat():
    card = scorecard(predictions(200), context(rules=None), 7, **FAST)
    html = render(card)
    assert "nothing to beat" in html
    assert "rules" not in pictures(card)


def test_the_band_table_shows_design_effect_words_and_what_was_missed():
    table = predictions(300)
    hot = table["band"] == "hot"
    table["probability"] = table["probability"].mask(hot, 0.95)
    bands = {**context()["bands"], "hot_per_week": 1}
    card = scorecard(table, context(bands=bands), 7, **FAST)
    card["bands"]["stock"][0]["promise_words"] = "not contradicted (n=3)"
    html = render(card)
    check(html)
    row = card["bands"]["stock"][0]
    assert f"design effect {row['deff']:.1f}" in html
    assert "outside the interval" in html
    assert "not contradicted (n=3)" in html
    assert 'class="kept">not contradicted' not in html
    assert card["verdict"]["capacity"] in html


def test_the_words_say_what_an_interval_is_and_what_reweighted_means(card):
    html = render(card)
    assert "covers the true value in 95 of 100 such samples" in html
    assert "These rules, re-weighted" in html
    assert "learned on the rows that the model learned from" in html
    assert "best these rules could do" not in html


def hostile(node):
    """Every text of a context made hostile, those that the code compares kept."""
    kept = {"kind", "band", "shape", "hot_refused", "policy", "part", "population"}
    kept |= {"from", "to", "exported_at"}  # times that we wrote
    if isinstance(node, dict):
        return {
            (HOSTILE if key == "bad time" else key): value if key in kept else hostile(value)
            for key, value in node.items()
        }
    if isinstance(node, list):
        return [hostile(value) for value in node]
    return HOSTILE if isinstance(node, str) else node


def test_hostile_names_stay_text():
    told = hostile(context())
    told["bands"] = {**context()["bands"], "hot_refused": HOSTILE}
    html = render(scorecard(predictions(150), told, 7, **FAST))
    check(html)
    assert "&lt;script&gt;alert" in html


def test_numbers_are_those_of_the_scorecard(card):
    html = render(card)
    hot = next(row for row in card["bands"]["stock"] if row["band"] == "hot")
    text = re.sub(r"<[^>]+>", " ", html)
    assert f"{100 * hot['observed']:.1f}%" in text
    assert f"{card['headline']['auc']['value']:.3f}" in text
    assert np.isfinite(card["figures"]["auc"])
