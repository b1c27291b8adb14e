"""Paths at the doors: what people have named may hold anything, a slash too."""

from urllib.parse import quote


def segment(text: str) -> str:
    """Text as one segment of a path."""
    return quote(text, safe="")


def resource_path(resource: str) -> str:
    """A resource's path at the catalog."""
    return "/v1/resources/" + "/".join(map(segment, resource.split("/")))
