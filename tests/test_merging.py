"""Pieces of a table become one file in one order, whatever the pieces and the windows they are read in."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lead_propensity.data import merging
from lead_propensity.data.merging import sorted_table

BY = [("order", "ascending"), ("lead_id", "ascending")]
IDS = st.text(st.sampled_from("aZ0\x7fä\uffff\U00010000"), max_size=3)
KEYS = st.lists(st.tuples(st.integers(-2, 2), IDS), unique=True, max_size=40)


@settings(max_examples=150, deadline=None)
@given(KEYS, st.integers(1, 6), st.integers(1, 5), st.sampled_from([1, 300, 10**9]))
def test_all_rows_come_once_and_in_order(keys, n_pieces, window, at_once):
    whole = pa.table(
        {
            "lead_id": pa.array([lead for _, lead in keys], pa.string()),
            "order": pa.array([order for order, _ in keys], pa.int64()),
            "place": pa.array(range(len(keys)), pa.int64()),
        }
    )
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder:
        patch.setattr(merging, "WINDOW", window)
        patch.setattr(merging, "AT_ONCE_BYTES", at_once)
        path = Path(folder) / "rows.parquet"
        with sorted_table(path, ["order", "lead_id"], str(path.parent)) as pieces:
            for first in range(n_pieces):
                rows = pa.array(range(first, len(keys), n_pieces), pa.int64())
                pieces.add(whole.take(rows).sort_by(BY))
        assert pq.read_table(path).equals(whole.sort_by(BY))
