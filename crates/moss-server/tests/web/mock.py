"""A stand-in for the server: the page's files under the real policy, and canned answers.

A word in square brackets within the last message picks what happens: [slow], [stall], [cut], [html], [rich], [length], [window], [dropped],
[busy], [starting], [broken], [late-error]. Anything else is answered with a numbered sentence. `GET /mock/log` gives the bodies received
and how many streams the client left.

    python3 mock.py [PORT]
"""

import json
import mimetypes
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ASSETS = Path(__file__).resolve().parents[2] / "assets"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
CONTEXT_LENGTH = 2048

HTML = """Raw <script>window.pwned = 1</script> and <img src=x onerror="window.pwned = 2"> and <b>bold tags</b> stay text.

<iframe src="javascript:window.pwned = 3"></iframe>

[a trap](javascript:window.pwned=4), [another](data:text/html,x), ![picture](https://example.com/p.png), [fine](https://example.com/).

```html
<script>window.pwned = 5</script>
```
"""

RICH = """## 快速排序

快速排序的思路是**分治：**选一个基准，把数组分成两半，再*分别*排序。平均 `O(n log n)`，最坏 `O(n²)`。

1. 选择基准 pivot
2. 把小的放左边，大的放右边
3. 对左右两边重复

```python
def quicksort(items):
    \"\"\"Sorts a list; equal items keep no order.\"\"\"
    if len(items) <= 1:
        return items
    pivot = items[len(items) // 2]
    left = [x for x in items if x < pivot]
    middle = [x for x in items if x == pivot]
    right = [x for x in items if x > pivot]
    return quicksort(left) + middle + quicksort(right)


print(quicksort([3, 6, 1, 8, 2]))  # [1, 2, 3, 6, 8]
```

| 算法 | 平均 | 最坏 | 稳定 |
|---|---|---|---|
| 快速排序 | n log n | n² | 否 |
| 归并排序 | n log n | n log n | 是 |

> 数据几乎有序时，随机选择基准可以避免最坏情况。
"""


