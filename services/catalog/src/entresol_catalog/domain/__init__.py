"""What the facts on the log mean for the picture: requests, approvals, resources, entities. Standard library only.

Every fold says whether it changed anything, so that a fact that comes twice or too late changes nothing.
"""
