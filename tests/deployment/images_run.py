#!/usr/bin/python3
"""Builds images of deploy/Dockerfile with a container engine, and runs router and worker from them as compose.yaml and
deploy/kubernetes do: not as root, without capabilities, on a read-only root. Asks by gRPC and HTTP, and ends both while an
answer is under way.

Usage: images_run.py [ENGINE [BUILD_OPTION…]]   ENGINE: docker, where none is named, or podman
For hands, as CI has no container engine.
"""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
ENGINE = sys.argv[1] if len(sys.argv) > 1 else "docker"
PATIENCE_S = 60
CHAT = "/opt/thinkwire/bin/thinkwire-chat"
CONFIG = 'variants:\n  - name: tiny-r1\n    workers: ["worker:50061"]\n'
# Podman would lay a writable folder over /tmp, /run and /var/tmp of a read-only root, which Docker does not.
STRICT = ["--detach", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges",
          *(["--read-only-tmpfs=false"] if "podman" in ENGINE else [])]


def engine(*words, **options):
    return subprocess.run([ENGINE, *words], text=True, stdout=subprocess.PIPE, **{"check": True, **options})


def wait_for(what, condition):
    give_up = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up, f"waited in vain for {what}"
        time.sleep(0.1)


def build(target):
    """The name of an image of that target, which says by labels what it is and whose it runs as."""
    image = f"thinkwire-{target}:trial"
    engine("build", "-f", REPOSITORY / "deploy/Dockerfile", "--target", target, "-t", image, "--build-arg", "COMMIT=trial",
           *sys.argv[2:], REPOSITORY)
    (said,) = json.loads(engine("image", "inspect", image).stdout)
    assert said["Config"]["User"] == "65532:65532", said["Config"]
    labels = {k.rpartition(".")[2]: v for k, v in said["Config"]["Labels"].items()}
    assert labels["title"] == "Thinkwire" and labels["revision"] == "trial", labels
    print(f"{image}: {said['Size'] / 1e6:.0f} MB with what it is made from")
    return image


class Trial(contextlib.ExitStack):
    """A router and a worker on a network of their own, by these names."""

    def __init__(self, router, worker):
        super().__init__()
        self._router, self._worker = router, worker
        self.network = f"thinkwire-trial-{os.getpid()}"
        self.door = ""  # its address on this host

    def start(self):
        engine("network", "create", self.network)
        self.callback(engine, "network", "rm", self.network, check=False)
        file = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()), "router.yaml")
        file.parent.chmod(0o755)
        file.write_text(CONFIG)
        self._start("worker", self._worker, [],
                    ["--model=/models/tiny-r1", "--device=cpu", "--cpu_threads=1", "--listen=worker:50061",
                     "--insecure_listen", "--metrics_listen=worker:9402"])
        self._start("router", self._router, ["-p", "127.0.0.1::8080", "-v", f"{file}:/etc/thinkwire/router.yaml:ro"],
                    ["--config=/etc/thinkwire/router.yaml", "--listen=router:50051", "--insecure_listen",
                     "--http_listen=router:8080", "--metrics_listen=router:9401"])
        wait_for("a router with a worker", lambda: self.probe("router", 50051) == 0)
        self.door = engine("port", self.name("router"), "8080").stdout.split()[0]

    def __exit__(self, kind, *rest):
        for service in ("worker", "router") if kind else ():
            print(engine("logs", self.name(service), check=False, stderr=subprocess.STDOUT).stdout)
        return super().__exit__(kind, *rest)

    def name(self, service):
        return f"{self.network}-{service}"

    def _start(self, service, image, options, arguments):
        self.callback(engine, "rm", "-f", self.name(service), check=False, stderr=subprocess.DEVNULL)
        engine("run", *STRICT, f"--name={self.name(service)}", f"--hostname={service}", f"--network={self.network}",
               f"--network-alias={service}", *options, image, *arguments)

    def probe(self, service, port):
        return engine("exec", self.name(service), CHAT, f"--probe={service}:{port}/readiness", check=False,
                      stderr=subprocess.DEVNULL).returncode

    def chat(self, question):
        """What a client in a container of its own is told."""
        return engine("run", "--rm", f"--network={self.network}", f"--entrypoint={CHAT}", self._router,
                      "--router=router:50051", "--temperature=0", question, stderr=subprocess.DEVNULL).stdout

    def post(self, question, **fields):
        body = {"model": "auto", "temperature": 0, "messages": [{"role": "user", "content": question}], **fields}
        return urllib.request.urlopen(urllib.request.Request(
            f"http://{self.door}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}),
            timeout=PATIENCE_S)


def check_confined(trial):
    for service in ("router", "worker"):
        said = engine("exec", trial.name(service), "/bin/sh", "-c",
                      "id -u; touch /models/x /tmp/x 2>&1; grep -E '^(CapBnd|NoNewPrivs):' /proc/1/status").stdout
        assert said.split("\n")[0] == "65532" and said.count("Read-only file system") == 2, said
        assert "CapBnd:\t0000000000000000" in said and "NoNewPrivs:\t1" in said, said


def check_drain(trial):
    """Both are asked to end while an answer runs: it comes whole, and they end well."""
    came = []  # when each line of the stream did, and the line
    stream = trial.post("What is 27+48?", stream=True, n=4, ignore_eos=True, max_tokens=3500)

    def read():
        for line in stream:
            came.append((time.monotonic(), line))
    reader = threading.Thread(target=read)
    reader.start()
    wait_for("the answer to begin", lambda: came)
    stop = subprocess.Popen([ENGINE, "stop", "-t", "60", trial.name("worker"), trial.name("router")])
    wait_for("the worker to drain", lambda: trial.probe("worker", 50061) != 0)
    draining = time.monotonic()
    reader.join()
    assert stop.wait(PATIENCE_S) == 0
    last, _ = came[-1]
    assert last > draining, f"the answer was over {draining - last:.1f} s before the worker drained"
    assert [line for _, line in came if line.strip()][-1] == b"data: [DONE]\n", came[-3:]
    for service in ("worker", "router"):
        code = engine("inspect", trial.name(service), "--format", "{{.State.ExitCode}}").stdout.strip()
        assert code == "0", f"{service} ended with {code}"
    print(f"drained while an answer ran {last - draining:.1f} s longer")


def main():
    with Trial(build("router"), build("worker-demo")) as trial:
        trial.start()
        check_confined(trial)
        said = trial.chat("What is 27+48?")
        assert "75" in said, said
        with trial.post("What is 27+48?") as answer:
            assert "75" in json.load(answer)["choices"][0]["message"]["content"]
        check_drain(trial)
    print("built, confined, asked by gRPC and HTTP, drained")


if __name__ == "__main__":
    main()
