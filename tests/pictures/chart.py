"""Read the JSON of `make bench` from stdin and print a chart of the medians as SVG. Usage: chart.py light|dark [proof].

With `proof`, it reads the lines of the front page's chart instead. test_pictures.py runs both. The id of each value in the SVG is
its measure and variant, or its line, which the test reads.
"""

import json
import statistics
import sys

import matplotlib as mpl
from matplotlib import pyplot as plt

PANELS = [
    ("Start", "seconds, with an empty database; lower is better", "django_first_start"),
    ("Stop", "seconds for docker compose down; lower is better", "django_down"),
    ("Rebuild after an edit", "seconds; lower is better", "flask_rebuild"),
    ("Image size", "MB added to Python's by Django; lower is better", "django_added"),
    ("Flask", "requests a second; higher is better", "flask_requests"),
    ("Django, its login page", "requests a second; higher is better", "django_login_requests"),
]
VARIANTS = {
    "tutorial": ("tutorial", "#db6d28"),
    "runserver": ("usual, dev", "#b1bac4"),
    "dev": ("here, dev", "#58a6ff"),
    "gunicorn": ("usual, prod", "#8b949e"),
    "prod": ("here, prod", "#1f6feb"),
    "proxy": ("prod + proxy", "#a371f7"),
    "peer": ("peer, prod", "#3fb950"),
}
# GitHub's colours for text and for small text.
COLOURS = {"light": ("#1f2328", "#59636e"), "dark": ("#f0f6fc", "#9198a1")}


def label(value):
    """Return a number with about three digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def style(text):
    """Set the fonts, and the colour of the text."""
    mpl.rcParams.update({
        # Keep text as text, because it is smaller than outlines and searchable.
        "svg.fonttype": "none",
        # Without a fixed salt, the same numbers give a different file each time.
        "svg.hashsalt": "bench",
        # Leave room for the widest of the usual fonts. Where a viewer has another one, the text is shorter.
        "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "Helvetica"],
        "text.color": text,
        "ytick.color": text,
    })  # fmt: skip


def panels(bench, small):
    """Return the chart with a panel for each of PANELS."""
    figure, axes = plt.subplots(2, 3, figsize=(10, 5.6), layout="constrained")
    figure.get_layout_engine().set(hspace=0.1, w_pad=0.15)
    for panel, (title, unit, measure) in zip(axes.flat, PANELS, strict=True):
        if measure not in bench["results"]:
            sys.exit(f'error: the results lack "{measure}": make bench')
        medians = {kind: statistics.median(values) for kind, values in bench["results"][measure].items() if kind in VARIANTS}
        kinds = [kind for kind in VARIANTS if kind in medians]
        names, colours = zip(*(VARIANTS[kind] for kind in kinds), strict=True)
        bars = panel.barh(names, [medians[kind] for kind in kinds], color=colours, height=0.7)
        for kind, written in zip(kinds, panel.bar_label(bars, [label(medians[kind]) for kind in kinds], padding=3), strict=True):
            written.set_gid(f"{measure}: {kind}")
        # Begin at the left of the bars' names, so that both lines fit above the narrowest panel.
        for said, height, options in ((title, 20, {"size": 12, "weight": "bold"}), (unit, 6, {"size": 8, "color": small})):
            place = {"xytext": (-64, height), "xycoords": "axes fraction", "textcoords": "offset points"}
            panel.annotate(said, (0, 1), **place, **options)
        # Put the tutorial at the top, and give the bars the same height in all panels.
        panel.set_ylim(5.5, -0.5)
        panel.margins(x=0.4)
        panel.tick_params(left=False, bottom=False, labelbottom=False)
        panel.spines[:].set_visible(False)
    note = f"{bench['machine']}; medians of {bench['rounds']} rounds. usual: the usual alternative; peer: docker-django-example"
    figure.supxlabel(note, size=8, color=small, x=0.01, ha="left")
    return figure


def proof(lines, small):
    """Return the chart of the front page. Each line is a name, times the usual alternative or None, and a text."""
    figure, axes = plt.subplots(figsize=(10, 3.2), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.3)
    for place, (name, ratio, said) in enumerate(lines):
        if ratio:
            axes.barh(place, ratio, color=VARIANTS["prod" if ratio >= 1 else "gunicorn"][1], height=0.6)
        axes.annotate(said, (ratio or 0, place), xytext=(6, 0), textcoords="offset points", va="center", gid=f"proof: {name}")
    axes.set_yticks(range(len(lines)), [name for name, _, _ in lines])
    ratios = [ratio for _, ratio, _ in lines if ratio]
    axes.axvline(1, ymax=len(ratios) / len(lines), color=small, linewidth=0.8, linestyle=":")
    # The texts behind the bars need as much room as the longest bar.
    axes.set(xlim=(0, 2.1 * max(ratios)), ylim=(len(lines) - 0.5, -0.5))
    axes.tick_params(left=False, bottom=False, labelbottom=False)
    axes.spines[:].set_visible(False)
    note = "The dotted line is the usual alternative: gunicorn, in production. A longer bar is better."
    figure.supxlabel(note, size=8, color=small, x=0.01, ha="left")
    return figure


def main():
    """Draw the chart."""
    text, small = COLOURS[sys.argv[1]]
    style(text)
    figure = (proof if sys.argv[2:] == ["proof"] else panels)(json.load(sys.stdin), small)
    figure.savefig(sys.stdout.buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})


if __name__ == "__main__":
    main()
