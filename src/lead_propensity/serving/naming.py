"""The names under which scores are written: ours, or the fields of a CRM."""

import difflib
from collections.abc import Mapping

import pyarrow as pa

from lead_propensity.data.erasing import LEAD_ID
from lead_propensity.errors import ConfigError


class Naming:
    """The columns of the scores under the names of `score.columns`; the others keep ours.

    Raises ConfigError for a column that scores do not have, and for two columns of one name.
    """

    def __init__(self, schema: pa.Schema, names: Mapping[str, str]) -> None:
        unknown = [name for name in names if name not in schema.names]
        if unknown:
            close = difflib.get_close_matches(unknown[0], schema.names, n=1, cutoff=0.5)
            hint = (
                f"did you mean `{close[0]}`?" if close else f"there are {', '.join(schema.names)}."
            )
            raise ConfigError(f"score.columns: scores have no column {unknown[0]!r}; {hint}")
        self.columns = {name: names.get(name, name) for name in schema.names}
        """Our names in the order of the table: the name to write."""
        written = list(self.columns.values())
        twice = sorted({name for name in written if written.count(name) > 1})
        if twice:
            raise ConfigError(
                f"score.columns: two columns would be called {twice[0]!r}; rename the other one, too."
            )
        facts = {LEAD_ID: self.columns["lead_id"].encode()} if "lead_id" in self.columns else None
        fields = [schema.field(ours).with_name(theirs) for ours, theirs in self.columns.items()]
        self.schema = pa.schema(fields, metadata=facts)
        """As it is written; `forget` finds the ids by its facts."""

    def table(self, piece: pa.Table) -> pa.Table:
        """The rows of a piece as they are written."""
        named = piece.select(list(self.columns)).rename_columns(self.schema.names)
        return named.replace_schema_metadata(self.schema.metadata)
