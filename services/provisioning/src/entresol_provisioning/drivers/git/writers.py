"""Which resources have written what files of a branch hold, as its log tells: of late, and not if it was rewritten."""

from collections.abc import Mapping
from itertools import islice
from typing import Final

from dulwich.objects import ObjectID

from entresol_provisioning.drivers.git import history, trees
from entresol_provisioning.drivers.git.objects import Objects

MOST_COMMITS: Final = 10_000
"""What was written longer ago is taken for nobody's."""


def writers(objects: Objects, head: ObjectID | None, blobs: Mapping[str, ObjectID | None]) -> dict[str, str]:
    """Resource by path, of files that hold these blobs at the head; without those that people have written."""
    left, found = {path: blob for path, blob in blobs.items() if blob is not None}, dict[str, str]()
    for name in islice(history.since(objects, head, None), MOST_COMMITS) if left else ():
        parents = objects.commit(name).parents
        for path, blob in list(left.items()):
            before = {trees.blob(objects, one, path) for one in parents}
            if trees.blob(objects, name, path) == blob and blob not in before:
                del left[path]
                if resource := history.resource_of(objects, name):
                    found[path] = resource
        if not left:
            break
    return found
