"""How scores are told, and where."""
# ruff: noqa: RUF012 (pydantic copies mutable defaults; ruff knows this of its own classes only)

from pydantic import field_validator

from lead_propensity.config.base import Strict
from lead_propensity.config.limits import LimitsConfig


class ScoreConfig(Strict):
    """How scores are told."""

    reasons: str | None = None
    """The wording of the reasons, a YAML file; see Reasons on the page Concepts. A model keeps the words that it
    was trained with (default: English); given at scoring, these replace them."""
    explain: bool = True
    """Whether warm and hot leads get reasons; without them scoring takes less time."""
    columns: dict[str, str] = {}
    """Names in the written scores: our column name: the name to write, e.g. `probability: Propensity__c`."""

    records: str | None = None
    """The folder for the records of the runs; default: beside the scores, `scores.records` for `scores.parquet`. Of a
    table: in the working directory."""
    limits: LimitsConfig = LimitsConfig()

    @field_validator("columns")
    @classmethod
    def _each_once(cls, columns: dict[str, str]) -> dict[str, str]:
        names = list(columns.values())
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice or "" in names:
            raise ValueError(
                f"two columns cannot share the name {(twice or [''])[0]!r}; give each its own"
            )
        return columns
