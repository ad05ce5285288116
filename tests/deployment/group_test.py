#!/usr/bin/python3
"""What deploy/kubernetes/overlays/group promises, told from its text: its pods' ranks are those of one group, they find
each other and nobody else finds them, and its pods are what Kubernetes' schemas know.

The LeaderWorkerSet's own fields are held against what its API, leaderworkerset.x-k8s.io/v1, has; no controller runs.

Usage: group_test.py BUILD_FOLDER
"""

import re
import sys
import unittest

import kubernetes_rules as rules
import kubernetes_schemas as schemas
import manifests as m

OVERLAY = "group"
SPEC = {"replicas", "startupPolicy", "rolloutStrategy", "networkConfig", "leaderWorkerTemplate"}
TEMPLATE = {"size", "restartPolicy", "leaderTemplate", "workerTemplate", "subGroupPolicy", "volumeClaimTemplates"}
POD = ("thinkwire", {"app.kubernetes.io/name": "thinkwire-group"})


def group():
    (found,) = m.of_kind(m.render(OVERLAY), "LeaderWorkerSet")
    return found


def pods():
    """The containers of leader and follower, in this order."""
    for name in ("leaderTemplate", "workerTemplate"):
        template = group()["spec"]["leaderWorkerTemplate"][name]
        owner = {"kind": name, "metadata": {"name": "group"}, "spec": {"template": template}}
        (container,) = template["spec"]["containers"]
        yield m.Container(owner, container, False)


class Group(unittest.TestCase):
    def test_its_fields_are_the_apis(self):
        spec = group()["spec"]
        self.assertEqual(group()["apiVersion"], "leaderworkerset.x-k8s.io/v1")
        self.assertLessEqual(spec.keys(), SPEC)
        self.assertLessEqual(spec["leaderWorkerTemplate"].keys(), TEMPLATE)
        self.assertEqual(spec["leaderWorkerTemplate"]["size"], len(list(pods())))
        # The leader is ready once its followers are: they may not wait for that. Who is left of a group ends.
        self.assertEqual(spec["startupPolicy"], "LeaderCreated")
        self.assertEqual(spec["leaderWorkerTemplate"]["restartPolicy"], "RecreateGroupOnPodRestart")

    def test_its_ranks_are_one_groups(self):
        ranks = []
        for pod in pods():
            said = m.settings(pod)
            self.assertLessEqual(set(said), set(m.options(rules.BUILD, "thinkwire-worker")))
            first, last = map(int, said["ranks"].split("-"))
            ranks += range(first, last + 1)
            self.assertEqual(pod.spec["resources"]["limits"]["nvidia.com/gpu"], last + 1 - first)
        self.assertEqual(ranks, list(range(int(m.settings(next(pods()))["tensor_parallel_size"]))))

    def test_its_options_differ_in_ranks_and_leader_alone(self):
        leader, follower = map(m.settings, pods())
        self.assertEqual({k for k in leader if leader[k] != follower[k]}, {"ranks", "leader"})
        self.assertEqual(leader.keys(), follower.keys())

    def test_its_followers_find_the_leader(self):
        leader, follower = pods()
        port = m.settings(leader)["leader"].removeprefix("0.0.0.0:")
        self.assertIn(int(port), [p["containerPort"] for p in leader.spec["ports"]])
        self.assertEqual(m.settings(follower)["leader"], f"$(LWS_LEADER_ADDRESS):{port}")
        (service,) = m.of_kind(m.render(OVERLAY), "Service")
        chosen = [service["spec"]["selector"].items() <= m.labels_of(p.owner["spec"]["template"]).items() for p in pods()]
        self.assertEqual(chosen, [True, False])

    def test_its_token_is_mounted(self):
        for pod in pods():
            file = m.settings(pod)["group_token_file"]
            self.assertIn("thinkwire-group", [v["secret"]["secretName"] for mount, v in pod.mounts
                                              if "secret" in v and file.startswith(mount["mountPath"] + "/")])

    def test_its_pods_are_as_workers_are(self):
        (worker,) = [c for c in m.servers(m.render("one-gpu")) if c.owner["kind"] == "StatefulSet"]
        for pod in pods():
            self.assertEqual(pod.image, worker.image)
            self.assertEqual(pod.spec["securityContext"], worker.spec["securityContext"])
            for key in ("securityContext", "automountServiceAccountToken", "enableServiceLinks",
                        "terminationGracePeriodSeconds"):
                self.assertEqual(pod.pod[key], worker.pod[key], key)
            self.assertEqual({p["grpc"]["service"] for p in pod.probes.values()}, rules.HEALTH_NAMES)

    def test_who_reaches_it(self):
        policies = m.of_kind(m.render("one-gpu") + m.render(OVERLAY), "NetworkPolicy")
        who = rules.WhoReachesWhom
        everybody = [who.ROUTER, who.WORKER, who.PROMETHEUS, who.CLIENT, who.NEIGHBOUR, who.IMPOSTOR, POD]
        for port, sources in ((50061, [who.ROUTER, POD]), (9402, [who.PROMETHEUS, POD]), (50071, [POD]), (40000, [POD])):
            found = [p for p in everybody if who().reaches(policies, p, POD, port)]
            self.assertEqual(found, sources, port)
        self.assertTrue(who().reaches(policies, POD, who.DNS, 53, "UDP"))
        self.assertFalse(who().reaches(policies, POD, who.CLIENT, 443))
        self.assertFalse(who().reaches(policies, who.ROUTER, who.CLIENT, 443))

    def test_kubernetes_knows_its_pods(self):
        for version in schemas.VERSIONS:
            folder = schemas.schemas() / f"v{version}.0-local-strict"
            for pod in pods():
                thing = {"apiVersion": "v1", "kind": "Pod", **pod.owner["spec"]["template"]}
                thing["metadata"] = {"name": "pod", **thing["metadata"]}
                self.assertEqual(schemas.faults(folder, thing), [])
            for thing in m.of_kind(m.render(OVERLAY), "Service", "NetworkPolicy"):
                self.assertEqual(schemas.faults(folder, thing), [])

    def test_a_fault_is_found(self):
        folder = schemas.schemas() / f"v{schemas.VERSIONS[0]}.0-local-strict"
        wrong = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": {"containers": [{"nam": "x"}]}}
        self.assertTrue(schemas.faults(folder, wrong))

    def test_the_readme_names_it(self):
        text = (m.REPOSITORY / "README.md").read_text(encoding="utf-8")
        self.assertTrue(re.search(r"`overlays/group`", text))


if __name__ == "__main__":
    m.kustomize()
    unittest.main()
