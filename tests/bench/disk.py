"""How often this disk keeps its promise: commits per second of SQLite with fsync, which a group of units shares."""

import sqlite3
import time
from pathlib import Path

SECONDS = 0.7
REPETITIONS = 3


def commits_per_second(file: Path, rows: int) -> list[float]:
    """Commits per second, each of so many rows of a small event's size, several times."""
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE event (position INTEGER PRIMARY KEY, body BLOB NOT NULL)")
    body = [(b"x" * 800,)] * rows
    rates = []
    for _ in range(REPETITIONS):
        commits, began = 0, time.perf_counter()
        while (passed := time.perf_counter() - began) < SECONDS:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO event (body) VALUES (?)", body)
            connection.execute("COMMIT")
            commits += 1
        rates.append(commits / passed)
    connection.close()
    return rates
