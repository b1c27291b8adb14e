"""What every driver that writes to git repositories needs of one.

`places` says which repository a step names, `urls` which ones may be named; `rounds` is how steps get commits onto its
branches, `refs` moves the branches of one that lies here, `remotes` speaks to one elsewhere, and `access` has the login
for it. `trees`, `objects` and `history` are its content: files and commits, how they come on disk, and what the commits
of a branch say.
"""
