#!/usr/bin/python3
"""Checks the deployment files by what runs without a container engine.

Usage: check.py BUILD_FOLDER
Runs compose.yaml's services (stack.py), puts a load on them, and checks: the files against their
schemas and promtool; that Prometheus scrapes all; that both /metrics pages please promtool; that
every metric named by rules and dashboard exists, and every query of the dashboard has data.
"""

import pathlib
import re
import subprocess
import sys
import time

import dashboard
import load
import stack

try:
    import jsonschema
    import yaml
except ImportError:  # then main is not reached
    pass

LOAD_S = 40  # eight scrapes
CLIENTS = 6

# Names in PromQL that a label's value or a keyword could be taken for are no matter: ours begin so.
_METRIC = re.compile(r"\b(?:thinkwire_|process_|\w+:thinkwire_)\w*(?::\w+)?")

_failures = []


def expect(condition, what):
    if not condition:
        _failures.append(what)
        print(f"FAILED: {what}")


def check_compose():
    schema = stack.json.loads((pathlib.Path(__file__).parent / "compose-spec.json").read_text())
    whole = yaml.safe_load((stack.REPOSITORY / "compose.yaml").read_text())
    validator = jsonschema.Draft7Validator(schema)
    for error in validator.iter_errors(whole):
        expect(False, f"compose.yaml: {error.json_path}: {error.message}")
    services = stack.compose()["services"]
    expect(set(services) == {"router", "worker-1", "worker-2", "prometheus", "grafana"}, "services")
    for name, service in services.items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                expect((stack.REPOSITORY / source).exists(), f"{name} mounts {source}: not there")
            else:
                expect(source in whole["volumes"], f"{name} mounts {source}: not declared")


def check_dockerfile():
    text = (stack.REPOSITORY / "deploy/Dockerfile").read_text()
    for source in re.findall(r"^COPY (?!--from)(\S+) ", text, re.M):
        expect((stack.REPOSITORY / source).exists(), f"Dockerfile copies {source}: not there")
    for script in re.findall(r"\bdeploy/\w+\.sh", text):
        expect((stack.REPOSITORY / script).exists(), f"Dockerfile runs {script}: not there")


def promtool(*arguments, text=None):
    result = subprocess.run(
        ["promtool", *map(str, arguments)], input=text, text=True, capture_output=True, check=False
    )
    said = (result.stdout + result.stderr).strip()
    expect(result.returncode == 0, f"promtool {' '.join(map(str, arguments))}: {said}")
    return said


def check_prometheus_files():
    folder = stack.REPOSITORY / "deploy/prometheus"
    promtool("check", "config", folder / "prometheus.yml")
    promtool("test", "rules", pathlib.Path(__file__).parent / "alert_rules_test.yml")


def check_pages(services):
    """Both pages please promtool. Returns the names of all samples, and of all rules."""
    names = set()
    for name, port in (("router", 9401), ("worker-1", 9402), ("worker-2", 9402)):
        page = services.get(name, port, "/metrics")
        said = promtool("check", "metrics", text=page)
        expect(said == "", f"{name}: promtool check metrics: {said}")
        names |= {re.split(r"[{ ]", line)[0] for line in page.splitlines() if line[:1] != "#"}
    for group in services.prometheus("rules")["groups"]:
        for rule in group["rules"]:
            expect(rule["health"] == "ok", f"rule {rule['name']}: {rule.get('lastError')}")
            if rule["type"] == "recording":
                names.add(rule["name"])
                found = services.prometheus("query", query=rule["name"])
                expect(found, f"rule {rule['name']} gives nothing")
    return names


def check_names(names, where, expressions):
    for expression in expressions:
        for metric in _METRIC.findall(re.sub(r'"[^"]*"', '""', expression)):
            expect(metric in names, f"{where}: there is no metric {metric}")


def check_dashboard(services, names):
    board = dashboard.load()
    expect(board["schemaVersion"] >= 36, "dashboard: schemaVersion of a supported Grafana")
    for panel in dashboard.panels(board):
        title = panel["title"]
        expect(panel.get("description"), f"panel {title}: no description")
        expect(panel["fieldConfig"]["defaults"].get("unit"), f"panel {title}: no unit")
        expect(panel["targets"], f"panel {title}: no query")
        check_names(names, f"panel {title}", [t["expr"] for t in panel["targets"]])
        series = 0
        for target in panel["targets"]:
            expect(target.get("legendFormat"), f"panel {title}: a query without legend")
            series += len(services.prometheus("query", query=dashboard.expression(target)))
        expect(series > 0, f"panel {title}: no data after a load")
    for variable in board["templating"]["list"]:
        metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["definition"]).groups()
        found = services.prometheus("query", query=f"count by ({label}) ({metric})")
        expect(found, f"variable {variable['name']}: no values")


def check_rules(names):
    for path in sorted((stack.REPOSITORY / "deploy/prometheus").glob("*_rules.yml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            check_names(names, path.name, [rule["expr"] for rule in group["rules"]])


def check_targets(services):
    targets = services.prometheus("targets")["activeTargets"]
    expect(len(targets) == 3, f"{len(targets)} targets, not 3")
    for target in targets:
        expect(target["health"] == "up", f"{target['scrapeUrl']}: {target['lastError']}")


def main():
    build = pathlib.Path(sys.argv[1])
    check_compose()
    check_dockerfile()
    check_prometheus_files()
    with stack.Stack(build) as services:
        services.start_all()
        chat = build.resolve() / "router/thinkwire-chat"
        with load.Load(chat, services.address("router", 50051), CLIENTS) as traffic:
            time.sleep(LOAD_S)
            check_targets(services)
            names = check_pages(services)
            check_rules(names)
            check_dashboard(services, names)
        expect(set(traffic.exit_codes) >= {0, 1, 130}, f"exit codes {traffic.exit_codes}")
        for name in ("router", "worker-1", "worker-2"):
            code = services.stop(name)
            expect(code == 0, f"{name} ended with {code}: {services.log(name)[-2000:]}")
    print(f"{len(_failures)} failures; requests by exit code: {traffic.exit_codes}")
    return 1 if _failures else 0


if __name__ == "__main__":
    stack.enter_namespaces()
    sys.exit(main())
