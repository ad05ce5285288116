#!/usr/bin/python3
"""Draws the dashboard as Grafana lays it out, from the data of a load that this script runs. Lines are
of the whole load, tiles and tables of its end.

Usage: render_dashboard.py BUILD_FOLDER [OUT.png]   (default: beside the dashboard)
Needs Debian's python3-matplotlib.
"""

import operator
import pathlib
import re
import sys
import time

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator
from PIL import Image

import dashboard
import load
import stack

LOAD_S = 240
WAVE_S = 60  # the number of clients changes so often
CLIENTS = [2, 12, 30, 5]
CRASH_WAVE, CRASH_S = 2, 20  # in it a worker is killed after so long, and is back after as long again
STEP_S = 5
GRID_PX = (62, 32)  # of one grid unit, at 100 dots an inch


def _scaled(value, units, base):
    index = 0
    while abs(value) >= base and index + 1 < len(units):
        value, index = value / base, index + 1
    return f"{value:.3g}{units[index]}"


def _seconds(value):
    if value == 0:
        return "0 s"
    if abs(value) < 1e-3:
        return f"{value * 1e6:.3g} µs"
    if abs(value) < 1:
        return f"{value * 1e3:.3g} ms"
    return f"{value:.3g} s" if value < 60 else f"{value / 60:.3g} min"


# Grafana's colours of the tiles, by name.
_TILES = {"green": "#73bf69", "orange": "#ff9830", "red": "#f2495c", "blue": "#5794f2"}
# Of lines with a meaning, as the dashboard names them.
_LINES = {
    "super-light-blue": "#c0d8ff", "light-blue": "#8ab8ff", "light-purple": "#ca95e5",
    "dark-red": "#c4162a", "semi-dark-red": "#e02f44", "semi-dark-green": "#56a64b",
    "text": "#808080", "purple": "#b877d9", "yellow": "#f2cc0c", **_TILES,
}

# By Grafana's unit names.
_FORMATS = {
    "suffix: tok/s": lambda v: f"{v:,.0f} tok/s",
    "short": lambda v: _scaled(v, ["", " K", " Mil"], 1000),
    "reqps": lambda v: f"{v:.3g} req/s",
    "ops": lambda v: f"{v:.3g} ops/s",
    "percentunit": lambda v: f"{100 * v:.4g} %",
    "s": _seconds,
    "bytes": lambda v: _scaled(v, [" B", " KiB", " MiB", " GiB"], 1024),
}


def _place(panel, rows):
    """The axes' left, bottom, width and height in the figure, with room for title and legend."""
    grid = panel["gridPos"]
    if panel["type"] == "stat":
        return [
            (grid["x"] + 0.1) / 24, 1 - (grid["y"] + grid["h"] - 0.2) / rows,
            (grid["w"] - 0.2) / 24, (grid["h"] - 1.2) / rows,
        ]
    return [
        (grid["x"] + 1.1) / 24,
        1 - (grid["y"] + grid["h"] - 2) / rows,
        (grid["w"] - 1.5) / 24,
        (grid["h"] - 3) / rows,
    ]


def _legend(target, metric):
    text = target["legendFormat"]
    for label, value in metric.items():
        text = text.replace("{{" + label + "}}", value)
    return text


def _series(services, panel, begin, end):
    """(legend, times since `begin` in minutes, values) of every line."""
    for target in panel["targets"]:
        result = services.prometheus(
            "query_range", query=dashboard.expression(target), start=begin, end=end, step=STEP_S
        )
        for one in result:
            times = [(float(t) - begin) / 60 for t, _ in one["values"]]
            yield _legend(target, one["metric"]), times, [float(v) for _, v in one["values"]]


def _style(panel, name):
    """The colour and dashes that the panel's overrides give a line; Matplotlib's own otherwise."""
    style = {}
    for override in panel["fieldConfig"]["overrides"]:
        matcher = override["matcher"]
        pattern = matcher["options"].strip("/")
        matches = {"byName": operator.eq, "byRegexp": re.search}[matcher["id"]]
        if not matches(pattern, name):
            continue
        for changed in override["properties"]:
            if changed["id"] == "color":
                style["color"] = _LINES[changed["value"]["fixedColor"]]
            if changed["id"] == "custom.lineStyle":
                style["linestyle"] = "--"
    return style


