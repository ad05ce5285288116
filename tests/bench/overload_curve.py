#!/usr/bin/python3
"""Draws what an overloaded router is worth: as overload_session.sh measured it, and as
`thinkwire-bench overload` simulates it.

Usage: overload_curve.py LOGS TABLE [OUT.png]   (default: beside the dashboard)
LOGS is the session's folder, TABLE a file with what the simulation printed. Needs Debian's
python3-matplotlib.
"""

import collections
import json
import pathlib
import statistics
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
OUT = REPOSITORY / "deploy/grafana/dashboards/overload_curve.png"


def measured(logs):
    """By the number of clients: what ended before its deadline, a second."""
    rounds = collections.defaultdict(list)
    for path in logs.glob("sweep-*.json"):
        report = json.loads(path.read_text(encoding="utf-8"))
        rounds[int(path.stem.split("-")[1])].append(report["figures"]["goodput_per_second"])
    return sorted((clients, statistics.median(values)) for clients, values in rounds.items())


def simulated(table):
    """By router: the load and what was in time a second."""
    lines = {}
    for row in table.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        if cells[0].startswith("waits "):
            lines.setdefault(cells[0], []).append((float(cells[1]), float(cells[2])))
    return lines


def draw(points, lines, path):
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), dpi=100)
    clients = [clients for clients, _ in points]
    left.plot(clients, [goodput for _, goodput in points], marker="o")
    left.set(xscale="log", xticks=clients, xticklabels=clients, xlabel="clients", ylim=(0, None),
             ylabel="ended before the deadline, a second", title="measured: tiny-r1, one worker")
    left.minorticks_off()
    for name, line in lines.items():
        right.plot(*zip(*line), marker="o", label=name)
    right.set(xlabel="requests that come, of those that the workers can do", ylim=(0, None),
              title="simulated: llama-8b, four workers, lengths of R1")
    right.legend(loc="lower right")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.savefig(path, bbox_inches="tight")


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    draw(measured(pathlib.Path(sys.argv[1])), simulated(pathlib.Path(sys.argv[2])),
         sys.argv[3] if len(sys.argv) > 3 else OUT)


if __name__ == "__main__":
    main()
