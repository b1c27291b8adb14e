"""`python -m tests.bench.pages REQUESTS`: the catalog's door as far as a replay reads it, with made-up requests.

It writes its port, and serves until its standard input ends. Each request has two events, its submission and its
decision, as large as real ones; pages of 500 as the catalog gives them, without its database.
"""

import json
import sys
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

PAGE = 500
NOW = datetime.now(UTC)


def envelope(position: int, fact: str, at: datetime, number: int, data: str) -> str:
    identity = f"0199a1b2-0000-7000-8000-{number:012d}"
    return (
        f'{{"position":{position},"specversion":"1.0","id":"{identity}","source":"/entresol/intake",'
        f'"type":"dev.entresol.{fact}.v1","subject":"{identity}","time":"{at.isoformat()}",'
        f'"datacontenttype":"application/json","dataschema":"https://entresol.dev/schemas/events/{fact}.v1.1.json",'
        f'"correlationid":"{identity}","partitionkey":"shop/prod/deployment/n{number}","hopcount":0,"actor":"user:ada",'
        f'"data":{{"request_id":"{identity}","resource_id":"shop/prod/deployment/n{number}","project":"shop",{data}}}}}'
    )


ASKED = json.dumps(
    {
        "offering": "deployment",
        "offering_version": "1.0.0",
        "action": "create",
        "environment": "prod",
        "name": "cart",
        "inputs": {"size": "small", "replicas": 3, "image": "registry.example/shop/cart", "public": True},
        "actor": {"id": "user:ada", "groups": ["shop", "platform"]},
        "dry_run": False,
    }
)[1:-1]
DECIDED = json.dumps(
    {
        "verdicts": [
            {
                "policy": f"p{number}",
                "version": "sha256:0123456789abcdef",
                "rule": 0,
                "effect": "deny",
                "mode": "enforce",
                "matched": False,
                "because": "outside of production only the data team runs large databases",
            }
            for number in range(3)
        ],
        "unconcerned": ["sensible-sizes", "no-surprises"],
        "policies": 5,
    }
)[1:-1]


def item(position: int, requests: int) -> str:
    number, decided = divmod(position - 1, 2)
    at = NOW - timedelta(days=25) + timedelta(days=25) * number / requests
    fact, data = ("request.allowed", DECIDED) if decided else ("request.submitted", ASKED)
    return envelope(position, fact, at, number, data)


def main() -> None:
    requests = int(sys.argv[1])

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            kinds = query.get("type", [])
            after, limit = int(query.get("after", ["0"])[0]), min(PAGE, int(query.get("limit", ["100"])[0]))
            wanted = not kinds or any("request." in kind for kind in kinds)
            last = min(2 * requests, after + limit) if wanted else after
            items = ",".join(item(position, requests) for position in range(after + 1, last + 1))
            following = f'"{last}"' if wanted and last < 2 * requests else "null"
            body = f'{{"items":[{items}],"next":{following}}}'.encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
