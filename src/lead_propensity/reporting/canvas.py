"""How our pictures look: small SVGs, the same bytes each time, whose colours a page may replace."""

import io
import re
import warnings
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

INK, MUTED, GRID = "#1d2733", "#5a6675", "#d9dee5"
MODEL, RULES = "#0f6b78", "#8a5a9e"
HOT, WARM, COLD = "#c2412d", "#c98a1b", "#4d7fb3"
VARIABLES: Mapping[str, str] = MappingProxyType(
    {INK: "ink", MUTED: "muted", GRID: "grid", MODEL: "model", RULES: "rules"}
    | {HOT: "hot", WARM: "warm", COLD: "cold"}
)
"""Each colour's name as a CSS variable."""
BAND_COLOURS: Mapping[str, str] = MappingProxyType({"hot": HOT, "warm": WARM, "cold": COLD})
_FONT = re.compile(r"font: ((?:\w+ )*[\d.]+px) [^;\"]+")
WIDTH = 4.8
"""Inches: 346 units, so that a telephone shows the text at about its size."""
STYLE: Mapping[Any, Any] = MappingProxyType(
    {
        "svg.fonttype": "none",
        "text.parse_math": False,  # a name with a dollar sign is text
        "font.size": 10.5,
        "font.family": "DejaVu Sans",
        "text.color": INK,
        "axes.labelcolor": MUTED,
        "axes.edgecolor": GRID,
        "axes.linewidth": 1.0,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "axes.grid": True,
        "grid.color": GRID,
        "grid.linewidth": 0.8,
        "xtick.color": GRID,
        "ytick.color": GRID,
        "xtick.labelcolor": MUTED,
        "ytick.labelcolor": MUTED,
        "legend.frameon": False,
        "figure.facecolor": "none",
        "axes.facecolor": "none",
        "savefig.facecolor": "none",
    }
)


class Canvas:
    """One figure with one pair of axes, drawn in our style.

    Use: `with Canvas("gain", 3.4) as canvas:`, draw on `canvas.axes`, end with `canvas.svg()`.
    """

    def __init__(self, name: str, height: float) -> None:
        self.name = name
        self._style = mpl.rc_context({**STYLE, "svg.hashsalt": name})
        self._size = (WIDTH, height)

    def __enter__(self) -> "Canvas":
        self._style.__enter__()
        self.figure = Figure(figsize=self._size, layout="constrained")
        FigureCanvasSVG(self.figure)
        self.axes: Axes = self.figure.add_subplot()
        return self

    def __exit__(self, *error: object) -> None:
        self._style.__exit__(None, None, None)

    def legend(self, columns: int = 2) -> None:
        """Above the axes, so that it hides no point."""
        self.axes.legend(
            loc="lower left",
            bbox_to_anchor=(-0.02, 1.0),
            ncols=columns,
            columnspacing=1.2,
            fontsize=10,
        )

    def svg(self) -> str:
        """SVG text without a date; call inside the context."""
        file = io.StringIO()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph")  # the reader's font may have it
            self.figure.savefig(file, format="svg", metadata={"Date": None})
        return _FONT.sub(r"font: \1 system-ui, sans-serif", file.getvalue())


def inline(svg: str, name: str, alt: str) -> Markup:
    """The `<svg>` element for a page: own ids, colours by CSS variable, `alt` as its label."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r"url\(#", f"url(#{name}-", body)
    body = re.sub(r'xlink:href="#', f'href="#{name}-', body)
    for colour, variable in VARIABLES.items():
        body = re.sub(rf"(?<=[ :\"]){colour}\b", f"var(--{variable})", body)
    size = re.search(r'viewBox="([^"]+)"', body)
    assert size is not None, "matplotlib writes a viewBox"
    label = escape(alt)
    start = f'<svg viewBox="{size[1]}" role="img" aria-label="{label}">\n<title>{label}</title>'
    return Markup(start + body[body.index(">") + 1 :])  # matplotlib escapes the texts within
