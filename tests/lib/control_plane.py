# SPDX-License-Identifier: Apache-2.0
"""A stand-in for the control plane: the two routes that the public clients need before they talk to an agent.

GET /v1/sandboxes/{id} tells where the agent is, POST /v1/sandboxes/{id}/token/refresh hands out a token."""

import json
import threading
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from lib import tokens


def rfc3339(moment):
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


class ControlPlane:
    """Serves on a free port while used as a context manager."""

    def __init__(self, agent_url, make_token=tokens.token, token_ttl=24 * tokens.HOUR):
        self.agent_url = agent_url
        self.make_token = make_token
        self.token_ttl = token_ttl
        self.requests = []  # "METHOD path", in order
        self.tokens = []  # that were handed out

    def __enter__(self):
        plane = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self):
                size = int(self.headers.get("Content-Length") or 0)
                self.rfile.read(size)
                plane.requests.append(f"{self.command} {self.path}")
                status, document = plane.answer(self.command, self.path)
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_DELETE = do_PUT = do_PATCH = answer

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        # shutdown() waits for the end of a poll.
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def answer(self, method, path):
        parts = path.strip("/").split("/")
        if parts[:2] != ["v1", "sandboxes"] or len(parts) < 3:
            return 404, {"error": {"message": f"no route {path}", "code": "NOT_FOUND"}}
        now = datetime.now(timezone.utc)
        if method == "GET" and len(parts) == 3:
            return 200, {
                "id": parts[2],
                "status": "running",
                "public_host": self.agent_url,
                "template_id": "tests",
                "template_name": "tests",
                "resources": {"vcpu": 2, "memory_mb": 2048, "disk_mb": 10240},
                "created_at": rfc3339(now),
                "expires_at": rfc3339(now + timedelta(days=1)),
            }
        if method == "POST" and parts[3:] == ["token", "refresh"]:
            token = self.make_token()
            self.tokens.append(token)
            return 200, {
                "auth_token": token,
                "token_expires_at": rfc3339(now + timedelta(seconds=self.token_ttl)),
            }
        return 404, {"error": {"message": f"no route {method} {path}", "code": "NOT_FOUND"}}
