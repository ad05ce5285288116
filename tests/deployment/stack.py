"""Runs the services of compose.yaml as plain processes, without a container engine.

All of them live in namespaces of their own: each service's name is a loopback address there, and
each volume lies where its container would see it. So every command line, and every file of the
deployment, is used exactly as it stands; nothing outside is changed, reached or in the way.
"""

import contextlib
import ctypes
import fcntl
import importlib.util
import json
import os
import pathlib
import re
import shutil
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

try:
    import yaml
except ImportError:  # then enter_namespaces ends the script
    yaml = None

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
PATIENCE_S = 60
SKIPPED = 77  # ctest's SKIP_RETURN_CODE

_MARK = "THINKWIRE_IN_NAMESPACES"


def enter_namespaces(*modules, programs=("prometheus", "promtool")):
    """Runs this script again in new user, network and mount namespaces; returns inside of them.

    Ends it with SKIPPED where that, one of `programs` or of Python's `modules`, which
    deploy/setup.sh --tests installs, is not to be had.
    """
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    missing += [name for name in ("unshare", *programs) if shutil.which(name) is None]
    if missing:
        print(f"skipped: without {', '.join(missing)} (deploy/setup.sh --tests)")
        sys.exit(SKIPPED)
    if os.environ.get(_MARK) == "1":
        _raise_loopback()
        return
    unshare = ["unshare", "--map-root-user", "--net", "--mount"]
    if subprocess.run(unshare + ["true"], stderr=subprocess.DEVNULL, check=False).returncode != 0:
        print("skipped: this machine allows no namespaces")
        sys.exit(SKIPPED)
    os.environ[_MARK] = "1"
    os.execvp("unshare", unshare + [sys.executable] + sys.argv)


def _raise_loopback():
    siocgifflags, siocsifflags, iff_up = 0x8913, 0x8914, 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sH14x", b"lo", 0)
        flags = struct.unpack("16sH14x", fcntl.ioctl(control, siocgifflags, request))[1]
        fcntl.ioctl(control, siocsifflags, struct.pack("16sH14x", b"lo", flags | iff_up))


def bind(source, target):
    """Shows `source`, a file or a folder, at `target` too, which exists."""
    ms_bind, ms_rec = 0x1000, 0x4000
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(str(source).encode(), str(target).encode(), None, ms_bind | ms_rec, None) != 0:
        raise OSError(ctypes.get_errno(), f"cannot bind {source} to {target}")


def compose():
    """compose.yaml as a container engine reads it: extension fields left out, variables as they are by
    default, without the services of a profile."""
    text = (REPOSITORY / "compose.yaml").read_text(encoding="utf-8")
    whole = yaml.safe_load(re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text))
    services = {n: s for n, s in whole["services"].items() if "profiles" not in s}
    return {**{k: v for k, v in whole.items() if not k.startswith("x-")}, "services": services}


def entrypoint(target):
    """The ENTRYPOINT of a stage of deploy/Dockerfile."""
    text = (REPOSITORY / "deploy/Dockerfile").read_text(encoding="utf-8")
    stage = re.search(rf"^FROM \S+ AS {target}$(.*?)(?=^FROM |\Z)", text, re.M | re.S).group(1)
    return json.loads(re.search(r"^ENTRYPOINT (.*)$", stage, re.M).group(1))


def command_of(service):
    """The command line of a service's container."""
    if "build" in service:
        return entrypoint(service["build"]["target"]) + service["command"]
    return ["prometheus"] + service["command"]  # Debian's has the options of the image's


