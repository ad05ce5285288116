"""The Grafana dashboard, as far as Prometheus is concerned."""

import json
import pathlib

from stack import REPOSITORY

PATH = REPOSITORY / "deploy/grafana/dashboards/thinkwire.json"

# What Grafana puts in place of its variables: everything, the goodput's bound that the board begins
# with, and a window of a few scrapes.
_VARIABLES = {
    "$variant": ".*", "$instance": ".*", "$job": ".*", "$bound": "2.5", "$__rate_interval": "20s",
}


def load(path: pathlib.Path = PATH):
    return json.loads(path.read_text(encoding="utf-8"))


def panels(board):
    """All panels but the rows, which hold none here."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def expression(target):
    """The target's query as Grafana sends it."""
    text = target["expr"]
    for variable, value in _VARIABLES.items():
        text = text.replace(variable, value)
    return text
