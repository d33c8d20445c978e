"""Runs the client commands of docs/serving.md, in both languages, with the test server's address."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

from dialogue import GREETING_REPLY

ROOT = pathlib.Path(__file__).resolve().parents[2]
PRINTED = "http://127.0.0.1:8888"


def blocks(page, language):
    text = (ROOT / page).read_text()
    found = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [block for block in found if PRINTED in block]


def run(server, *command, **options):
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("page", ["docs/serving.md", "docs/zh/serving.md"])
class TestServingPage:
    def test_its_curl_commands_run(self, page, server):
        found = blocks(page, "sh")
        assert found
        for block in found:
            # The server is already running.
            lines = [
                line for line in block.splitlines(keepends=True) if not line.startswith("moss-cli ")
            ]
            script = "set -e\n" + "".join(lines).replace(PRINTED, server)
            printed = run(server, "bash", "-c", script)
            pieces = re.findall(r'"content":"([^"]*)"', printed)
            assert "".join(pieces) == GREETING_REPLY, printed
            assert printed.rstrip().endswith("data: [DONE]") == ('"stream": true' in block)

    def test_its_python_runs(self, page, server, films):
        found = blocks(page, "python")
        assert found
        for block in found:
            assert (
                run(server, sys.executable, "-c", block.replace(PRINTED, server)).rstrip("\n")
                == films
            )

    def test_its_javascript_runs(self, page, server):
        found = blocks(page, "js")
        assert found
        for block in found:
            # `import` looks for packages in node_modules beside the script.
            script = pathlib.Path(os.environ["MODULES"]) / "page.mjs"
            script.write_text(block.replace(PRINTED, server))
            assert run(server, "node", script).rstrip("\n") == GREETING_REPLY
