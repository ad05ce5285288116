#!/usr/bin/env python3
"""Makes the Helm chart of deploy/kubernetes/helm from the overlay one-gpu, so that both say the same.

Usage: make_chart.py [--check]   writes helm/templates and helm/values.yaml; --check: fails where they are not as they would
be written. Needs kubectl or kustomize, and PyYAML. Environment: KUSTOMIZE, the command that renders a folder.
"""
import copy
import os
import pathlib
import shlex
import shutil
import subprocess
import sys

import yaml

FOLDER = pathlib.Path(__file__).resolve().parent
OVERLAY = FOLDER / "overlays/one-gpu"
CHART = FOLDER / "helm"
MONITORS = {"ServiceMonitor", "PodMonitor"}
HEADER = "# Made by deploy/kubernetes/make_chart.py from overlays/one-gpu; change that.\n"


def kustomize():
    if "KUSTOMIZE" in os.environ:
        return shlex.split(os.environ["KUSTOMIZE"])
    return ["kustomize", "build"] if shutil.which("kustomize") else ["kubectl", "kustomize"]


def render():
    text = subprocess.run([*kustomize(), OVERLAY], check=True, text=True, stdout=subprocess.PIPE).stdout
    return list(yaml.safe_load_all(text))


class Marks:
    """Words that stand for template expressions until the YAML is text."""

    def __init__(self):
        self.expressions = {}

    def __call__(self, expression):
        mark = f"MARK{len(self.expressions)}KRAM"
        self.expressions[mark] = "{{ " + expression + " }}"
        return mark

    def replace(self, text):
        for mark, expression in self.expressions.items():
            text = text.replace(mark, expression)
        return text


def containers(thing):
    pod = thing.get("spec", {}).get("template", {}).get("spec", {})
    return pod.get("initContainers", []) + pod.get("containers", [])


def variable(container, name):
    return next((entry for entry in container.get("env", []) if entry["name"] == name), None)


def set_variable(container, name, value):
    """Where the container has that variable."""
    entry = variable(container, name)
    if entry:
        entry["value"] = value


def image_key(image):
    return "router" if image.startswith("thinkwire-router") else "worker"


def values_of(objects):
    """What an installation changes, as the overlay has it."""
    def one(kind, name):
        return next(o for o in objects if o["kind"] == kind and o["metadata"]["name"].startswith(name))

    router, worker, job = one("Deployment", "thinkwire-router"), one("StatefulSet", "thinkwire-worker"), one("Job", "thinkwire-pull")
    config = one("ConfigMap", "thinkwire-router")["data"]["router.yaml"]
    serving = containers(worker)[-1]
    pull = containers(job)[0]
    return {
        "images": {"router": containers(router)[0]["image"], "worker": serving["image"]},
        "model": {"repo": variable(pull, "PULL_MODEL")["value"], "revision": variable(pull, "PULL_REVISION")["value"],
                  "folder": variable(pull, "PULL_FOLDER")["value"]},
        "worker": {"replicas": worker["spec"]["replicas"],
                   "gpus": serving["resources"]["limits"]["nvidia.com/gpu"]},
        "volume": {"size": one("PersistentVolumeClaim", "")["spec"]["resources"]["requests"]["storage"],
                   "storageClass": ""},
        "http": {"hosts": variable(containers(router)[0], "THINKWIRE_ROUTER_HTTP_HOSTS")["value"]},
        "monitoring": {"enabled": True},
        "routerConfig": config,
    }


def put_marks(thing, mark):
    """`thing` with expressions where values belong."""
    thing = copy.deepcopy(thing)
    thing["metadata"]["namespace"] = mark(".Release.Namespace")
    for container in containers(thing):
        container["image"] = mark(f".Values.images.{image_key(container['image'])} | quote")
        for name, key in (("PULL_MODEL", "repo"), ("PULL_REVISION", "revision"), ("PULL_FOLDER", "folder"),
                          ("THINKWIRE_WORKER_MODEL", "folder")):
            set_variable(container, name, mark(f".Values.model.{key} | quote"))
        set_variable(container, "THINKWIRE_ROUTER_HTTP_HOSTS", mark(".Values.http.hosts | quote"))
        limits = container.get("resources", {}).get("limits", {})
        if "nvidia.com/gpu" in limits:
            limits["nvidia.com/gpu"] = mark(".Values.worker.gpus")
            set_variable(container, "THINKWIRE_WORKER_TENSOR_PARALLEL_SIZE", mark(".Values.worker.gpus | quote"))
    kind, name = thing["kind"], thing["metadata"]["name"]
    if kind == "StatefulSet":
        thing["spec"]["replicas"] = mark(".Values.worker.replicas")
    if kind == "PersistentVolumeClaim":
        thing["spec"]["resources"]["requests"]["storage"] = mark(".Values.volume.size | quote")
        thing["spec"]["storageClassName"] = mark(".Values.volume.storageClass | default nil")
    if kind == "Job":  # which cannot be changed: another model is another Job
        thing["metadata"]["name"] = name + mark('printf "-%s" (printf "%s@%s" .Values.model.repo .Values.model.revision | '
                                               'sha256sum | trunc 8)')
    return thing


