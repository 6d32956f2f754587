"""A small OpenAI-compatible server whose faults can be set, for the engine `openai`.

As a program (`start`) it is a process of its own: it takes `--seconds` for a request, and with `--most` refuses what
comes while it works on so many with 429 and `Retry-After`.
"""

import argparse
import contextlib
import json
import random
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """Answers with words drawn by (prompt, seed); `faults` says what to do with the next requests instead."""

    daemon_threads = True

    def __init__(self, port=0, seconds=0.0, most=None, retry_after="0.3"):
        self.request_queue_size = 200
        super().__init__(("127.0.0.1", port), Handler)
        self.seconds, self.most, self.retry_after = seconds, most, retry_after
        self.working = self.peak = 0
        self.arrivals = []  # (time, status)
        self.faults = []
        self.refuses = set()
        self.most_stops = 100
        self.says = None  # in other words than OpenAI's
        self.requests = []
        self.echo = False  # a chat server that begins its answer anew
        self.lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_port}/v1"
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/stats":
            found = {"peak": self.server.peak, "arrivals": self.server.arrivals}
            return self.reply(200, json.dumps(found).encode())
        return self.reply(200, b'{"object": "list", "data": []}')

    def do_POST(self):
        with self.server.lock:
            full = self.server.most is not None and self.server.working >= self.server.most
            self.server.arrivals.append((time.time(), 429 if full else 200))
            if not full:
                self.server.working += 1
                self.server.peak = max(self.server.peak, self.server.working)
        if full:
            self.rfile.read(int(self.headers["Content-Length"]))
            return self.reply(
                429, b'{"error": {"message": "busy"}}', {"Retry-After": self.server.retry_after}
            )
        try:
            time.sleep(self.server.seconds)
            return self.answer()
        finally:
            with self.server.lock:
                self.server.working -= 1

    def answer(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            fault = self.server.faults.pop(0) if self.server.faults else None
            self.server.requests.append((self.path, body, self.headers.get("Authorization")))
        if fault == "hang":
            time.sleep(2)
            return None
        if fault == "not json":
            return self.reply(200, b"<html>welcome</html>")
        if fault == "no choices":
            return self.reply(200, json.dumps({"error": {"message": "overloaded"}}).encode())
        if isinstance(fault, int):
            return self.reply(fault, b'{"error": {"message": "no luck"}}', {"Retry-After": "0"})
        if bad := sorted(self.server.refuses & body.keys()):
            return self.reply(
                422, json.dumps({"detail": f"Unsupported fields in the request: {bad}"}).encode()
            )
        if len(body.get("stop", [])) > self.server.most_stops:  # in OpenAI's words
            said = self.server.says or (
                f"Invalid 'stop': array too long. Expected an array with maximum length {self.server.most_stops}"
            )
            return self.reply(400, json.dumps({"error": {"message": said, "param": "stop"}}).encode())
        chat = self.path.endswith("/chat/completions")
        choices = [self.choice(body, index, chat) for index in range(body.get("n", 1))]
        used = {"prompt_tokens": 1, "total_tokens": 1, "completion_tokens": 0}
        used["completion_tokens"] = sum(len(choice.pop("words")) for choice in choices)
        answer = {"id": "x", "object": "text_completion", "created": 0, "model": body["model"]}
        return self.reply(200, json.dumps(answer | {"choices": choices, "usage": used}).encode())

    def choice(self, body, index, chat):
        prompt = json.dumps(body["messages"]) if chat else body["prompt"]
        draw = random.Random(f"{prompt}{body.get('seed')}{index}")
        if body["temperature"] == 0:
            draw = random.Random(prompt)
        words = draw.choices(["x", "y", "return", "STOP", "+", "\n"], k=min(body["max_tokens"], 12))
        if any(word in body.get("stop", []) for word in words):
            at = min(words.index(word) for word in body["stop"] if word in words)
            words, finish = words[: at + 1], "stop"
            text = "".join(words[:-1])
        else:
            finish, text = "length" if len(words) == body["max_tokens"] else "stop", "".join(words)
        values = [-draw.random() for _ in words]
        if chat:
            if self.server.echo:
                text = "Sure:\n```python\ndef f():\n" + "".join(words) + "\n```\nThis adds."
            lines = {
                "content": [{"token": w, "logprob": v, "top_logprobs": []} for w, v in zip(words, values)]
            }
            found = {"message": {"role": "assistant", "content": text}}
        else:
            lines = {"tokens": words, "token_logprobs": values}
            found = {"text": text}
        return found | {
            "index": index,
            "finish_reason": finish,
            "logprobs": lines if body.get("logprobs") else None,
            "words": words,
        }

    def reply(self, status, payload, headers=None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def start(port=0, **options):
    """A server in a process of its own: (its address, the process)."""
    given = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    process = subprocess.Popen(
        [sys.executable, __file__, f"--port={port}", *given], stdout=subprocess.PIPE, text=True
    )
    try:
        yield process.stdout.readline().strip(), process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--most", type=int)
    parser.add_argument("--retry-after", default="0.3")
    print(Server(**vars(parser.parse_args())).url, flush=True)
    signal.pause()
