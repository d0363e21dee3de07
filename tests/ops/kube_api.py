"""A Kubernetes API of our own that Helm installs into: it takes every object and runs none.

It answers what Helm's client asks before it creates something: the versions, the kinds of each group, whether an object
is there. A Job counts as finished at once, so that hooks end. What was created stands in ``objects``, in order.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Object = dict[str, Any]
#: Kinds by group and version: name of the resource, whether it lives in a namespace.
KINDS: Mapping[str, Mapping[str, str]] = {
    "v1": {
        "ConfigMap": "configmaps",
        "PersistentVolumeClaim": "persistentvolumeclaims",
        "Pod": "pods",
        "Secret": "secrets",
        "Service": "services",
    },
    "apps/v1": {"Deployment": "deployments", "StatefulSet": "statefulsets"},
    "batch/v1": {"Job": "jobs"},
    "policy/v1": {"PodDisruptionBudget": "poddisruptionbudgets"},
    "networking.k8s.io/v1": {"Ingress": "ingresses", "NetworkPolicy": "networkpolicies"},
    "keda.sh/v1alpha1": {"ScaledObject": "scaledobjects", "TriggerAuthentication": "triggerauthentications"},
    "monitoring.coreos.com/v1": {"PodMonitor": "podmonitors"},
}
_VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]


class KubeApi:
    """The objects of one cluster, by path; and those that were created, in order, without Helm's own records."""

    def __init__(self) -> None:
        self.stored: dict[str, Object] = {}
        self.objects: list[Object] = []
        self._lock = threading.Lock()

    def get(self, path: str) -> Object | None:
        """What Helm asks for before it creates: versions, kinds, an object, or a list. None: it is not there."""
        if path == "/version":
            return {"major": "1", "minor": "34", "gitVersion": "v1.34.0", "platform": "linux/amd64"}
        if path == "/api":
            return {"kind": "APIVersions", "versions": ["v1"]}
        if path == "/apis":
            return {
                "kind": "APIGroupList",
                "apiVersion": "v1",
                "groups": [_group(name) for name in KINDS if "/" in name],
            }
        kinds = KINDS.get(path.removeprefix("/apis/").removeprefix("/api/"))
        if kinds is not None:
            version = path.removeprefix("/apis/").removeprefix("/api/")
            return {
                "kind": "APIResourceList",
                "groupVersion": version,
                "resources": [_resource(*k) for k in kinds.items()],
            }
        with self._lock:
            if path in self.stored:
                return self.stored[path]
            if path.rsplit("/", 1)[-1] in {name for kinds in KINDS.values() for name in kinds.values()}:
                inside = [value for key, value in self.stored.items() if key.rpartition("/")[0] == path]
                return {"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": inside}
        return None

    def create(self, path: str, what: Object) -> Object:
        """Keep an object. A Job is finished at once."""
        if what["kind"] == "Job":
            what["status"] = {"succeeded": 1, "conditions": [{"type": "Complete", "status": "True"}]}
        what["metadata"] |= {"uid": f"uid-{len(self.stored)}", "resourceVersion": "1"}
        with self._lock:
            self.stored[f"{path}/{what['metadata']['name']}"] = what
            if not str(what.get("type", "")).startswith("helm.sh/"):
                self.objects.append(what)
        return what

    def replace(self, path: str, what: Object) -> Object:
        """Put an object in the place of the one that is there."""
        with self._lock:
            self.stored[path] = {**self.stored.get(path, {}), **what}
            return self.stored[path]

    def delete(self, path: str) -> None:
        """Forget an object, if it is there."""
        with self._lock:
            self.stored.pop(path, None)


def _group(name: str) -> Object:
    version = {"groupVersion": name, "version": name.partition("/")[2]}
    return {"name": name.partition("/")[0], "versions": [version], "preferredVersion": version}


def _resource(kind: str, name: str) -> Object:
    return {"name": name, "singularName": kind.lower(), "namespaced": True, "kind": kind, "verbs": _VERBS}


def _handler(api: KubeApi) -> type[BaseHTTPRequestHandler]:
    """The HTTP side of ``api``: what a server makes for each connection."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self, status: int, body: Object) -> None:
            self._send(status, "application/json", json.dumps(body).encode())

        def _send(self, status: int, media_type: str, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _body(self) -> Object:
            read: Object = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
            return read

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            if url.path == "/openapi/v2":  # an empty document in protobuf: no kind has a schema, so Helm checks none
                self._send(200, "application/com.github.proto-openapi.spec.v2.v1.0+protobuf", b"")
                return
            if "watch" in parse_qs(url.query):
                name = re.search(r"metadata\.name(?:%3D|=)([a-z0-9-]+)", self.path)
                found = api.get(f"{url.path}/{name[1]}") if name else None
                self._answer(200, {"type": "ADDED", "object": found or {}})
                return
            found = api.get(url.path)
            missing = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
            self._answer(200 if found is not None else 404, missing if found is None else found)

        def do_POST(self) -> None:
            self._answer(201, api.create(urlsplit(self.path).path, self._body()))

        def do_PUT(self) -> None:
            self._answer(200, api.replace(urlsplit(self.path).path, self._body()))

        do_PATCH = do_PUT

        def do_DELETE(self) -> None:
            api.delete(urlsplit(self.path).path)
            self._answer(200, {"kind": "Status", "apiVersion": "v1", "status": "Success"})

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler


@contextmanager
def kube_api() -> Iterator[tuple[KubeApi, str]]:
    """A server on a free port of this machine: its objects, and a kubeconfig that leads there."""
    api = KubeApi()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(api))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    cluster = {"name": "own", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}
    context = {"name": "own", "context": {"cluster": "own", "user": "own"}}
    config = {"apiVersion": "v1", "kind": "Config", "clusters": [cluster], "contexts": [context]}
    config |= {"current-context": "own", "users": [{"name": "own", "user": {}}]}
    try:
        yield api, json.dumps(config)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
