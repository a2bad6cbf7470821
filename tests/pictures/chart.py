"""Read the JSON of `make bench` from stdin and print a chart of the medians as SVG. Usage: chart.py light|dark.

test_pictures.py runs it. The id of each value in the SVG is its measure and variant, which the test reads.
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
    ("Django, its log-in page", "requests a second; higher is better", "django_login_requests"),
]
VARIANTS = {
    "tutorial": ("tutorial", "#db6d28"),
    "runserver": ("usual, dev", "#b1bac4"),
    "dev": ("here, dev", "#58a6ff"),
    "gunicorn": ("usual, prod", "#8b949e"),
    "prod": ("here, prod", "#1f6feb"),
    "proxy": ("prod + proxy", "#a371f7"),
}
# GitHub's colours for text and for small text.
COLOURS = {"light": ("#1f2328", "#59636e"), "dark": ("#f0f6fc", "#9198a1")}


def label(value):
    """Return a number with about three digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def main():
    """Draw the chart."""
    text, small = COLOURS[sys.argv[1]]
    bench = json.load(sys.stdin)
    mpl.rcParams.update({
        # Keep text as text, because it is smaller than outlines and searchable.
        "svg.fonttype": "none",
        # Without a fixed salt, the same numbers give a different file each time.
        "svg.hashsalt": "bench",
        # This image has Liberation Sans, whose letters are as wide as Arial's.
        "font.sans-serif": ["Liberation Sans", "Arial", "Helvetica"],
        "text.color": text,
        "ytick.color": text,
    })  # fmt: skip
    figure, axes = plt.subplots(2, 3, figsize=(10, 5), layout="constrained")
    figure.get_layout_engine().set(hspace=0.1)
    for panel, (title, unit, measure) in zip(axes.flat, PANELS, strict=True):
        if measure not in bench["results"]:
            sys.exit(f'error: the results lack "{measure}": make bench')
        medians = {kind: statistics.median(values) for kind, values in bench["results"][measure].items() if kind in VARIANTS}
        kinds = [kind for kind in VARIANTS if kind in medians]
        names, colours = zip(*(VARIANTS[kind] for kind in kinds), strict=True)
        bars = panel.barh(names, [medians[kind] for kind in kinds], color=colours, height=0.7)
        for kind, written in zip(kinds, panel.bar_label(bars, [label(medians[kind]) for kind in kinds], padding=3), strict=True):
            written.set_gid(f"{measure}: {kind}")
        panel.set_title(title, loc="left", weight="bold", pad=20)
        panel.annotate(unit, (0, 1), xytext=(0, 6), xycoords="axes fraction", textcoords="offset points", size=8, color=small)
        # Put the tutorial at the top, and give the bars the same height in all panels.
        panel.set_ylim(4.5, -0.5)
        panel.margins(x=0.25)
        panel.tick_params(left=False, bottom=False, labelbottom=False)
        panel.spines[:].set_visible(False)
    note = f"{bench['machine']}; medians of {bench['rounds']} rounds. usual: the usual alternative"
    figure.supxlabel(note, size=8, color=small, x=0.01, ha="left")
    figure.savefig(sys.stdout.buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})


if __name__ == "__main__":
    main()
