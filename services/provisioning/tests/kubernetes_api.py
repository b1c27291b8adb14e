"""A small stand-in for a Kubernetes API server: real HTTP, server-side apply with managers, conflicts and dry runs.

No controllers run in it, but that it removes what may go, and establishes the kinds that definitions define after some
more requests. The tests that use it run against a real API server too, where there is one, which keeps it honest.
"""

import copy
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import uuid4

from services.provisioning.tests.kubernetes_fields import Conflicts, applied, leaves, updated

TOKEN = "canary-token-of-the-cluster"
WEAK = "canary-token-of-nobody"
APPLY, MERGE = "application/apply-patch+yaml", "application/merge-patch+json"
KINDS = {
    "v1": {
        **{"ConfigMap": ("configmaps", True), "Secret": ("secrets", True), "Pod": ("pods", True)},
        **{"Service": ("services", True), "Namespace": ("namespaces", False)},
    },
    "apps/v1": {"Deployment": ("deployments", True)},
    "batch/v1": {"Job": ("jobs", True)},
    "rbac.authorization.k8s.io/v1": {"ClusterRole": ("clusterroles", False)},
    "apiextensions.k8s.io/v1": {"CustomResourceDefinition": ("customresourcedefinitions", False)},
}
_PATH = re.compile(
    r"/(?:api/(v1)|apis/([^/]+/[^/]+))(?:/namespaces/([^/]+)(?=/))?(?:/([^/]+))?(?:/([^/]+))?(/status)?\Z"
)
Key = tuple[str, str | None, str]


class Problem(Exception):
    def __init__(self, code: int, reason: str, message: str, causes: list[dict[str, str]] | None = None) -> None:
        details = {"details": {"causes": causes}} if causes else {}
        status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, **details}
        self.code, self.body = code, {**status, "reason": reason, "message": message}


@dataclass
class Asked:
    method: str
    path: str
    query: dict[str, str]
    content_type: str | None
    body: Any

    @property
    def writes(self) -> bool:
        return self.method != "GET" and "dryRun" not in self.query


@dataclass
class Api:
    """Runs while it is entered."""

    asked: list[Asked] = field(default_factory=list)
    objects: dict[Key, dict[str, Any]] = field(default_factory=dict)
    broken: list[int] = field(default_factory=list)
    """Codes with which the next requests fail."""
    _version: int = 0
    _definitions: dict[str, int] = field(default_factory=dict)
    _turn: threading.RLock = field(default_factory=threading.RLock)

    def __enter__(self) -> Self:
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1

            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                raw = self.rfile.read(length)
                parts = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                body = json.loads(raw) if raw else None
                one = Asked(self.command, unquote(parts.path), query, self.headers.get("Content-Type"), body)
                code, answer = api.take(one, self.headers.get("Authorization", ""))
                sent = json.dumps(answer).encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(sent)))
                self.end_headers()
                self.wfile.write(sent)

            do_GET = do_PATCH = do_DELETE = answer  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.objects["namespaces", None, "default"] = _new({"apiVersion": "v1", "kind": "Namespace"}, "default")
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def kubeconfig(self, token: str = TOKEN) -> str:
        return json.dumps(
            {
                "current-context": "here",
                "contexts": [{"name": "here", "context": {"cluster": "here", "user": "here"}}],
                "clusters": [{"name": "here", "cluster": {"server": self.url}}],
                "users": [{"name": "here", "user": {"token": token}}],
            }
        )

    @property
    def writes(self) -> list[Asked]:
        return [one for one in self.asked if one.writes]

    def take(self, one: Asked, login: str) -> tuple[int, Any]:
        with self._turn:
            self.asked.append(one)
            try:
                if self.broken:
                    raise Problem(self.broken.pop(0), "InternalError", "it is broken")
                if login == f"Bearer {WEAK}":
                    raise Problem(403, "Forbidden", f'User "weak" cannot {one.method.lower()} at the cluster scope')
                if login != f"Bearer {TOKEN}":
                    raise Problem(401, "Unauthorized", "Unauthorized")
                self._settle()
                return 200, self._answer(one)
            except Problem as problem:
                return problem.code, problem.body

    def _answer(self, one: Asked) -> Any:
        match = _PATH.match(one.path)
        if match is None:
            raise Problem(404, "NotFound", "the server could not find the requested resource")
        version, namespace, plural, name, status = match[1] or match[2], *match.group(3, 4, 5, 6)
        kinds = self._kinds(version)
        if not kinds:
            raise Problem(404, "NotFound", "the server could not find the requested resource")
        if plural is None:
            listed = [{"name": p, "kind": kind, "namespaced": n} for kind, (p, n) in kinds.items()]
            return {"kind": "APIResourceList", "groupVersion": version, "resources": listed}
        if plural not in {known for known, _ in kinds.values()}:
            raise Problem(404, "NotFound", "the server could not find the requested resource")
        if name is None:
            return {"kind": "List", "items": [o for k, o in self.objects.items() if k[:2] == (plural, namespace)]}
        key = (plural, namespace, name)
        if one.method != "PATCH" and key not in self.objects:
            raise Problem(404, "NotFound", f'{plural} "{name}" not found')
        if one.method == "GET":
            return self.objects[key]
        if one.method == "DELETE":
            return self._delete(key, one.body or {})
        return self._patch(key, one, "status" if status else "")

    def _kinds(self, version: str) -> dict[str, tuple[str, bool]]:
        kinds = dict(KINDS.get(version, {}))
        for name, waits in self._definitions.items():
            spec = self.objects["customresourcedefinitions", None, name]["spec"]
            if waits <= 0 and version in {f"{spec['group']}/{one['name']}" for one in spec["versions"]}:
                kinds[spec["names"]["kind"]] = (spec["names"]["plural"], spec["scope"] == "Namespaced")
        return kinds

    def _patch(self, key: Key, one: Asked, part: str) -> Any:
        plural, namespace, name = key
        live = self.objects.get(key)
        if namespace is not None and ("namespaces", None, namespace) not in self.objects:
            raise Problem(404, "NotFound", f'namespaces "{namespace}" not found')
        if one.content_type == APPLY:
            fresh = _new(one.body, name, namespace)
            try:
                result = applied(
                    live or fresh, one.body, one.query["fieldManager"], force=one.query.get("force") == "true"
                )
            except Conflicts as conflicts:
                causes = [
                    {"reason": "FieldManagerConflict", "message": f'conflict with "{manager}"', "field": _dotted(path)}
                    for manager, path in conflicts.args[0]
                ]
                told = f"Apply failed with {len(causes)} conflicts"
                raise Problem(409, "Conflict", told, causes) from None
        elif one.content_type == MERGE and live is not None:
            merged = _merged(copy.deepcopy(live), {"status": one.body["status"]} if part else one.body)
            result = updated(live, merged, one.query.get("fieldManager", "unknown"))
        else:
            raise Problem(415, "UnsupportedMediaType", f"not {one.content_type}")
        _default(result)
        _validate(result, live)
        if "dryRun" in one.query:
            return result
        if live is None or _without_version(result) != _without_version(live):
            self._version += 1
            result["metadata"]["resourceVersion"] = str(self._version)
            if "spec" in result and result.get("spec") != (live or {}).get("spec"):
                result["metadata"]["generation"] = result["metadata"].get("generation", 0) + 1
            self.objects[key] = result
            if plural == "customresourcedefinitions":
                self._definitions.setdefault(name, 4)
        return result

    def _delete(self, key: Key, options: dict[str, Any]) -> Any:
        live = self.objects[key]
        uid = options.get("preconditions", {}).get("uid")
        if uid not in (None, live["metadata"]["uid"]):
            raise Problem(409, "Conflict", f"the UID in the precondition ({uid}) does not match")
        live["metadata"].setdefault("deletionTimestamp", "2026-05-01T12:00:00Z")
        self._settle()
        return live

    def _settle(self) -> None:
        """What may go goes; a namespace once nothing is left in it; kinds are established after a while."""
        for key, live in list(self.objects.items()):
            if "deletionTimestamp" not in live["metadata"] or live["metadata"].get("finalizers"):
                continue
            inner = [other for other in self.objects if other[1] == key[2]] if key[0] == "namespaces" else []
            for other in inner:
                self.objects[other]["metadata"].setdefault("deletionTimestamp", "2026-05-01T12:00:00Z")
            if not inner:
                del self.objects[key]
                self._definitions.pop(key[2], None)
        for name in self._definitions:
            self._definitions[name] -= 1
            if self._definitions[name] == 0:
                conditions = [{"type": "Established", "status": "True"}]
                self.objects["customresourcedefinitions", None, name]["status"] = {"conditions": conditions}


