"""A server that speaks as much of the Hugging Face hub's protocol as pushing to it and reading from it need.

Repositories live in memory: creation, information, trees, pre-upload, large files by LFS, commits, and files by
revision. Requests without the right token get 401, as private repositories do on the hub.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

TOKEN = "hf_test"
_LARGE = 2_000  # bytes from which a file goes by LFS


@dataclass
class Repository:
    """One repository: its files at the newest commit."""

    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[str] = field(default_factory=list)
    branches: dict[str, dict[str, bytes]] = field(default_factory=dict)  # others than the main one
    gated: bool = False

    @property
    def sha(self) -> str:
        """The newest commit."""
        return hashlib.sha1(str(self.commits).encode(), usedforsecurity=False).hexdigest()

    def at(self, revision: str | None) -> tuple[str, dict[str, bytes]] | None:
        """Commit and files of a branch or commit; None where there is no such."""
        if revision in (None, "main", self.sha):
            return self.sha, self.files
        for name, files in self.branches.items():
            commit = hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()
            if revision in (name, commit):
                return commit, files
        return None


class HubServer:
    """``with HubServer() as hub``: listens at ``hub.url``. ``repositories`` by (type, id); ``blobs`` by SHA-256."""

    def __init__(self) -> None:
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.blobs: dict[str, bytes] = {}
        hub = self

        class Handler(_Handler):
            server_hub = hub

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> HubServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_hub: HubServer

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""

    def do_GET(self) -> None:
        self._route("GET")

    def do_HEAD(self) -> None:
        self._route("HEAD")

    def do_POST(self) -> None:
        self._route("POST")

    def do_PUT(self) -> None:
        self._route("PUT")

    def _route(self, method: str) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else self._chunks()
        path = unquote(urlsplit(self.path).path)
        if method != "PUT" and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._json(401, {"error": "Invalid username or password."})
            return
        for verb, pattern, act in _ROUTES:
            found = re.fullmatch(pattern, path)
            if found and verb == method.replace("HEAD", "GET"):
                act(self, body, **found.groupdict())
                return
        self._json(404, {"error": f"no such route: {path}"})

    def _chunks(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return b""
        parts = []
        while size := int(self.rfile.readline().strip() or b"0", 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _json(self, status: int, value: Any) -> None:
        self._send(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, text in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _repository(self, kind: str, repo: str) -> Repository | None:
        found = self.server_hub.repositories.get((kind, repo))
        if found is None:
            data = json.dumps({"error": "Repository not found"}).encode()
            self._send(404, data, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
        return found

    def create(self, body: bytes) -> None:
        """POST /api/repos/create"""
        asked = json.loads(body)
        kind = asked.get("type") or "model"
        repo = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
        url = f"{self.server_hub.url}/{'datasets/' if kind == 'dataset' else ''}{repo}"
        if (kind, repo) in self.server_hub.repositories:
            self._json(409, {"error": "You already created this repo", "url": url})
            return
        self.server_hub.repositories[kind, repo] = Repository(
            bool(asked.get("private")) or asked.get("visibility") == "private"
        )
        self._json(200, {"url": url, "id": repo})

    def validate(self, body: bytes) -> None:
        """POST /api/validate-yaml: the head of a card"""
        head = yaml.safe_load(json.loads(body)["content"].split("---")[1])
        errors = [] if isinstance(head, dict) else [{"message": "the head is no mapping"}]
        self._json(400 if errors else 200, {"errors": errors, "warnings": []})

    def info(self, _body: bytes, kind: str, repo: str, revision: str | None = None) -> None:
        """GET /api/datasets/{repo}[/revision/{revision}]"""
        found = self._repository(kind[:-1], repo)
        if found is None:
            return
        if found.gated:
            self._send(403, b"", {"X-Error-Code": "GatedRepo", "X-Error-Message": "You are not admitted"})
            return
        there = found.at(revision)
        if there is None:
            self._send(404, b"", {"X-Error-Code": "RevisionNotFound", "X-Error-Message": "Invalid rev id"})
            return
        commit, files = there
        siblings = [{"rfilename": name, "size": len(data)} for name, data in sorted(files.items())]
        head = found.files.get("README.md", b"").decode().split("---")
        card = yaml.safe_load(head[1]) if len(head) > 2 else None
        told = {"id": repo, "private": found.private, "sha": commit, "siblings": siblings, "tags": [], "cardData": card}
        self._json(200, {**told, "downloads": 0, "likes": 0, "gated": False, "disabled": False})

    def tree(self, _body: bytes, kind: str, repo: str, revision: str, below: str | None = None) -> None:
        """GET /api/datasets/{repo}/tree/{revision}[/{folder}]"""
        found = self._repository(kind[:-1], repo)
        if found is None:
            return
        names = [name for name in sorted(found.files) if not below or name.startswith(below.strip("/") + "/")]
        rows = [
            {"type": "file", "path": name, "size": len(found.files[name]), "oid": _sha1(found.files[name])}
            for name in names
        ]
        self._json(200, rows)

    def preupload(self, body: bytes, kind: str, repo: str, revision: str) -> None:
        """POST .../preupload/{revision}: which files go by LFS"""
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["size"] >= _LARGE else "regular",
                "shouldIgnore": False,
                "oid": None,
            }
            for file in json.loads(body)["files"]
        ]
        if self._repository(kind[:-1], repo) is not None:
            self._json(200, {"files": files})

    def lfs(self, body: bytes, repo: str) -> None:
        """POST {repo}.git/info/lfs/objects/batch: an address for every large file that is not there yet"""
        objects = [
            {
                **{key: wanted[key] for key in ("oid", "size")},
                **(
                    {}
                    if wanted["oid"] in self.server_hub.blobs
                    else {"actions": {"upload": {"href": f"{self.server_hub.url}/lfs/{wanted['oid']}"}}}
                ),
            }
            for wanted in json.loads(body)["objects"]
        ]
        self._json(200, {"transfer": "basic", "objects": objects})

    def put(self, body: bytes, oid: str) -> None:
        """PUT /lfs/{sha256}"""
        if hashlib.sha256(body).hexdigest() != oid:
            self._json(422, {"error": "wrong content"})
            return
        self.server_hub.blobs[oid] = body
        self._send(200, b"", {})

    def commit(self, body: bytes, kind: str, repo: str, revision: str) -> None:
        """POST .../commit/{revision}: one JSON line for each change"""
        found = self._repository(kind[:-1], repo)
        if found is None:
            return
        lines = [json.loads(line) for line in body.splitlines() if line]
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                found.commits.append(value["summary"])
            elif line["key"] == "file":
                found.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                found.files[value["path"]] = self.server_hub.blobs[value["oid"]]
            elif line["key"] == "deletedFile":
                del found.files[value["path"]]
        at = f"{self.server_hub.url}/{kind}/{repo}/commit/{found.sha}"
        self._json(200, {"success": True, "commitOid": found.sha, "commitUrl": at, "hookOutput": ""})

    def resolve(self, _body: bytes, repo: str, revision: str, path: str, kind: str = "models") -> None:
        """GET or HEAD /datasets/{repo}/resolve/{revision}/{path}"""
        found = self._repository(kind[:-1], repo)
        if found is None:
            return
        commit, files = found.at(revision) or (found.sha, found.files)
        if path not in files:
            self._send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
            return
        data = files[path]
        self._send(200, data, {"ETag": f'"{_sha1(data)}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"})


def _sha1(data: bytes) -> str:
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


_KIND, _REPO = r"(?P<kind>datasets|models)", r"(?P<repo>[^/]+/[^/]+)"
_ROUTES: list[tuple[str, str, Any]] = [
    ("POST", r"/api/repos/create", _Handler.create),
    ("POST", r"/api/validate-yaml", _Handler.validate),
    ("GET", rf"/api/{_KIND}/{_REPO}(?:/revision/(?P<revision>refs/convert/[^/]+|[^/]+))?", _Handler.info),
    ("GET", rf"/api/{_KIND}/{_REPO}/tree/(?P<revision>[^/]+)(?:/(?P<below>.*))?", _Handler.tree),
    ("POST", rf"/api/{_KIND}/{_REPO}/preupload/(?P<revision>[^/]+)", _Handler.preupload),
    ("POST", rf"/api/{_KIND}/{_REPO}/commit/(?P<revision>[^/]+)", _Handler.commit),
    ("POST", r"/(?:datasets/)?(?P<repo>[^/]+/[^/]+)\.git/info/lfs/objects/batch", _Handler.lfs),
    ("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})", _Handler.put),
    ("GET", rf"/(?P<kind>datasets)/{_REPO}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", _Handler.resolve),
    ("GET", rf"/{_REPO}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", _Handler.resolve),
]
