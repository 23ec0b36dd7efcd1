"""The audit in the report and on the screen: ranked, in words, with what to do; names are data and stay text.

Each was seen failing once: without the section, with a name unescaped, with sums drawn as honest, and with
hidden columns counted by `--strict`.
"""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from factory_columns import coin, dataset, noise, texts
from factory_predictions import context, predictions
from lead_propensity.cli.audit import refuse_leaks
from lead_propensity.errors import DataError
from lead_propensity.evaluation.scorecard import scorecard
from lead_propensity.reporting.pictures import pictures
from lead_propensity.reporting.report import render
from test_evaluation import FAST
from test_leakage import audited, ending

WON = coin()


def card(found):
    return scorecard(predictions(200), context(leaks=found), 7, **FAST)


def section(html: str) -> str:
    (found,) = re.findall(r'<section aria-labelledby="leaks">.*?</section>', html, re.DOTALL)
    return str(found)


@pytest.fixture(scope="module")
def leaky():
    columns = {
        "tag <b>": texts(np.where(WON == 1.0, "closed $5", None)),
        "known_attributes": WON,
        "honest": WON + 2.0 * noise(),
    }
    return card(audited(dataset(columns, WON), ending("signed", late=100)))


def test_suspicious_columns_come_first_with_the_reason_and_what_to_do(leaky):
    page = section(render(leaky))
    assert "2 columns are suspicious, of 4. The model sees 1 of them." in page
    assert page.index("tag &lt;b&gt;") < page.index("signed")
    assert "tag <b>" not in page
    assert "data.exported.exclude" in page
    assert "Without the suspicious columns:" in page


def test_the_picture_marks_what_is_suspicious_in_words_too(leaky):
    words = pictures(leaky)["leaks"].alt
    assert re.search(r"tag <b> 1\.00 \(suspicious\)", words)
    assert "number of known attributes 1.00 (suspicious)" in words, "a sum of a leak is none"
    assert re.search(r"honest 0\.\d\d(;|\.)", words)


def test_without_suspicion_the_page_says_so():
    page = section(render(card(audited(dataset({"honest": noise()}, WON)))))
    assert "None of 1 columns is suspected of knowing the outcome." in page
    assert "What to do" not in page


def test_a_run_without_an_audit_has_no_such_section():
    assert '"leaks"' not in render(card(None))


def test_alarms_are_figures_to_track(leaky):
    figures = leaky["figures"]
    assert (figures["leak_alarms"], figures["leak_alarms_seen"]) == (2.0, 1.0)
    assert figures["leak_quick_auc"] > 0.95 > figures["leak_quick_auc_without_alarms"]


@pytest.fixture
def export(tmp_path: Path) -> Path:
    rows = pd.DataFrame({"size": noise(), "tag": np.where(WON == 1.0, "done", "open"), "won": WON})
    rows.to_csv(tmp_path / "export.csv", index=False)
    config = "name: shop\ndata:\n  exported: {path: export.csv, outcome: won, won: '1.0'}\n"
    (tmp_path / "shop.yaml").write_text(config)
    return tmp_path / "shop.yaml"


def test_the_command_names_the_column_and_strict_makes_it_an_error(export, command_line):
    code, out, _ = command_line(f"check {export} --leaks")
    assert code == 0
    assert re.search(r"tag +│ leak\?", out)
    assert "1 column is suspicious, of 3. The model sees it." in out
    code, _, err = command_line(f"check {export} --leaks --strict --quiet")
    assert code == 2
    assert "tag. Leave them out" in err


def test_strict_has_nothing_against_columns_that_the_model_does_not_see(leaky):
    hidden = [alarm for alarm in leaky["leaks"]["alarms"] if not alarm["reaches_model"]]
    assert [alarm["column"] for alarm in hidden] == ["signed"]
    refuse_leaks({"alarms": hidden})
    with pytest.raises(
        DataError, match=r"Columns that the model sees seem to know the outcome \(1\)"
    ):
        refuse_leaks(leaky["leaks"])


def test_strict_has_nothing_against_clean_columns(export, command_line):
    clean = export.read_text().replace("won: '1.0'", "won: '1.0', exclude: [tag]")
    export.write_text(clean)
    code, out, _ = command_line(f"check {export} --leaks --strict")
    assert code == 0
    assert "is suspected of knowing the outcome" in out
