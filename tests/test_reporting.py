"""Does the page hold what the scorecard says, for every kind of run, and nothing else?"""

import re
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest

from factory_predictions import context, predictions
from lead_propensity.evaluation.scorecard import scorecard
from lead_propensity.reporting.pictures import pictures, svg_files
from lead_propensity.reporting.report import big_figures, render
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
    assert not {"script", "link", "iframe", "img", "object", "foreignobject"} & set(names)
    assert "http://" not in html
    assert "https://" not in html
    assert not [key for _, attrs in page.tags for key in attrs if key.startswith("on")]
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
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
    assert sum(tag == "svg" for tag, _ in page.tags) == len(pictures(card)) == 7
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    first = html.index(card["verdict"]["sentence"].replace("'", "&#39;"))
    assert first < html.index("<svg")


def test_the_same_scorecard_gives_the_same_bytes(card):
    assert render(card) == render(card)
    assert svg_files(card) == svg_files(card)


def test_pictures_name_their_figures_in_words(card):
    drawn = pictures(card)
    hot = next(row for row in card["bands"]["stock"] if row["band"] == "hot")
    assert f"hot {hot['observed']:.1%}" in drawn["bands"].alt
    assert all(picture.svg.startswith("<?xml") for picture in drawn.values())
    assert "<dc:date>" not in "".join(svg_files(card).values())


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
    assert big_figures(card)[0]["label"] == "of the leads are hot: call them"


def test_refused_hot_says_why():
    reason = "the lower bound 0.18 does not exceed the base rate 0.24"
    bands = {**context()["bands"], "hot_refused": reason, "hot_from": None}
    table = predictions(200).replace({"band": {"hot": "warm"}})
    card = scorecard(table, context(bands=bands), 7, **FAST)
    html = render(card)
    check(html)
    assert big_figures(card)[0] == {"label": "hot leads to call", "value": "0", "detail": reason}
    assert f"Nobody is called hot: {reason}" in html


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
    assert "learned on the fit part" in html
    assert "best these rules could do" not in html


def hostile(node):
    """Every text of a context made hostile, those that the code compares kept."""
    kept = {"kind", "band", "shape", "hot_refused", "policy", "part", "population"}
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
    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_numbers_are_those_of_the_scorecard(card):
    html = render(card)
    hot = next(row for row in card["bands"]["stock"] if row["band"] == "hot")
    text = re.sub(r"<[^>]+>", " ", html)
    assert f"{100 * hot['observed']:.1f}%" in text
    assert f"{card['headline']['auc']['value']:.3f}" in text
    assert np.isfinite(card["figures"]["auc"])
