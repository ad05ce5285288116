"""Runs the pods of deploy/kubernetes as plain processes, without a cluster.

A pod has a network of its own, with an address on a bridge that this script's namespaces have to themselves, and a root
of its own, read-only, with its volumes where its containers see them. So command lines and probes run as they stand.
What is not a cluster's: all run as the same user, nobody holds the NetworkPolicies, limits and capabilities, a service
is a name in /etc/hosts, and there is no GPU.
"""

import contextlib
import ctypes
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import stack

PATIENCE_S = 120
NETWORK = "10.42.0"  # pods; .1 is the node, on which this script is
BRIDGE = "pods"
# What this machine lends to every root.
LENT = ("bin", "dev", "lib", "lib64", "proc", "sbin", "sys", "usr")
LENT_ETC = ("group", "ld.so.cache", "nsswitch.conf", "passwd")


def run(*words, **options):
    return subprocess.run([str(word) for word in words], check=True, **options)


def die_with_this_process():
    """In a child: it is killed where this script is, as it may be before it has ended the pods."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, int(signal.SIGKILL), 0, 0, 0)


class Node:
    """A network and a folder for pods, in the namespaces that this script is in. Both go with these."""

    def __init__(self):
        run("mount", "-t", "tmpfs", "tmpfs", "/mnt")
        self.folder = pathlib.Path("/mnt")
        self.pods = 0
        if subprocess.run(["ip", "link", "add", BRIDGE, "type", "bridge"], check=False).returncode != 0:
            print("skipped: this machine has no network bridges")
            sys.exit(stack.SKIPPED)
        run("ip", "addr", "add", f"{NETWORK}.1/24", "dev", BRIDGE)
        run("ip", "link", "set", BRIDGE, "up")


class Pod(contextlib.AbstractContextManager):
    """One pod. `names` are lines of its /etc/hosts; `shown` what it sees where, beside a machine's programs: files and
    folders by place."""

    def __init__(self, node, names, shown):
        node.pods += 1
        number = node.pods + 1
        self.address = f"{NETWORK}.{number}"
        self._root = node.folder / f"pod{number}"
        self._log = node.folder / f"pod{number}.log"
        self.process = None  # what was started last
        self._started = []
        self._network = subprocess.Popen(["unshare", "--net", "sleep", "1000"], preexec_fn=die_with_this_process)
        self._connect(number)
        self._make_root(names, shown)

    def __exit__(self, *unused):
        for process in (*self._started, self._network):
            process.kill()
            process.wait()

    def _connect(self, number):
        mine = f"/proc/{self._network.pid}/ns/net"
        give_up = time.monotonic() + PATIENCE_S
        while os.readlink(mine) == os.readlink("/proc/self/ns/net"):  # unshare has not come to it
            assert time.monotonic() < give_up, "no network namespace"
            time.sleep(0.01)
        run("ip", "link", "add", f"pod{number}", "type", "veth", "peer", "name", "eth0", "netns", self._network.pid)
        run("ip", "link", "set", f"pod{number}", "master", BRIDGE, "up")
        for words in (["addr", "add", f"{self.address}/24", "dev", "eth0"], ["link", "set", "eth0", "up"],
                      ["link", "set", "lo", "up"]):
            run("nsenter", f"--net={mine}", "ip", *words)

    def _make_root(self, names, shown):
        self._root.mkdir()
        run("mount", "-t", "tmpfs", "tmpfs", self._root)
        for name in LENT:
            if pathlib.Path("/", name).is_symlink():
                (self._root / name).symlink_to(os.readlink(f"/{name}"))
            elif pathlib.Path("/", name).exists():
                self._show(f"/{name}", name)
        self._make_etc(names)
        for place, source in sorted(shown.items()):  # a folder before what lies in it
            self._show(source, place.lstrip("/"))
        run("mount", "-o", "remount,ro", self._root)

    def _make_etc(self, names):
        etc = self._root / "etc"
        etc.mkdir()
        for name in LENT_ETC:
            if pathlib.Path("/etc", name).exists():
                shutil.copy(f"/etc/{name}", etc / name)
        (etc / "hosts").write_text("\n".join(["127.0.0.1 localhost", *names, ""]))

    def _show(self, source, place):
        source, place = pathlib.Path(source), self._root / place
        if source.is_dir():
            place.mkdir(parents=True, exist_ok=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()
        stack.bind(source, place)

    def _inside(self, command):
        return ["nsenter", f"--net=/proc/{self._network.pid}/ns/net", "chroot", str(self._root), *command]

    def start(self, container, changes=None):
        """Starts a container with its command line and environment, but for what `changes` of the latter."""
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **container.environment, **(changes or {})}
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(self._inside(container.command_line), env=environment, stdout=log,
                                            stderr=log, preexec_fn=die_with_this_process)
        self._started.append(self.process)

    def wait(self):
        """The exit code of what was started last."""
        return self.process.wait(PATIENCE_S)

    def running(self):
        return self.process.poll() is None

    def stop(self):
        self.process.terminate()
        return self.wait()

    def probe(self, probe):
        """Whether a probe passes. That of gRPC comes from the node, as the kubelet's does."""
        if "grpc" in probe:
            asked = f"{self.address}:{probe['grpc']['port']}", probe["grpc"]["service"]
            command = [sys.executable, str(pathlib.Path(__file__).parent / "health_probe.py"), *asked]
        else:
            command = self._inside(probe["exec"]["command"])
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def execute(self, *command, **options):
        return subprocess.run(self._inside(command), check=False, text=True, capture_output=True, **options)

    def log(self):
        return self._log.read_text(encoding="utf-8", errors="replace") if self._log.exists() else ""


def wait_for(what, condition, pods):
    """Waits until `condition()`; fails where one of the pods ends meanwhile, or after a while."""
    give_up = time.monotonic() + PATIENCE_S
    while not condition():
        ended = [pod for pod in pods if not pod.running()]
        if ended or time.monotonic() > give_up:
            logs = "\n".join(pod.log()[-3000:] for pod in ended or pods)
            raise TimeoutError(f"waited in vain for {what}{', as a pod has ended' if ended else ''}\n{logs}")
        time.sleep(0.1)
