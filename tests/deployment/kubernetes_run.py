#!/usr/bin/python3
"""Runs every container of an overlay of deploy/kubernetes as a process, as a cluster would (pods.py): the Jobs that fetch
models, what waits for these, workers and routers. Asks their probes and a question of each variant; with TLS, has a
certificate renewed; then ends all.

Usage: kubernetes_run.py BUILD_FOLDER OVERLAY
The secrets are made by the README's own lines. The hub is one on this machine (tests/hub/fake_hub.py) that has the
bundled model by the name of each that is asked for, and a GPU is a CPU.
"""

import contextlib
import functools
import http.client
import json
import pathlib
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
import urllib.request

import stack

if __name__ == "__main__":
    stack.enter_namespaces("grpc", "yaml", programs=("ip", "nsenter", "openssl"))

import yaml  # noqa: E402

import manifests as m  # noqa: E402
import pods  # noqa: E402

sys.path.append(str(m.REPOSITORY / "tests/hub"))
import fake_hub  # noqa: E402

# A machine has no GPU, less memory and fewer cores than a node.
SMALLER = {"THINKWIRE_WORKER_DEVICE": "cpu", "THINKWIRE_WORKER_CPU_THREADS": "2",
           "THINKWIRE_WORKER_KV_CACHE_MEMORY_BYTES": "67108864"}
ROUTER = "thinkwire-router.thinkwire.svc"


def make_secrets(folder):
    """Runs the README's lines that make the secrets, with a kubectl that leaves them in folder/secrets."""
    text = (m.REPOSITORY / "README.md").read_text(encoding="utf-8")
    (lines,) = [b for b in re.findall(r"^```sh\n(.*?)^```$", text, re.M | re.S) if "create secret" in b]
    kubectl = """kubectl() {
      [[ "$*" == "create namespace thinkwire" ]] && return
      [[ "$1 $2 $3 $4 $5" == "-n thinkwire create secret generic" ]] || return
      local place=secrets/$6; mkdir -p "$place"; shift 6
      for file in "$@"; do cp "${file#--from-file=}" "$place/"; done
    }
    set -euo pipefail
    """
    folder.mkdir()
    subprocess.run(["bash", "-c", kubectl + lines], cwd=folder, check=True, stderr=subprocess.DEVNULL)


def show_secret(files, volume):
    """As the kubelet does: the volume's files are links through a folder that is swapped."""
    version = volume / f"..{time.monotonic_ns()}"
    shutil.copytree(files, version)
    (volume / "..new").symlink_to(version.name)
    (volume / "..new").rename(volume / "..data")
    for file in version.iterdir():
        if not (volume / file.name).is_symlink():
            (volume / file.name).symlink_to(f"..data/{file.name}")


