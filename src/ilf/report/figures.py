"""Drawing with matplotlib: bars with intervals, histograms, curves. SVG for the page, SVG and PNG as files.

The page is light or dark, so its copy of a figure has its colours replaced by the page's variables; the files
keep the light ones.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ilf.errors import missing
from ilf.metrics import Estimate
from ilf.report.content import Figure

INK, FAINT = "#1b1f24", "#c9d1d9"
# Colours told apart with any colour vision (Okabe and Ito 2008, then grey and brown), in an order for print.
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#6f6f6f", "#8c564b")
_VARIABLES = {INK: "var(--ink)", FAINT: "var(--line)"} | {
    color: f"var(--series-{index})" for index, color in enumerate(SERIES)
}


def available() -> bool:
    """Whether matplotlib is installed."""
    import importlib.util

    return importlib.util.find_spec("matplotlib") is not None


def _canvas(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Any, Any]:
    try:
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure as Drawing
    except ImportError:
        raise missing("matplotlib", "report") from None
    style: Any = {
        "font.family": "sans-serif",
        "font.size": 9,
        "svg.fonttype": "none",  # text stays text: small, searchable, in the page's own font
        "svg.hashsalt": "ilf",  # equal data gives equal bytes
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "axes.grid": True,
        "grid.color": FAINT,
        "grid.linewidth": 0.6,
    } | dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK)
    with matplotlib.rc_context(style):
        drawing = Drawing(figsize=(width, height), layout="constrained", facecolor="none")
        FigureCanvasAgg(drawing)
        axes = drawing.subplots(rows, columns)
        for axis in drawing.axes:
            axis.set_facecolor("none")
    return drawing, axes


def bars(title: str, rows: Sequence[tuple[str, Estimate]], paper: Mapping[str, float] | None = None) -> Any:
    """Horizontal bars of rates with intervals; the paper's values as hollow marks."""
    drawing, axis = _canvas(7.2, 0.7 + 0.34 * len(rows))
    paper = paper or {}
    for y, (label, estimate) in enumerate(rows):
        low, high = 100 * (estimate.value - estimate.low), 100 * (estimate.high - estimate.value)
        axis.barh(y, 100 * estimate.value, color=SERIES[0], height=0.62)
        axis.errorbar(
            100 * estimate.value, y, xerr=[[max(low, 0)], [max(high, 0)]], color=INK, capsize=3, lw=1.1
        )
        if label in paper:
            axis.plot(100 * paper[label], y, marker="D", mfc="none", mec=SERIES[1], ms=6, ls="none")
    if any(label in paper for label, _ in rows):
        axis.plot([], [], marker="D", mfc="none", mec=SERIES[1], ls="none", label="paper (another model)")
        drawing.legend(loc="outside upper right", frameon=False, fontsize=8, labelcolor=INK)
    axis.set_yticks(range(len(rows)), [label for label, _ in rows])
    axis.invert_yaxis()
    axis.set_xlim(left=0)
    axis.grid(axis="y", visible=False)
    axis.set_xlabel(f"{title} (%), bars: mean over tasks, whiskers: 95% interval")
    return drawing


def histogram(
    series: Mapping[str, Sequence[float]],
    label: str,
    *,
    log: bool = False,
    span: tuple[float, float] | None = None,
) -> Any:
    """Overlaid step histograms, as shares of each series; `log` puts the values on a log axis over `span`."""
    import numpy as np

    drawing, axis = _canvas(7.2, 3.0)
    values = [value for data in series.values() for value in data]
    low, high = span or (min(values, default=0.0), max(values, default=1.0))
    if low >= high:
        low, high = low - 0.5, high + 0.5
    edges = np.geomspace(low, high, 31) if log else np.linspace(low, high, 31)
    for index, (name, data) in enumerate(series.items()):
        if data:
            clipped = np.clip(np.asarray(data, dtype=float), low, high)
            weights = np.full(len(data), 100 / len(data))
            color = SERIES[index % len(SERIES)]
            options = {"bins": edges, "weights": weights, "color": color}
            axis.hist(clipped, histtype="stepfilled", alpha=0.18, **options)
            axis.hist(clipped, histtype="step", lw=1.6, label=f"{name} ({len(data)})", **options)
    if log:
        axis.set_xscale("log")
    axis.set_xlabel(label)
    axis.set_ylabel("share (%)")
    if series:
        axis.legend(frameon=False, fontsize=8, labelcolor=INK)
    return drawing


