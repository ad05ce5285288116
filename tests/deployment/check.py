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
import tempfile
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
    expect(whole["name"] == "thinkwire", "the name")
    for name, service in whole["services"].items():
        target = service.get("build", {}).get("target", "runtime")
        expect(f" AS {target}\n" in dockerfile(), f"{name} is built as {target}: no such stage")
        image = service["image"]
        expect("build" in service or is_whole(image), f"{name}: engines find no {image} by themselves")
        for other in service.get("depends_on", []):
            expect(other in whole["services"], f"{name} depends on {other}: not there")
    expect(set(services) == {"router", "worker-1", "worker-2", "prometheus", "grafana"}, "services")
    for name, service in services.items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                expect((stack.REPOSITORY / source).exists(), f"{name} mounts {source}: not there")
            else:
                expect(source in whole["volumes"], f"{name} mounts {source}: not declared")


def is_whole(image):
    """Whether the name has its registry: Podman adds none by itself, as Docker does."""
    return "." in image.split("/")[0] and ":" in image


def dockerfile():
    return (stack.REPOSITORY / "deploy/Dockerfile").read_text()


def check_dockerfile():
    """Its images' names are whole; what is copied is there, suffices for the build that it configures, and is no README."""
    text = dockerfile()
    stages = set(re.findall(r"^FROM \S+ AS (\S+)$", text, re.M)) | {"scratch"}
    for image in re.findall(r"^FROM (\S+)", text, re.M):
        expect(image in stages or is_whole(image), f"Dockerfile: engines find no {image} by themselves")
    copied = [copy.split()[:-1] for copy in re.findall(r"^COPY (?!--from)(.*)$", text, re.M)]
    sources = {source for sources in copied for source in sources}
    expect("." not in sources and "README.md" not in sources, "Dockerfile copies what is not compiled")
    for source in sources:
        expect((stack.REPOSITORY / source).exists(), f"Dockerfile copies {source}: not there")
    with tempfile.TemporaryDirectory() as folder:
        for source in sources:
            (pathlib.Path(folder) / source).parent.mkdir(parents=True, exist_ok=True)
            (pathlib.Path(folder) / source).symlink_to(stack.REPOSITORY / source)
        words = re.search(r"^ +cmake (--preset release .*) -DTHINKWIRE_COMMIT=", text, re.M).group(1).split()
        configured = subprocess.run(["cmake", *words], cwd=folder, text=True, capture_output=True, check=False)
        expect(configured.returncode == 0, f"Dockerfile copies too little: {configured.stderr}")
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
        sources = {s["datasource"]["uid"] for s in (panel, *panel["targets"])}
        expect(sources == {"${datasource}"}, f"panel {title}: a data source of its own: {sources}")
        check_names(names, f"panel {title}", [t["expr"] for t in panel["targets"]])
        series = 0
        for target in panel["targets"]:
            expect(target.get("legendFormat"), f"panel {title}: a query without legend")
            series += len(services.prometheus("query", query=dashboard.expression(target)))
        expect(series > 0, f"panel {title}: no data after a load")
    check_variables(services, board)


def check_variables(services, board):
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    expect(set(variables) == {"datasource", "job", "variant", "instance", "bound"}, "variables")
    for name, variable in variables.items():
        if variable["type"] != "query":
            continue
        definition = dashboard.expression({"expr": variable["definition"]})
        metric, label = re.fullmatch(r"label_values\((.+), (\w+)\)", definition).groups()
        found = services.prometheus("query", query=f"count by ({label}) ({metric})")
        expect(found, f"variable {name}: no values")
    for bound in variables["bound"]["query"].split(","):
        bucket = f'thinkwire_router_time_to_output_seconds_bucket{{le=~"{bound}(\\\\.0)?"}}'
        expect(services.prometheus("query", query=bucket), f"bound {bound} is no bucket")


def check_rules(names):
    for path in sorted((stack.REPOSITORY / "deploy/prometheus").glob("*_rules.yml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            check_names(names, path.name, [rule["expr"] for rule in group["rules"]])


def check_runbook(services):
    """Every alert's runbook is served by Prometheus itself, and speaks of it."""
    page = services.get("prometheus", 9090, "/user/runbook.html")
    for group in services.prometheus("rules", type="alert")["groups"]:
        for rule in group["rules"]:
            expect(rule["annotations"]["runbook_url"].endswith(f"/user/runbook.html#{rule['name']}"),
                   f"{rule['name']}: runbook_url")
            expect(f'id="{rule["name"]}"' in page, f"the runbook says nothing of {rule['name']}")


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
            expect('"status":"ok"' in services.get("router", 8080, "/health"), "the HTTP door is not healthy")
            names = check_pages(services)
            check_rules(names)
            check_runbook(services)
            check_dashboard(services, names)
        expect(set(traffic.exit_codes) >= {0, 1, 130}, f"exit codes {traffic.exit_codes}")
        for name in ("router", "worker-1", "worker-2"):
            code = services.stop(name)
            expect(code == 0, f"{name} ended with {code}: {services.log(name)[-2000:]}")
    print(f"{len(_failures)} failures; requests by exit code: {traffic.exit_codes}")
    return 1 if _failures else 0


if __name__ == "__main__":
    stack.enter_namespaces("jsonschema", "yaml")
    sys.exit(main())