def _new(manifest: dict[str, Any], name: str, namespace: str | None = None) -> dict[str, Any]:
    metadata = {"name": name, "uid": str(uuid4()), "creationTimestamp": "2026-05-01T12:00:00Z"}
    metadata |= {"namespace": namespace} if namespace else {}
    return {"apiVersion": manifest["apiVersion"], "kind": manifest["kind"], "metadata": metadata}


def _default(one: dict[str, Any]) -> None:
    if one["kind"] == "Deployment":
        one["spec"].setdefault("replicas", 1)
        one["spec"].setdefault("revisionHistoryLimit", 10)
    if one["kind"] == "Service":
        one["spec"].setdefault("type", "ClusterIP")
        one["spec"].setdefault("clusterIP", "10.96.0.7")
    if one["kind"] == "Secret":
        one.setdefault("type", "Opaque")


def _validate(one: dict[str, Any], live: dict[str, Any] | None) -> None:
    wrong: list[tuple[str, str]] = []
    replicas = one.get("spec", {}).get("replicas", 1)
    if replicas < 0:
        wrong.append(("spec.replicas", f"Invalid value: {replicas}: must be greater than or equal to 0"))
    if live is not None and live.get("immutable") and live.get("data") != one.get("data"):
        wrong.append(("data", "Forbidden: field is immutable when `immutable` is set"))
    name = one["metadata"]["name"]
    if one["kind"] != "ClusterRole" and not re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", name):
        wrong.append(("metadata.name", f'Invalid value: "{name}": a lowercase RFC 1123 subdomain'))
    if wrong:
        causes = [{"reason": "FieldValueInvalid", "message": said, "field": place} for place, said in wrong]
        told = "; ".join(f"{place}: {said}" for place, said in wrong)
        raise Problem(422, "Invalid", f'{one["kind"]} "{name}" is invalid: {told}', causes)


def _merged(one: Any, patch: dict[str, Any]) -> Any:
    one = one if isinstance(one, dict) else {}
    for key, value in patch.items():
        if value is None:
            one.pop(key, None)
        else:
            one[key] = _merged(one.get(key), value) if isinstance(value, dict) else value
    return one


def _without_version(one: dict[str, Any]) -> Any:
    return leaves(one), one["metadata"].get("managedFields"), one["metadata"].get("finalizers")


def _dotted(path: tuple[str, ...]) -> str:
    return "".join(f"[{step[2:]}]" if step.startswith("k:") else f".{step[2:]}" for step in path)
