"""A real Alertmanager with the routes of a given file, whose receivers are all webhooks of the test.

Debian and Ubuntu: `apt-get install --no-install-recommends prometheus-alertmanager`, as root; found on PATH.
"""

from __future__ import annotations

import http.server
import json
import shutil
import threading
from pathlib import Path
from typing import Any

import yaml

from harness.calls import call
from harness.missing import tool
from harness.process import Counterpart, DiedError, Process, free_port, scratch, wait_until

HINT = "Debian and Ubuntu: apt-get install --no-install-recommends prometheus-alertmanager"


class Alertmanager(Counterpart):
    """Started by the constructor, ready when that returns, ended by `stop()`; `notified()` has what was sent."""

    def __init__(self, *, routes: Path) -> None:
        program = tool("prometheus-alertmanager", HINT)
        self._webhook = _Webhook()
        self._directory = root = scratch("alertmanager")
        settings = yaml.safe_load(routes.read_text())
        settings["global"] = {}
        settings["receivers"] = [
            {"name": receiver["name"], "webhook_configs": [{"url": f"{self._webhook.url}/{receiver['name']}"}]}
            for receiver in settings["receivers"]
        ]
        config = root / "alertmanager.yml"
        config.write_text(json.dumps(settings))
        self.target = f"127.0.0.1:{free_port()}"
        guard = shutil.which("setpriv")
        self._process = Process(
            [
                *([guard, "--pdeathsig", "TERM"] if guard else []),
                program,
                f"--config.file={config}",
                f"--storage.path={root / 'data'}",
                f"--web.listen-address={self.target}",
                "--cluster.listen-address=",
            ],
            log=root / "log",
        )
        try:
            wait_until(self._is_ready, what="Alertmanager is ready", timeout_seconds=60)
        except (DiedError, TimeoutError):
            self.stop()
            raise

    def notified(self, receiver: str) -> list[dict[str, Any]]:
        """The notifications that a receiver got, as Alertmanager's webhooks have them."""
        return [body for path, body in list(self._webhook.received) if path == f"/{receiver}"]

    def stop(self) -> None:
        """End it and delete its data; may be repeated."""
        self._process.stop()
        self._webhook.stop()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _is_ready(self) -> bool:
        status = self._process.returncode
        if status is not None:
            raise DiedError(f"Alertmanager ended with status {status}\n{self._process.output()[-4000:]}")
        try:
            return call(f"http://{self.target}", "GET", "/-/ready")[0] == 200
        except OSError:
            return False


class _Webhook:
    """Keeps what is posted to it."""

    def __init__(self) -> None:
        self.received: list[tuple[str, dict[str, Any]]] = []
        received = self.received

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                received.append((self.path, json.loads(body)))
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base class has it so
                """Nothing on the terminal."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