class Log:
    """What the clients have done."""

    def __init__(self):
        self.lock = threading.Lock()
        self.clear()

    def clear(self):
        self.bodies, self.left, self.key, self.answers = [], 0, None, 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    log: Log

    def log_message(self, *_):
        pass

    def do_GET(self):
        path = self.path.split("?")[0]
        if path == "/api/info":
            if self.allowed():
                self.json(200, {"model": "stand-in", "version": "0.1.0", "context_length": CONTEXT_LENGTH, "plugins": True, "limits": {"max_time_s": 600.0},
                                "defaults": {"temperature": 0.7, "top_p": 0.8, "top_k": 40, "repetition_penalty": 1.02, "max_tokens": 512}})
        elif path == "/mock/log":
            self.json(200, {"bodies": self.log.bodies, "left": self.log.left})
        else:
            self.file(ASSETS / (path.lstrip("/") or "index.html"))

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path == "/mock/clear":
            self.log.clear()
            self.log.key = json.loads(body or b"{}").get("key")
            self.json(200, {})
        elif self.path == "/v1/chat/completions" and self.allowed():
            self.chat(json.loads(body))

    def chat(self, body):
        with self.log.lock:
            self.log.bodies.append(body)
            self.log.answers += 1
            number = self.log.answers
        last = body["messages"][-1]["content"]
        refusals = {
            "[window]": (400, "this conversation is too long", "context_length_exceeded", {}),
            "[busy]": (429, "the queue is full", "rate_limit", {"retry-after": "1"}),
            "[starting]": (503, "loading", "unavailable", {}),
            "[queue]": (503, "no turn in time", "queue_timeout", {"retry-after": "5"}),
            "[prompt]": (503, "not processed in time", "prompt_timeout", {"retry-after": "5"}),
            "[stopping]": (503, "shut down", "shutting_down", {}),
            "[failed]": (503, "the engine has failed", "engine_failed", {}),
            "[broken]": (500, "a kernel failed", "internal", {}),
        }
        for word, (status, message, code, headers) in refusals.items():
            if word in last:
                return self.error(status, message, code, headers)
        text, pause, finish = f"Answer {number}. You wrote {len(last)} characters, and this is what I make of them.", 0.01, "stop"
        if "[slow]" in last:
            text, pause = " ".join(f"word{n}" for n in range(400)), 0.05
        elif "[html]" in last:
            text = HTML
        elif "[rich]" in last or "快速排序" in last:
            text = RICH
        elif "[length]" in last:
            finish = "length"
        elif "[empty]" in last:
            text = ""
        try:
            self.stream(text, pause, finish, last, body)
        except (BrokenPipeError, ConnectionResetError):
            with self.log.lock:
                self.log.left += 1
        self.close_connection = True

    def stream(self, text, pause, finish, last, body):
        self.head(200, "text/event-stream; charset=utf-8", {"connection": "close"})
        self.raw(": here\n\n")
        # Uneven pieces, so that words, marks of Markdown and Chinese characters arrive apart.
        pieces = [text[at:at + 3] for at in range(0, len(text), 3)]
        begin = time.monotonic()
        if "[dropped]" in last:
            self.event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}], "moss": {"dropped_messages": 4}})
        for number, piece in enumerate(pieces):
            if number == 4 and "[cut]" in last:
                return
            if number == 4 and "[late-error]" in last:
                return self.event({"error": {"message": "out of blocks", "type": "server_error", "param": None, "code": None}})
            if number == 4 and "[stall]" in last:
                return self.stall()
            self.event({"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]})
            time.sleep(pause)
        self.event({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
        prompt = sum(len(message["content"]) for message in body["messages"]) // 2 + 379
        # The first answer computes the instruction, later ones find it in the cache.
        cached = 368 if len(body["messages"]) > 1 else 0
        self.event({"choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": len(pieces), "total_tokens": prompt + len(pieces),
                                             "prompt_tokens_details": {"cached_tokens": cached}},
                    "moss": {"time_to_first_token_s": 0.07, "tokens_per_s": len(pieces) / (time.monotonic() - begin), "stop_reason": "end_of_turn" if finish == "stop" else "max_tokens"}})
        self.raw("data: [DONE]\n\n")

    def stall(self):
        """Silent until the client leaves: its end of the connection then reads as closed."""
        self.connection.settimeout(60)
        try:
            self.connection.recv(1)
        except TimeoutError:
            return
        with self.log.lock:
            self.log.left += 1

    def event(self, data):
        self.raw(f"data: {json.dumps(data, ensure_ascii=False)}\r\n\r\n")

    def raw(self, text):
        # Two writes that split a character now and then, as a network would.
        data = text.encode()
        middle = len(data) // 2
        for part in (data[:middle], data[middle:]):
            self.wfile.write(part)
            self.wfile.flush()

    def allowed(self):
        if not self.log.key or self.headers.get("authorization") == f"Bearer {self.log.key}":
            return True
        self.error(401, "no such key", "invalid_api_key", {})
        return False

    def error(self, status, message, code, headers):
        self.json(status, {"error": {"message": message, "type": "error", "param": None, "code": code}}, headers)

    def json(self, status, value, headers=()):
        data = json.dumps(value).encode()
        self.head(status, "application/json", {**dict(headers), "content-length": str(len(data))})
        self.wfile.write(data)

    def file(self, path):
        path = path.resolve()
        if not (path.is_relative_to(ASSETS) and path.is_file()):
            return self.error(404, "no such route", "not_found", {})
        data = path.read_bytes()
        self.head(200, mimetypes.guess_type(path.name)[0] or "application/octet-stream", {"content-length": str(len(data))})
        self.wfile.write(data)

    def head(self, status, kind, headers):
        self.send_response(status)
        for name, value in {"content-type": kind, "content-security-policy": POLICY, "x-content-type-options": "nosniff", **headers}.items():
            self.send_header(name, value)
        self.end_headers()


def serve(port=0):
    """A running server; its address is `http://127.0.0.1:{server.server_port}/`."""
    server = ThreadingHTTPServer(("127.0.0.1", port), type("LoggedHandler", (Handler,), {"log": Log()}))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


if __name__ == "__main__":
    running = serve(int(sys.argv[1]) if len(sys.argv) > 1 else 8889)
    print(f"http://127.0.0.1:{running.server_port}/", flush=True)
    threading.Event().wait()
