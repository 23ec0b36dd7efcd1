"""Where the tables come from."""
# ruff: noqa: RUF012 (pydantic copies mutable defaults; ruff knows this of its own classes only)

from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from lead_propensity.config.base import Strict
from lead_propensity.config.words import Words


class TableSource(Strict):
    """Where one table comes from: a file or folder, a query over `data.raw`, or one to PostgreSQL."""

    path: str | None = None
    sql: str | None = None
    postgres: str | None = None
    """A SELECT that PostgreSQL answers; where the server is, the environment says (the page Operations)."""
    columns: dict[str, str] = {}
    """Our column name: their column name."""
    exclude: tuple[str, ...] = ()
    """Their columns that are not read: they become no attribute."""

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if sum(one is not None for one in (self.path, self.sql, self.postgres)) != 1:
            raise ValueError("give exactly one of `path`, `sql` and `postgres`")
        return self


class DealsSource(TableSource):
    """Deals, with the words that their `outcome` column uses."""

    won: Words = ("won",)
    lost: Words = ("lost",)

    @model_validator(mode="after")
    def _disjoint(self) -> Self:
        both = sorted(set(self.won) & set(self.lost))
        if both:
            raise ValueError(f"{both[0]!r} stands in `won` and in `lost`; decide for one")
        return self


class ExportedSource(TableSource):
    """One row per lead with its outcome, and no history."""

    outcome: str | None  # None only in rows that `score --input` brings: they wait for a score
    """Their column that tells how a lead ended."""
    won: Words
    """Values of `outcome` that mean won; another non-empty value means lost, empty means open."""
    order_by: str | None = None
    """A date or number column that grows with time; left out, the rows stand in time order."""
    label_delay_rows: Annotated[int, Field(ge=0)] | None = None
    """How many rows later an outcome is known (default: 5% of the rows)."""

    @field_validator("outcome")
    @classmethod
    def _named(cls, column: str | None) -> str:
        if not column:
            raise ValueError("give the column that tells how a lead ended")
        return column

    @model_validator(mode="after")
    def _rows_in_time_order(self) -> Self:
        if self.postgres is not None and self.order_by is None:
            raise ValueError(
                "rows of a database stand in no order; give `order_by`, a date or number column that grows with time"
            )
        return self