class Cluster(contextlib.ExitStack):
    """An overlay's pods, and what they share."""

    def __init__(self, overlay, build):
        super().__init__()
        self.objects = m.render(overlay)
        self.node = pods.Node()
        self.made = self.node.folder / "made"
        self._programs = {f"/opt/thinkwire/bin/{name}": build / room / name for room, name in (
            ("router", "thinkwire-router"), ("router", "thinkwire-chat"), ("worker", "thinkwire-worker"))}
        self._names = []
        make_secrets(self.made)

    def make_pod(self, shown):
        return self.enter_context(pods.Pod(self.node, self._names, {**self._programs, **shown}))

    def pods_of(self, owner):
        """Makes the pods of a workload, and the name of its headless service."""
        containers = [c for c in m.containers(self.objects) if c.owner is owner]
        made = [self.make_pod(self.shown(containers)) for _ in range(owner["spec"].get("replicas", 1))]
        name = owner["spec"].get("serviceName", ROUTER)
        self._names += [f"{pod.address} {name}" for pod in made if owner["kind"] != "Job"]
        return made

    def shown(self, containers):
        """What the next pod, of these containers, sees where."""
        found = {mount["mountPath"]: self.folder_of(volume["name"], volume) for c in containers
                 for mount, volume in c.mounts}
        if containers[-1].image == "thinkwire-worker-demo":  # what its stage of deploy/Dockerfile copies
            found["/models/tiny-r1"] = m.REPOSITORY / "deploy/models/tiny-r1"
        return found

    @functools.lru_cache(maxsize=None)
    def _folder(self, kind, name):
        folder = self.node.folder / f"{kind}-{name}"
        folder.mkdir()
        if kind == "secret":
            show_secret(self.made / "secrets" / name, folder)
        if kind == "configMap":
            (config,) = [o for o in m.of_kind(self.objects, "ConfigMap") if m.name_of(o) == name]
            for file, text in config["data"].items():
                (folder / file).write_text(text, encoding="utf-8")
        return folder

    def folder_of(self, name, volume):
        """What a volume of the next pod is here: shared, but for those that are empty at first."""
        for kind, key in (("configMap", "name"), ("secret", "secretName"), ("persistentVolumeClaim", "claimName")):
            if kind in volume:
                return self._folder(kind, volume[kind][key])
        return self._folder("emptyDir", f"{self.node.pods}-{name}")

    def renew_workers_certificate(self):
        subprocess.run(["openssl", "x509", "-req", "-in", "tls.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-days", "2",
                        "-extfile", "tls.names", "-out", "tls.crt"], cwd=self.made, check=True,
                       stderr=subprocess.DEVNULL)  # tls.csr is that of the README's last turn: the worker's
        files = self.made / "secrets/thinkwire-worker-tls"
        shutil.copy(self.made / "tls.crt", files)
        show_secret(files, self._folder("secret", "thinkwire-worker-tls"))


def start_workers(cluster):
    """Starts all workers once their models are there; returns (pod, container) of each."""
    started = []
    for owner in m.of_kind(cluster.objects, "StatefulSet"):
        containers = [c for c in m.containers(cluster.objects) if c.owner is owner]
        started += [(pod, containers) for pod in cluster.pods_of(owner)]
    waiting = [pod for pod, containers in started if containers[0].starts_first]
    for pod, containers in started:
        if pod in waiting:
            pod.start(containers[0])
    fetch_models(cluster)
    for pod in waiting:
        assert pod.wait() == 0, pod.log()
    for pod, containers in started:
        pod.start(containers[-1], SMALLER)
    return [(pod, containers[-1]) for pod, containers in started]


def fetch_models(cluster):
    for job in m.of_kind(cluster.objects, "Job"):
        (container,) = [c for c in m.containers(cluster.objects) if c.owner is job]
        with hub_of(container) as hub:
            said = fetch_model(cluster, container, hub)
            assert hub.count("model.safetensors") == 2 and " already" not in said, said  # the hub's word, and the store's
            asked = len(hub.requests)
            said = fetch_model(cluster, container, hub)
            assert len(hub.requests) == asked and " already" in said, said


def hub_of(container):
    """A hub that has the model which a Job asks for, if that is of the published ones."""
    repo = container.environment["PULL_MODEL"]
    assert repo.startswith("deepseek-ai/"), repo
    folder = m.REPOSITORY / "deploy/models/tiny-r1"
    node = f"{pods.NETWORK}.1"
    return fake_hub.Hub({file.name: file.read_bytes() for file in folder.iterdir()}, repo, hosts=(node, node))


def fetch_model(cluster, container, hub):
    """Runs a Job; returns what it has said."""
    (pod,) = cluster.pods_of(container.owner)
    pod.start(container, {"HF_ENDPOINT": hub.url})
    assert pod.wait() == 0, f"{container.where}: {pod.log()}"
    return pod.log()


def start_routers(cluster):
    (owner,) = m.of_kind(cluster.objects, "Deployment")
    (container,) = [c for c in m.containers(cluster.objects) if c.owner is owner]
    made = cluster.pods_of(owner)
    for pod in made:
        pod.start(container)
    return [(pod, container) for pod in made]


def variants(cluster):
    (config,) = [o for o in m.of_kind(cluster.objects, "ConfigMap") if "router.yaml" in o["data"]]
    return [v["name"] for v in yaml.safe_load(config["data"]["router.yaml"])["variants"]]