def curves(
    panels: Mapping[str, Mapping[str, Sequence[tuple[float, Estimate]]]],
    label: str,
    *,
    lines: Mapping[str, Mapping[str, float]] | None = None,
    marks: Mapping[str, Mapping[str, tuple[float, Estimate]]] | None = None,
) -> Any:
    """Curves with interval bands, a panel a metric.

    Args:
        panels: metric → series → points (x, rate).
        label: of the x axis.
        lines: metric → name → height of a dashed line.
        marks: metric → name → a single point with its interval.
    """
    drawing, _ = _canvas(7.2, 3.0, 1, max(len(panels), 1))
    for axis, (metric, series) in zip(drawing.axes, panels.items(), strict=False):
        for index, (name, points) in enumerate(series.items()):
            color, xs = SERIES[index % len(SERIES)], [x for x, _ in points]
            values = [100 * e.value for _, e in points]
            axis.plot(xs, values, marker="o", ms=4, color=color, label=name)
            if len(series) > 2:  # bands would cover each other
                spans = [[v - 100 * e.low for v, (_, e) in zip(values, points, strict=True)]]
                spans += [[100 * e.high - v for v, (_, e) in zip(values, points, strict=True)]]
                axis.errorbar(xs, values, yerr=spans, fmt="none", color=color, capsize=2, lw=0.8)
                continue
            axis.fill_between(
                xs,
                [100 * e.low for _, e in points],
                [100 * e.high for _, e in points],
                color=color,
                alpha=0.15,
            )
        for name, height in (lines or {}).get(metric, {}).items():
            axis.axhline(100 * height, ls="--", lw=1.2, color=INK, label=name)
        for index, (name, (x, e)) in enumerate((marks or {}).get(metric, {}).items()):
            error = [[100 * (e.value - e.low)], [100 * (e.high - e.value)]]
            color = SERIES[(index + 1) % len(SERIES)]
            axis.errorbar(
                x, 100 * e.value, yerr=error, marker="*", ms=10, capsize=3, color=color, label=name, ls=""
            )
        if all(x == int(x) for points in series.values() for x, _ in points):
            axis.locator_params(axis="x", integer=True)
        axis.set_xlabel(label)
        axis.set_ylabel(f"{metric} (%)")
        axis.set_ylim(bottom=0)
        if len(panels) == 1 and len(series) > 4:  # too many to stand among the curves
            drawing.legend(loc="outside right upper", frameon=False, fontsize=8, labelcolor=INK)
        else:
            axis.legend(frameon=False, fontsize=8, labelcolor=INK)
    return drawing


def svg(figure: Figure) -> str:
    """The figure as inline SVG that follows the page's colours."""
    markup = re.sub(r"^.*?(?=<svg)", "", _svg(figure), flags=re.DOTALL)
    markup = re.sub(r"<metadata>.*?</metadata>", "", markup, flags=re.DOTALL)
    for color, variable in _VARIABLES.items():
        markup = markup.replace(color, variable)
    # Ids are unique within a figure only; a page has many.
    markup = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{figure.name}-", markup)
    label = figure.alt.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return markup.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)


def _svg(figure: Figure) -> str:
    import matplotlib

    stream = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "ilf"}):
        figure.drawing.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()


def save(figure: Figure, folder: Path) -> list[Path]:
    """Write the figure as SVG and PNG (200 dots an inch, white ground)."""
    vector, pixels = folder / f"{figure.name}.svg", folder / f"{figure.name}.png"
    vector.write_text(_svg(figure), encoding="utf-8")
    figure.drawing.savefig(pixels, dpi=200, facecolor="white")
    return [vector, pixels]