def _draw_lines(axes, panel, lines):
    defaults = panel["fieldConfig"]["defaults"]
    if defaults["custom"]["stacking"]["mode"] == "normal":
        grid = sorted({t for _, times, _ in lines for t in times})
        rows = []
        for _, times, values in lines:
            known = dict(zip(times, values))
            rows.append([0 if known.get(t, 0) != known.get(t, 0) else known.get(t, 0) for t in grid])
        defaults_of = plt.rcParams["axes.prop_cycle"].by_key()["color"]
        colours = [_style(panel, name).get("color", defaults_of[i % len(defaults_of)])
                   for i, (name, _, _) in enumerate(lines)]
        axes.stackplot(grid, rows, labels=[name for name, _, _ in lines], alpha=0.6, colors=colours)
    else:
        for name, times, values in lines:
            axes.plot(times, values, label=name, linewidth=1.3, **_style(panel, name))
    if defaults.get("min") == 0:
        axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: _FORMATS[defaults["unit"]](v)))
    axes.set_xlim(0, LOAD_S / 60)
    axes.xaxis.set_major_locator(MultipleLocator(1))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g} min"))
    axes.grid(alpha=0.3)
    axes.tick_params(labelsize=7)
    longest = max((len(name) for name, _, _ in lines), default=0)
    width = panel["gridPos"]["w"]
    size = 7 if width > 5 else 6
    columns = max(1, int(width * 77 / size / (longest + 10)))
    axes.legend(
        loc="upper left", bbox_to_anchor=(-0.02, -0.1), ncol=columns, fontsize=size, frameon=False,
        labelspacing=0.2, columnspacing=1, handlelength=1.5,
    )


def _draw_tile(axes, services, panel):
    """A number on the colour of the threshold that it has reached."""
    defaults = panel["fieldConfig"]["defaults"]
    found = services.prometheus("query", query=dashboard.expression(panel["targets"][0]))
    value = float(found[0]["value"][1]) if found else float("nan")
    reached = [s for s in defaults["thresholds"]["steps"] if s["value"] is None or value >= s["value"]]
    axes.set_facecolor(_TILES[reached[-1]["color"]])
    axes.set(xticks=[], yticks=[])
    text = _FORMATS[defaults["unit"]](value) if value == value else "no data"
    axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=15, color="white",
              fontweight="bold", transform=axes.transAxes)


def _draw_table(axes, services, panel):
    hidden = panel["transformations"][0]["options"]["excludeByName"]
    found = services.prometheus("query", query=dashboard.expression(panel["targets"][0]))
    columns = sorted({key for one in found for key in one["metric"] if key not in hidden})
    cells = [[one["metric"].get(column, "") for column in columns] for one in found]
    axes.axis("off")
    table = axes.table(cellText=cells, colLabels=columns, loc="upper left", cellLoc="left")
    table.auto_set_font_size(False)
    table.set_fontsize(5)
    table.auto_set_column_width(range(len(columns)))


def render(services, begin, end, out):
    board = dashboard.load()
    rows = max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in board["panels"])
    figure = plt.figure(figsize=(24 * GRID_PX[0] / 100, rows * GRID_PX[1] / 100), dpi=100)
    for panel in board["panels"]:
        grid = panel["gridPos"]
        if panel["type"] == "row":
            y = 1 - (grid["y"] + 0.7) / rows
            figure.text(0.005, y, panel["title"], fontsize=12, fontweight="bold")
            continue
        axes = figure.add_axes(_place(panel, rows))
        axes.set_title(panel["title"], fontsize=9 if grid["w"] > 4 else 7.5, loc="left")
        if panel["type"] == "table":
            _draw_table(axes, services, panel)
        elif panel["type"] == "stat":
            _draw_tile(axes, services, panel)
        else:
            _draw_lines(axes, panel, list(_series(services, panel, begin, end)))
    figure.savefig(out)
    Image.open(out).convert("RGB").quantize(256).save(out, optimize=True)


def crash(services):
    """A worker ends in the middle of its streams, and comes again."""
    time.sleep(CRASH_S)
    services.kill("worker-2")
    time.sleep(CRASH_S)
    services.start("worker-2")
    time.sleep(WAVE_S - 2 * CRASH_S)


def main():
    build = pathlib.Path(sys.argv[1])
    out = sys.argv[2] if len(sys.argv) > 2 else dashboard.PATH.with_suffix(".png")
    with stack.Stack(build) as services:
        services.start_all()
        begin = time.time()
        for wave, clients in enumerate(CLIENTS):
            chat = build.resolve() / "router/thinkwire-chat"
            with load.Load(chat, services.address("router", 50051), clients):
                if wave == CRASH_WAVE:
                    crash(services)
                else:
                    time.sleep(WAVE_S)
        render(services, begin, begin + LOAD_S, out)


if __name__ == "__main__":
    stack.enter_namespaces("yaml")
    main()
