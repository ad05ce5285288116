#!/usr/bin/python3
"""Checks the units of deploy/systemd: that systemd takes every line of them, and that what they start serves.

Usage: systemd_test.py BUILD_FOLDER
"""

import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import types

import stack

if __name__ == "__main__":
    stack.enter_namespaces("yaml", programs=("ip", "nsenter", "systemd-analyze"))

import manifests as m  # noqa: E402
import pods  # noqa: E402

FOLDER = m.REPOSITORY / "deploy/systemd"
ENDING_S = 12  # from the end of a drain to that of the process, at most
BUILD = pathlib.Path(sys.argv[1]).resolve()
PROGRAMS = {"/opt/thinkwire/bin/thinkwire-router": BUILD / "router/thinkwire-router",
            "/opt/thinkwire/bin/thinkwire-worker": BUILD / "worker/thinkwire-worker"}
HEALTH_BY_HTTP = 'import urllib.request as u; print(u.urlopen("http://localhost:8080/health").read().decode())'
UNITS = {"thinkwire-router.service": "", "thinkwire-worker@.service": "tiny-r1"}  # with an instance


def values(unit, key):
    text = (FOLDER / unit).read_text(encoding="utf-8")
    return [value.replace("%i", UNITS[unit]) for value in re.findall(rf"^{key}=(.*)$", text, re.M)]


def verify(*units, change=lambda text: text):
    """What systemd-analyze says of the units, on a root with these, their programs and systemd's own."""
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        shutil.copytree("/usr/lib/systemd/system", root / "usr/lib/systemd/system", symlinks=True)
        place = root / "etc/systemd/system"
        place.mkdir(parents=True)
        for unit in UNITS:
            (place / unit).write_text(change((FOLDER / unit).read_text(encoding="utf-8")), encoding="utf-8")
        for program in PROGRAMS:
            (root / program.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy("/bin/true", root / program.lstrip("/"))
        said = subprocess.run(["systemd-analyze", "verify", f"--root={root}", *units], check=False, text=True,
                              capture_output=True)
        return f"{said.stdout}{said.stderr}" + ("" if said.returncode == 0 else f"ended with {said.returncode}")


def check_units():
    names = [unit.replace("@", f"@{instance}") for unit, instance in UNITS.items()]
    said = "\n".join(line for line in verify(*names).splitlines() if "thinkwire" in line)
    assert said == "", said
    wrong = verify(*names, change=lambda text: text.replace("LimitNOFILE", "LimitNoFiles"))
    assert "LimitNoFiles" in wrong, f"systemd-analyze lets everything through: {wrong}"


def service(unit):
    """What a unit starts."""
    (command,) = values(unit, "ExecStart")
    (file,) = values(unit, "EnvironmentFile")
    lines = (FOLDER / pathlib.Path(file).name).read_text(encoding="utf-8").splitlines()
    return types.SimpleNamespace(command_line=shlex.split(command), spec={"args": shlex.split(command)[1:]},
                                 command=shlex.split(command)[:1], where=unit,
                                 environment=dict(line.split("=", 1) for line in lines if line[:1] != "#"))


def check_options(unit):
    program = pathlib.Path(service(unit).command[0]).name
    options, set_here = m.options(BUILD, program), m.settings(service(unit))
    assert set(set_here) <= set(options), set(set_here) - set(options)
    drain = int(set_here.get("drain_timeout_s", options["drain_timeout_s"]))
    (stop,) = values(unit, "TimeoutStopSec")
    assert int(stop) > drain + ENDING_S, f"{unit}: TimeoutStopSec is {stop}"


def check_serving():
    """Both on one host, with the files that come with the units."""
    node = pods.Node()
    shown = {**PROGRAMS, "/opt/thinkwire/bin/thinkwire-chat": BUILD / "router/thinkwire-chat", "/etc/thinkwire": FOLDER,
             "/srv/models/tiny-r1": m.REPOSITORY / "deploy/models/tiny-r1"}
    with pods.Pod(node, [], shown) as host:
        running = []
        for unit in reversed(UNITS):
            host.start(service(unit))
            running.append(host.process)
        chat = ["/opt/thinkwire/bin/thinkwire-chat", f"--timeout_s={pods.PATIENCE_S}"]
        pods.wait_for("the router", lambda: host.execute(*chat, "--probe=localhost:50051/readiness").returncode == 0,
                      [host])
        said = host.execute(*chat, "--temperature=0", "What is 27+48?")
        assert said.returncode == 0 and "75" in said.stdout, f"{said.stdout} {said.stderr}"
        said = host.execute("/usr/bin/python3", "-c", HEALTH_BY_HTTP)
        assert '"status":"ok"' in said.stdout, f"{said.stdout} {said.stderr}"
        for process in reversed(running):
            process.terminate()
            code = process.wait(pods.PATIENCE_S)
            assert code == 0, f"ended with {code}: {host.log()}"


def main():
    check_units()
    for unit in UNITS:
        check_options(unit)
    check_serving()
    print("units verified, and what they start has served")


if __name__ == "__main__":
    main()