def config_volume(thing, mark):
    """The router's ConfigMap under one name; a pod knows by an annotation that it has changed."""
    for volume in thing["spec"]["template"]["spec"].get("volumes", []):
        if volume.get("configMap", {}).get("name", "").startswith("thinkwire-router-"):
            volume["configMap"]["name"] = "thinkwire-router"
    annotations = thing["spec"]["template"]["metadata"].setdefault("annotations", {})
    annotations["checksum/config"] = mark(".Values.routerConfig | sha256sum")
    return thing


def template(thing):
    mark = Marks()
    thing = put_marks(thing, mark)
    if thing["kind"] == "Deployment":
        thing = config_volume(thing, mark)
    if thing["kind"] == "ConfigMap" and "router.yaml" in thing["data"]:
        thing["metadata"]["name"] = "thinkwire-router"
        thing["data"]["router.yaml"] = mark(".Values.routerConfig | quote")
    text = mark.replace(yaml.safe_dump(thing, sort_keys=False, width=1000))
    # Nothing where no class is wanted, which is another thing than the empty one.
    text = text.replace("  storageClassName: {{ .Values.volume.storageClass | default nil }}\n",
                        "{{- with .Values.volume.storageClass }}\n  storageClassName: {{ . | quote }}\n{{- end }}\n")
    if thing["kind"] in MONITORS:
        return HEADER + "{{- if .Values.monitoring.enabled }}\n" + text + "{{- end }}\n"
    return HEADER + text


COMMENTS = {
    "images": "Push them to a registry of yours, and name it here.",
    "model": "What the Job brings, and where in the volume; the folder's name is the variant's in routerConfig.",
    "worker": "How many pods, and over how many GPUs each shares the model (the limit nvidia.com/gpu and --tensor_parallel_size).",
    "volume": "ReadWriteMany, if workers are on several nodes. An empty class is the cluster's own choice.",
    "http": "Names by which clients reach the HTTP door; another namespace, or an Ingress, has others.",
    "monitoring": "ServiceMonitor and PodMonitor, where there is a Prometheus operator.",
    "routerConfig": "The router's variants, as the README has them.",
}


def values_text(values):
    parts = [HEADER]
    for key, value in values.items():
        text = yaml.safe_dump({key: value}, sort_keys=False, width=1000)
        if isinstance(value, str):
            text = f"{key}: |\n" + "".join(f"  {line}\n" for line in value.splitlines())
        parts.append(f"\n# {COMMENTS[key]}\n" + text)
    return "".join(parts)


def files():
    """Path below the chart -> text."""
    objects = [o for o in render() if o["kind"] != "Namespace"]
    out = {"values.yaml": values_text(values_of(objects))}
    for thing in objects:
        name = thing["metadata"]["name"]
        stem = "thinkwire-router" if thing["kind"] == "ConfigMap" and "router.yaml" in thing["data"] else name
        out[f"templates/{thing['kind'].lower()}-{stem.removeprefix('thinkwire-')}.yaml"] = template(thing)
    return out


def main():
    wanted = files()
    there = {str(p.relative_to(CHART)): p.read_text() for p in [CHART / "values.yaml", *CHART.glob("templates/*.yaml")] if p.exists()}
    if "--check" in sys.argv[1:]:
        changed = sorted(p for p in wanted.keys() | there.keys() if wanted.get(p) != there.get(p))
        for path in changed:
            print(f"helm/{path}: not as deploy/kubernetes/make_chart.py makes it")
        return 1 if changed else 0
    shutil.rmtree(CHART / "templates", ignore_errors=True)
    for path, text in wanted.items():
        (CHART / path).parent.mkdir(parents=True, exist_ok=True)
        (CHART / path).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
