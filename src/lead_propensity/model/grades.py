"""The fit-interest matrix: quartiles of the two side models on the calibrate part."""

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from lead_propensity.model.storage import require_fields


@dataclass(frozen=True)
class Grades:
    """Three rising edges a side, in log-odds."""

    fit_edges: tuple[float, ...]
    interest_edges: tuple[float, ...]

    @classmethod
    def fit(cls, fit: np.ndarray, interest: np.ndarray) -> Self:
        return cls(_quartiles(fit), _quartiles(interest))

    def of_fit(self, score: np.ndarray) -> np.ndarray:
        """`A` (best) to `D`; an object array."""
        return _grades("DCBA", score, self.fit_edges)

    def of_interest(self, score: np.ndarray) -> np.ndarray:
        """`1` (best) to `4`; an object array."""
        return _grades("4321", score, self.interest_edges)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> Self:
        """Raises ValueError unless there are three rising edges a side."""
        require_fields(cls, tree)
        sides = (tuple(tree["fit_edges"]), tuple(tree["interest_edges"]))
        if any(len(edges) != 3 or sorted(edges) != list(edges) for edges in sides):
            raise ValueError(f"the grades' edges are {sides}; three rising ones a side are needed")
        return cls(*sides)


def _quartiles(score: np.ndarray) -> tuple[float, ...]:
    return tuple(float(edge) for edge in np.quantile(score, (0.25, 0.5, 0.75)))


def _grades(letters: str, score: np.ndarray, edges: tuple[float, ...]) -> np.ndarray:
    # Many leads may share one score and so lie on several edges: they get the middle grade.
    below = np.searchsorted(edges, score, side="left")
    above = np.searchsorted(edges, score, side="right")
    grades: np.ndarray = np.array(list(letters), dtype=object)[(below + above) // 2]
    return grades