def check_probes(started):
    everybody = [pod for pod, _ in started]
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        for pod, container in started:
            pods.wait_for(f"{name} of {container.where}", lambda p=pod, c=container: p.probe(c.probes[name]), everybody)


def check_answers(cluster, asked, secured, started):
    """A client elsewhere in the cluster asks these variants; with keys, one without is refused."""
    client = cluster.make_pod({"/client": cluster.made})
    to_router = ["/opt/thinkwire/bin/thinkwire-chat", f"--timeout_s={pods.PATIENCE_S}"]
    to_router += ["--tls_ca=/client/ca.crt"] if secured else []
    for variant in asked:
        probe = [*to_router, f"--probe={ROUTER}:50051/variant/{variant}"]
        pods.wait_for(f"variant/{variant}", lambda p=probe: client.execute(*p).returncode == 0, started)
        question = [f"--router={ROUTER}:50051", f"--variant={variant}", "--temperature=0", "What is 27+48?"]
        key = ["--api_key_file=/client/my.key"] if secured else []
        said = client.execute(*to_router, *key, *question)
        assert said.returncode == 0 and "75" in said.stdout, f"{variant}: {said.stdout} {said.stderr}"
        if secured:
            refused = client.execute(*to_router, *question)
            assert refused.returncode == 1 and "no API key" in refused.stderr, refused.stderr


def ask_by_http(cluster, pod, variant, secured):
    """What this router's door answers a client that came by the service's name."""
    connection = http.client.HTTPConnection(ROUTER, 8080)
    connection.sock = socket.create_connection((pod.address, 8080), pods.PATIENCE_S)
    headers = {"Content-Type": "application/json"}
    if secured:
        trust = ssl.create_default_context(cafile=cluster.made / "ca.crt")
        connection.sock = trust.wrap_socket(connection.sock, server_hostname=ROUTER)
        headers["Authorization"] = f"Bearer {(cluster.made / 'my.key').read_text().strip()}"
    body = {"model": variant, "temperature": 0, "messages": [{"role": "user", "content": "What is 27+48?"}]}
    with contextlib.closing(connection):
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        return connection.getresponse().read().decode()


def check_door(cluster, routers, secured):
    for pod, _ in routers:
        for variant in variants(cluster):
            said = ask_by_http(cluster, pod, variant, secured)
            assert "75" in json.loads(said)["choices"][0]["message"]["content"], said


def check_metrics(started):
    """/metrics is where the monitors look, with the series that scale workers."""
    for pod, container in started:
        (port,) = [p["containerPort"] for p in container.spec["ports"] if p["name"] == "metrics"]
        with urllib.request.urlopen(f"http://{pod.address}:{port}/metrics", timeout=pods.PATIENCE_S) as answer:
            page = answer.read().decode()
        room = "router" if container.owner["kind"] == "Deployment" else "worker"
        assert f"thinkwire_{room}_queue_seconds_bucket{{" in page, page


def check_renewal(cluster, workers):
    """A worker shows a renewed certificate, and is not started again for that."""
    pod, _ = workers[0]
    shown = functools.partial(ssl.get_server_certificate, (pod.address, 50061), timeout=pods.PATIENCE_S)
    old = shown()
    cluster.renew_workers_certificate()
    pods.wait_for("the new certificate", lambda: shown() != old, [pod for pod, _ in workers])


def main():
    build, overlay = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2]
    with Cluster(overlay, build) as cluster:
        workers = start_workers(cluster)
        routers = start_routers(cluster)
        check_probes(workers + routers)
        secured = "tls_cert" in m.settings(routers[0][1])
        started = [pod for pod, _ in workers + routers]
        check_answers(cluster, variants(cluster), secured, started)
        check_door(cluster, routers, secured)
        check_metrics(workers + routers)
        if secured:
            check_renewal(cluster, workers)
            check_answers(cluster, variants(cluster)[:1], secured, started)
        for pod, container in routers + workers:
            code = pod.stop()
            assert code == 0, f"{container.where} ended with {code}: {pod.log()}"
    print(f"{overlay}: {len(workers)} workers, {len(routers)} router, variants {', '.join(variants(cluster))}: all well")


if __name__ == "__main__":
    main()
