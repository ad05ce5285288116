"""deploy/kubernetes as a cluster gets it: rendered by kustomize, and what its pods' containers run."""

import dataclasses
import functools
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import yaml

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
FOLDER = REPOSITORY / "deploy/kubernetes"
SKIPPED = 77  # ctest's SKIP_RETURN_CODE
# From PyPI, where deploy/setup.sh --all has put it.
TOOLS = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "thinkwire-kubernetes"
OVERLAYS = ("cpu-demo", "one-gpu", "two-variants", "two-variants with keda")
# The stage of deploy/Dockerfile that an image is built of.
STAGES = {"thinkwire-router": "router", "thinkwire-worker": "worker", "thinkwire-worker-demo": "worker-demo",
          "thinkwire-worker-cuda": "worker-cuda"}


def kustomize():
    """The command that renders a folder; ends the script where there is none."""
    if (TOOLS / "bin/kubectl").exists():
        return [TOOLS / "bin/kubectl", "kustomize"]
    for program, words in (("kustomize", ["build"]), ("kubectl", ["kustomize"])):
        if shutil.which(program):
            return [program, *words]
    print("skipped: without kustomize or kubectl (deploy/setup.sh --all)")
    sys.exit(SKIPPED)


@functools.lru_cache(maxsize=None)
def _render(overlay):
    name, _, component = overlay.partition(" with ")
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder, "kubernetes")
        shutil.copytree(FOLDER, copy)
        if component:  # as the overlay tells its reader to have it
            file = copy / f"overlays/{name}/kustomization.yaml"
            text, changed = re.subn(rf"^  # - {component}  #.*$", f"  - {component}", file.read_text(), flags=re.M)
            assert changed == 1, f"{name} does not offer {component}"
            file.write_text(text)
        return subprocess.run([*kustomize(), copy / f"overlays/{name}"], check=True, text=True,
                              stdout=subprocess.PIPE).stdout


def render(overlay):
    """All objects of an overlay."""
    return list(yaml.safe_load_all(_render(overlay)))


def of_kind(objects, *kinds):
    return [o for o in objects if o["kind"] in kinds]


def name_of(thing):
    return thing["metadata"]["name"]


def labels_of(thing):
    return thing["metadata"].get("labels", {})


def selects(selector, labels):
    """Whether a selector of matchLabels alone selects what has these labels."""
    assert set(selector) <= {"matchLabels"}, f"a selector that is not understood: {selector}"
    return selector.get("matchLabels", {}).items() <= labels.items()


@dataclasses.dataclass
class Container:
    owner: dict  # the Deployment, StatefulSet or Job
    spec: dict  # of the container
    starts_first: bool  # of initContainers

    @property
    def pod(self):
        return self.owner["spec"]["template"]["spec"]

    @property
    def where(self):
        return f"{self.owner['kind']} {name_of(self.owner)}, container {self.spec['name']}"

    @property
    def image(self):
        return self.spec["image"].partition(":")[0]

    @property
    def command(self):
        """The whole command line: that of the image where the container names none."""
        return self.spec.get("command") or entrypoint(STAGES[self.image])

    @property
    def command_line(self):
        return [*self.command, *self.spec.get("args", [])]

    @property
    def environment(self):
        """Without what comes from an optional Secret."""
        return {e["name"]: e["value"] for e in self.spec.get("env", []) if "value" in e}

    @property
    def mounts(self):
        """(mount, volume) of each."""
        volumes = {v["name"]: v for v in self.pod.get("volumes", [])}
        return [(mount, volumes[mount["name"]]) for mount in self.spec.get("volumeMounts", [])]

    @property
    def probes(self):
        return {k: self.spec[k] for k in ("startupProbe", "readinessProbe", "livenessProbe") if k in self.spec}


def containers(objects):
    for owner in of_kind(objects, "Deployment", "StatefulSet", "Job"):
        pod = owner["spec"]["template"]["spec"]
        yield from (Container(owner, c, True) for c in pod.get("initContainers", []))
        yield from (Container(owner, c, False) for c in pod["containers"])


def servers(objects):
    """The routers' and workers' containers."""
    return [c for c in containers(objects) if c.owner["kind"] != "Job" and not c.starts_first]


def entrypoint(stage):
    """The ENTRYPOINT of a stage of deploy/Dockerfile, or of what it is made from."""
    text = (REPOSITORY / "deploy/Dockerfile").read_text(encoding="utf-8")
    base, body = re.search(rf"^FROM (\S+) AS {stage}$(.*?)(?=^FROM |\Z)", text, re.M | re.S).groups()
    said = re.search(r"^ENTRYPOINT (.*)$", body, re.M)
    return json.loads(said.group(1)) if said else entrypoint(base)


@functools.lru_cache(maxsize=None)
def options(build, program):
    """The options that a program's --help names, each with its default."""
    room = "worker" if program == "thinkwire-worker" else "router"
    page = subprocess.run([pathlib.Path(build) / room / program, "--help"], check=True, text=True,
                          stdout=subprocess.PIPE).stdout
    return dict(re.findall(r"^  --(\w+)(?:=(.*))?$", page, re.M))


def settings(container):
    """What a router's or worker's options are set to, by command line and environment."""
    prefix = pathlib.Path(container.command[0]).name.upper().replace("-", "_") + "_"
    found = {k.removeprefix(prefix).lower(): v for k, v in container.environment.items() if k.startswith(prefix)}
    for word in container.spec.get("args", []):
        name, _, value = word.removeprefix("--").partition("=")
        assert word.startswith("--") and name not in found, f"{container.where}: {word}: no option, or set twice"
        found[name] = value or "true"
    return found
