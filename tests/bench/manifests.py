"""What the measured requests are about: one step that only records, one policy, and a notification of each end."""

from typing import Any

MANIFESTS: list[dict[str, Any]] = [
    {
        "apiVersion": "entresol.dev/v1",
        "kind": "Offering",
        "metadata": {"name": "thing", "version": "1.0.0"},
        "spec": {
            "inputs": {"type": "object", "properties": {"size": {"enum": ["small", "large"]}}},
            "actions": {
                "create": {
                    "steps": [{"name": "make", "driver": "noop", "with": {"outputs": {"size": "${inputs.size}"}}}]
                }
            },
            "outputs": {"size": "${steps.make.outputs.size}"},
            "entity": {"blueprint": "Resource", "properties": {"size": "${inputs.size}"}},
        },
    },
    {
        "apiVersion": "entresol.dev/v1",
        "kind": "Policy",
        "metadata": {"name": "no-large-things-in-dev"},
        "spec": {
            "rules": [
                {
                    "deny": 'request.environment == "dev" && request.inputs.size == "large"',
                    "because": "dev is for small things",
                }
            ]
        },
    },
    {"apiVersion": "entresol.dev/v1", "kind": "Channel", "metadata": {"name": "log"}, "spec": {"kind": "log"}},
    {
        "apiVersion": "entresol.dev/v1",
        "kind": "Route",
        "metadata": {"name": "completions"},
        "spec": {"on": ["dev.entresol.request.completed.v1"], "channel": "log"},
    },
]
