"""Read the kubeconfig that a Destination refers to; what it holds is secret.

It is written by a platform engineer, not by a user, and yet it may name programs to run, files to read, and servers to
believe without a certificate. Each of these is refused unless the service's settings allow it.
"""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from entresol_manifests.positions import TextError
from entresol_manifests.secrets import SecretMissing, resolve
from entresol_manifests.yaml_text import parse_all
from lightkube.config.kubeconfig import KubeConfig, SingleConfig

from entresol_provisioning.drivers import StepFailed
from entresol_provisioning.settings import Settings

_FILES = {
    "cluster": ("certificate-authority",),
    "user": ("client-certificate", "client-key", "tokenFile"),
}
_UNSUPPORTED = {
    "cluster": ("tls-server-name",),
    "user": ("auth-provider", "as", "as-uid", "as-groups", "as-user-extra"),
}


_ENCODED = {
    "cluster": ("certificate-authority-data",),
    "user": ("client-certificate-data", "client-key-data"),
}


def text_of(reference: str) -> tuple[str, Path | None]:
    """The kubeconfig, and the file that it is from. A variable may hold the document itself or its absolute path."""
    try:
        text = resolve(reference)
        if reference.startswith("file:"):
            return text, Path(reference.removeprefix("file:"))
        if text.startswith("/") and "\n" not in text:
            return resolve(f"file:{text}"), Path(text)
    except SecretMissing as error:
        raise StepFailed(f"the cluster's kubeconfig: {error}") from None
    return text, None


def chosen(text: str, place: Path | None, context: str | None, settings: Settings) -> tuple[SingleConfig, str | None]:
    """How to connect in that context (or the current one), and by which proxy.

    Raises StepFailed for what is no kubeconfig, and for what the settings don't allow; no value of it is told.
    """
    document = _document(text)
    name = context or document.get("current-context")
    if not isinstance(name, str) or not name:
        raise StepFailed("the kubeconfig has no current context; name one in the Destination's cluster.context")
    there = _part(document, "contexts", "context", name)
    cluster = _part(document, "clusters", "cluster", there.get("cluster"))
    user = _part(document, "users", "user", there.get("user")) if there.get("user") else {}
    _check(cluster, user, settings)
    parts = {
        "current-context": "only",
        "contexts": [{"name": "only", "context": {"cluster": "only", "user": "only"}}],
        "clusters": [{"name": "only", "cluster": cluster}],
        "users": [{"name": "only", "user": user}],
    }
    try:
        config = KubeConfig.from_dict(parts, fname=place).get()
    except msgspec.ValidationError as error:
        raise StepFailed(f"the kubeconfig's context {name} can't be used: {error}") from None
    assert config is not None
    proxy = cluster.get("proxy-url")
    return config, proxy if isinstance(proxy, str) and proxy else None


def _document(text: str) -> Mapping[str, Any]:
    try:
        documents = [one.value for one in parse_all(text)]
    except TextError as error:
        raise StepFailed(f"the kubeconfig, line {error.line}: it is not YAML that can be read") from None
    if len(documents) != 1 or not isinstance(documents[0], dict):
        raise StepFailed("the kubeconfig must be one YAML document, an object")
    return documents[0]


def _part(document: Mapping[str, Any], plural: str, kind: str, name: Any) -> dict[str, Any]:
    listed = document.get(plural)
    for one in listed if isinstance(listed, list) else []:
        if isinstance(one, dict) and one.get("name") == name and isinstance(one.get(kind), dict):
            part: dict[str, Any] = one[kind]
            return part
    raise StepFailed(f"the kubeconfig has no {kind} {name!r}")


def _check(cluster: Mapping[str, Any], user: Mapping[str, Any], settings: Settings) -> None:
    for kind, part in (("cluster", cluster), ("user", user)):
        if unsupported := [one for one in _UNSUPPORTED[kind] if part.get(one)]:
            raise StepFailed(f"the kubeconfig's {kind} has {unsupported[0]}, which is not supported")
        for field in _ENCODED[kind]:
            try:
                base64.b64decode(part.get(field) or "", validate=True)
            except (ValueError, TypeError):
                raise StepFailed(f"the kubeconfig's {kind}: {field} is not base64") from None
        files = [one for one in _FILES[kind] if part.get(one)]
        if files and not settings.kubeconfig_files:
            raise StepFailed(
                f"the kubeconfig's {kind} names a file in {files[0]}; put the content in instead, "
                "or let this service read such files: KUBECONFIG_FILES"
            )
    if user.get("exec") and not settings.kubeconfig_exec:
        raise StepFailed(
            "the kubeconfig's user runs a program to log in; use a token or a certificate, "
            "or let this service run such programs: KUBECONFIG_EXEC"
        )
    server = cluster.get("server")
    if not isinstance(server, str) or not server.startswith(("https://", "http://")):
        raise StepFailed("the kubeconfig's cluster has no server with an https:// address")
    insecure = server.startswith("http://") or cluster.get("insecure-skip-tls-verify")
    if insecure and not settings.kubernetes_insecure:
        raise StepFailed(
            "the kubeconfig believes its server without a certificate; give certificate-authority-data, "
            "or allow it for this service: KUBERNETES_INSECURE"
        )
