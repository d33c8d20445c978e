"""Runs the commands of both READMEs that call a server as printed, except for the address."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

from dialogue import GREETING_REPLY

ROOT = pathlib.Path(__file__).resolve().parents[2]
PRINTED = "http://127.0.0.1:8888"


def blocks(readme, language):
    text = (ROOT / readme).read_text()
    found = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [block for block in found if PRINTED in block]


def run(server, *command, **options):
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("readme", ["README.md", "README.zh-CN.md"])
class TestReadme:
    def test_its_curl_commands_run(self, readme, server):
        found = blocks(readme, "sh")
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

    def test_its_python_runs(self, readme, server, films):
        found = blocks(readme, "python")
        assert found
        for block in found:
            assert (
                run(server, sys.executable, "-c", block.replace(PRINTED, server)).rstrip("\n")
                == films
            )

    def test_its_javascript_runs(self, readme, server):
        found = blocks(readme, "js")
        assert found
        for block in found:
            # `import` looks for packages in node_modules beside the script.
            script = pathlib.Path(os.environ["MODULES"]) / "readme.mjs"
            script.write_text(block.replace(PRINTED, server))
            assert run(server, "node", script).rstrip("\n") == GREETING_REPLY
