"""The driver that keeps objects in a Kubernetes cluster, by server-side apply.

`with`: `destination` (a Destination with `cluster`), and either `files` (templates of YAML, as for gitops) or `objects`
(a list of manifests). `namespace` is where objects go that name none; an object that names another is refused unless
`anyNamespace`, and one of no namespace at all unless `clusterScoped`. `wait` (default true): until they are healthy.
`prune` (default true): remove what the step no longer renders. `force`: take fields over that somebody else manages,
and objects that were there before. `outputs`: by name, `{kind, name, pointer}` of an object, or `key` of a Secret.
"""