class Stack(contextlib.AbstractContextManager):
    """The services that are started, in one root folder that holds all of their volumes.

    Grafana is not: Debian has none. Everything lies in a tmpfs over /mnt, which goes with the
    namespaces: nothing is ever removed, as that could reach what is bound there.
    """

    def __init__(self, build):
        self._build = pathlib.Path(build).resolve()
        self._root = pathlib.Path("/mnt")
        self.services = compose()["services"]
        self._processes = {}
        # One address each, as they may use equal ports.
        self.addresses = {name: f"127.0.1.{i + 1}" for i, name in enumerate(self.services)}
        self._make_root()

    def __exit__(self, *unused):
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            process.wait(PATIENCE_S)

    def _make_root(self):
        """This machine's root, with an /etc, /opt and volumes of our own."""
        root = self._root
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", root], check=True)
        for entry in pathlib.Path("/").iterdir():
            place = root / entry.name
            if entry.is_symlink():
                place.symlink_to(os.readlink(entry))
            elif entry.is_dir() and entry.name not in ("etc", "mnt", "opt"):
                place.mkdir()
                bind(entry, place)
        shutil.copytree("/etc", root / "etc", symlinks=True, ignore=self._unreadable)
        names = [f"{address} {name}" for name, address in self.addresses.items()]
        (root / "etc/hosts").write_text("\n".join(["127.0.0.1 localhost", *names, ""]))
        binaries = root / "opt/thinkwire/bin"
        binaries.mkdir(parents=True)
        for program in ("router/thinkwire-router", "router/thinkwire-chat", "worker/thinkwire-worker"):
            (binaries / pathlib.Path(program).name).symlink_to(self._build / program)
        started = [service for name, service in self.services.items() if name != "grafana"]
        volumes = {v.split(":")[1]: v.split(":")[0] for s in started for v in s.get("volumes", [])}
        for target, source in volumes.items():
            self._mount(source, root / target.lstrip("/"))
        (root / "logs").mkdir()

    @staticmethod
    def _unreadable(folder, names):
        return [n for n in names if not os.access(os.path.join(folder, n), os.R_OK)]

    @staticmethod
    def _mount(source, place):
        named = not source.startswith(".")
        source = REPOSITORY / source
        if named or source.is_dir():
            place.mkdir(parents=True, exist_ok=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()
        if not named:
            bind(source, place)

    def start(self, name):
        """Starts a service with the command line of its container."""
        with self._log_path(name).open("wb") as log:
            self._processes[name] = subprocess.Popen(
                ["chroot", self._root, *command_of(self.services[name])], stderr=log, stdout=log
            )

    def stop(self, name):
        process = self._processes.pop(name)
        process.terminate()
        return process.wait(PATIENCE_S)

    def kill(self, name):
        """Ends a service as a crash would; start begins it again."""
        process = self._processes.pop(name)
        process.kill()
        process.wait(PATIENCE_S)

    def healthy(self, name):
        """Whether the service's own health check passes."""
        test = self.services[name]["healthcheck"]["test"]
        return subprocess.run(
            ["chroot", self._root, *test[1:]], stderr=subprocess.DEVNULL, check=False
        ).returncode == 0

    def log(self, name):
        return self._log_path(name).read_text(encoding="utf-8", errors="replace")

    def _log_path(self, name):
        return self._root / "logs" / f"{name}.log"

    def wait_for(self, what, condition):
        """Waits until `condition()`; fails if a service has ended, or after a while."""
        give_up = time.monotonic() + PATIENCE_S
        while not condition():
            for name, process in self._processes.items():
                if process.poll() is not None:
                    raise RuntimeError(f"{name} has ended: {self.log(name)}")
            if time.monotonic() > give_up:
                logs = "\n".join(self.log(name)[-2000:] for name in self._processes)
                raise TimeoutError(f"waited in vain for {what}\n{logs}")
            time.sleep(0.2)

    def address(self, name, port):
        return f"{self.addresses[name]}:{port}"

    def start_all(self):
        for name in self.services:
            if name != "grafana":
                self.start(name)
        for name, service in self.services.items():
            if "healthcheck" in service:
                self.wait_for(f"{name} to be healthy", lambda n=name: self.healthy(n))
        self.wait_for("the router to listen", lambda: '"listening"' in self.log("router"))
        self.wait_for("the router's workers", lambda: self.log("router").count('"worker is live"') == 2)
        self.wait_for("Prometheus", lambda: self._prometheus_is_ready())

    def _prometheus_is_ready(self):
        try:
            return bool(self.prometheus("query", query="up"))
        except urllib.error.URLError:
            return False

    def get(self, name, port, path):
        """The body of an HTTP GET, asked for as another service would: by this one's name."""
        url, by_name = f"http://{self.address(name, port)}{path}", {"Host": f"{name}:{port}"}
        with urllib.request.urlopen(urllib.request.Request(url, headers=by_name), timeout=PATIENCE_S) as answer:
            return answer.read().decode()

    def prometheus(self, what, **parameters):
        """The result of an API call of Prometheus: "query", "query_range", "rules" or "targets"."""
        path = f"/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        data = json.loads(self.get("prometheus", 9090, path))["data"]
        return data["result"] if "result" in data else data
