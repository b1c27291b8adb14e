"""What is applied before the load begins, whatever it is."""

from typing import Any

from tests.faults.load import TOLD_OF


def manifests(hook: str | None) -> list[dict[str, Any]]:
    """An offering that commits a file; policies that deny what is large and ask about production; told to `hook`."""
    step = {
        "name": "commit",
        "driver": "gitops",
        "with": {"destination": "environments", "files": {"thing.yaml": "size: {{ inputs.size | tojson }}\n"}},
    }
    inputs = {"type": "object", "required": ["size"], "properties": {"size": {"enum": ["small", "large"]}}}
    offering = {"inputs": inputs, "actions": {"create": {"steps": [step]}}}
    creating = 'request.action == "create"'
    rules = {
        "no-large-things": {
            "when": creating,
            "rules": [{"deny": 'request.inputs.size == "large"', "because": "small is beautiful"}],
        },
        "production-approval": {
            "when": 'request.environment == "prod"',
            "rules": [{"approve": {"from": ["group:sre"], "notSelf": False}, "because": "production"}],
        },
    }
    documents: list[tuple[str, dict[str, str], dict[str, Any]]] = [
        ("Destination", {"name": "environments"}, {"repository": "environments.git", "create": True}),
        ("Offering", {"name": "thing", "version": "1.0.0"}, offering),
        *(("Policy", {"name": name}, spec) for name, spec in rules.items()),
    ]
    if hook is not None:
        documents += [
            ("Channel", {"name": "receiver"}, {"kind": "webhook", "url": hook}),
            ("Route", {"name": "ends"}, {"on": [TOLD_OF], "channel": "receiver"}),
        ]
    return [
        {"apiVersion": "entresol.dev/v1", "kind": kind, "metadata": metadata, "spec": spec}
        for kind, metadata, spec in documents
    ]
