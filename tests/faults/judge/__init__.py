"""The judge: a program of its own that reads what a storm left behind and counts what the promises don't allow.

It imports nothing of the platform and asks nobody: it reads files, databases and repositories only. Its directory has

- `judge.json`: `databases` (service → URL), `repositories` (bare ones), `told_of` (event types that a receiver gets);
- `told.jsonl`: what clients were told, a line for each answer, see `tests.faults.load`;
- `log.jsonl`: every message of the stream, `{"position", "log_subject", "body"}`, see `tests.faults.dump`;
- `sink.jsonl`: every delivery to the receiver, `{"delivery", "event"}`, see `tests.faults.sink`.

What is not there is not judged, so a trial of one service needs only that service's database and the log.
"""
