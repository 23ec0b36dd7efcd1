"""A CRM export with personal data in every text column, and how to find it again in whatever a run left."""

import base64
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pandas as pd

from lead_propensity.config import Config, load
from lead_propensity.data.simulate import simulate, write

PERSON, ADDRESS, PHONE = "Zyxwilda Qorthmann", "zyxwilda@plantmail.example", "+49 30 7351 9733"
NOTE = "Qorthmann wants a discount, because of the divorce of last year; call back in spring."
WORDS = ("zyxwilda", "qorthmann", "plantmail", "7351 9733", "divorce")
"""Each planted text holds one of them, whatever is cut off and however its signs are changed."""
SHARED = 60
"""Leads that share a personal text: so many that no count hides it."""


def planted(folder: Path, leads: int = 1200) -> Config:
    """The simulated world with texts about people, some of one lead alone, some of many."""
    world = simulate(leads, seed=11)
    write(world, folder)
    tables = {
        name: pd.read_csv(folder / f"{name}.csv", dtype=str)
        if (folder / f"{name}.csv").exists()
        else pd.read_parquet(folder / f"{name}.parquet")
        for name in ("leads", "attributes", "events", "deals")
    }
    _into_leads(tables["leads"], tables["deals"])
    _into_attributes(tables)
    _into_events(tables["events"], tables["deals"])
    _into_deals(tables["deals"])
    _rename(tables)
    for name, frame in tables.items():
        frame.to_parquet(folder / f"{name}.parquet", index=False)
    text = (folder / "config.yaml").read_text().replace(".csv}", ".parquet}")
    text = text.replace("leads.csv", "leads.parquet")
    text = text.replace("negative_events: [unsubscribe]", _FEATURES)
    text = text.replace("segments: [source, industry]", "segments: [source, industry, owner]")
    (folder / "config.yaml").write_text(text)
    few = [
        *("model.trials=1", "model.backtest_periods=0", "model.refit=always"),
        *("model.min_wins_trees=10", "bands.hot_per_week=4"),
    ]
    return load(folder / "config.yaml", few)


_FEATURES = """negative_events: [unsubscribe], sensitive: [belief],
  families: [counts, recency, decay, active_days, breadth, trend, values, topics, sessions]"""


def found_in(content: bytes) -> list[str]:
    """Which of WORDS stand in it: plain, escaped for an address, or in base64 at any place."""
    return [word for word in WORDS if any(form in content.lower() for form in _plain(word))] + [
        word for word in WORDS if any(form in content for form in _coded(word))
    ]


def _plain(word: str) -> Iterator[bytes]:
    for blank in (" ", "_", "-", "+", ""):
        yield word.replace(" ", blank).encode()
    yield quote(word).lower().encode()


def _coded(word: str) -> Iterator[bytes]:
    for one in (word, word.capitalize()):
        for shift in range(3):  # what comes before moves the signs of base64
            whole = base64.b64encode(b"\0" * shift + one.encode())
            yield whole[4 if shift else 0 : len(whole) // 4 * 4 - 4]


def _into_leads(leads: pd.DataFrame, deals: pd.DataFrame) -> None:
    n = np.arange(len(leads))
    won = leads["lead_id"].isin(deals.loc[deals["outcome"] == "won", "lead_id"]).to_numpy()
    leads["contact"] = [f"{PERSON} {k}" for k in n]
    leads["note"] = np.where(n % 3 == 0, [f"{NOTE} {k // 9}" for k in n], None)
    leads["remark"] = np.where(n % 3 == 1, NOTE, "none")
    leads["owner"] = np.select(
        [n % 25 == 0, n % 25 == 1, n % 101 == 2], [ADDRESS, PHONE, PERSON], "sales"
    )
    # In all won leads: the audit of leaks is to speak of it.
    leads["thanks"] = np.where(won, ADDRESS, "no")
    leads["belief"] = np.select([n % 97 == 0, n % 20 == 1], [PERSON, ADDRESS], "unknown")
    leads.loc[n % 83 == 5, "source"] = PERSON
    leads.loc[n % 19 == 5, "source"] = ADDRESS
    leads.loc[n % 7 == 0, "company_id"] = [f"Qorthmann family {k}" for k in n[n % 7 == 0]]
    leads.loc[[3, 4], "created_at"] = f"when {PERSON} called"


def _into_attributes(tables: dict[str, pd.DataFrame]) -> None:
    some = tables["attributes"]
    new = some.iloc[: 3 * SHARED].copy()
    new["attribute"] = np.resize(["what Qorthmann said", ADDRESS, "remarks"], len(new))
    new.loc[new.index[12:], "attribute"] = np.resize([ADDRESS, "remarks"], len(new) - 12)
    new["value"] = np.resize([NOTE, PERSON, PHONE, ADDRESS], len(new))
    tables["attributes"] = pd.concat([some, new], ignore_index=True)


def _into_events(events: pd.DataFrame, deals: pd.DataFrame) -> None:
    n = np.arange(len(events))
    lead = events["lead_id"].astype("category").cat.codes.to_numpy()
    closed = events["lead_id"].isin(deals["lead_id"]).to_numpy()
    for column, share in (("event_type", 40), ("channel", 13), ("topic", 11)):
        text = events[column].astype(object).to_numpy(copy=True)
        text[(n % share == 0) & closed] = ADDRESS
        text[n % share == 1] = NOTE
        text[(n % share == 2) & (lead % 100 == 0)] = f"call with {PERSON}"
        events[column] = text


def _into_deals(deals: pd.DataFrame) -> None:
    deals["reason"] = NOTE
    deals.loc[[0, 1, 2], "outcome"] = f"{PERSON} married"


def _rename(tables: dict[str, pd.DataFrame]) -> None:
    """Every fifth lead is called by an address."""
    for frame in tables.values():
        lead = frame["lead_id"].astype(str)
        frame["lead_id"] = lead.where(
            ~lead.str.endswith(("0", "5")), "zyxwilda." + lead + "@plantmail.example"
        )
