"""A browser, a server and a page for every test. A test that leaves an error in the console, or breaks the page's
Content-Security-Policy, fails whatever else it has found."""

import json
import os
import shutil
import urllib.request

import pytest
from playwright.sync_api import expect, sync_playwright

import mock

expect.set_options(timeout=8000)


def pytest_configure(config):
    config.addinivalue_line("markers", "mock_only: needs failures on demand, which a real server does not give")


def pytest_collection_modifyitems(items):
    if os.environ.get("MOSS_URL"):
        for item in items:
            if item.get_closest_marker("mock_only"):
                item.add_marker(pytest.mark.skip(reason="MOSS_URL is a real server"))


@pytest.fixture(scope="session")
def browser():
    chromium = os.environ.get("MOSS_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        # Root in a container has no sandbox; the pages are our own.
        yield playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])


@pytest.fixture(scope="session")
def url():
    """`MOSS_URL` for a running server, else the mock's."""
    if given := os.environ.get("MOSS_URL"):
        yield given
    else:
        server = mock.serve()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture
def log(url):
    """What the mock has seen since the test began."""
    def ask(path, data=None):
        with urllib.request.urlopen(url + path, data=data) as response:
            return json.load(response)

    ask("mock/clear", b"{}")
    ask.bodies = lambda: ask("mock/log")["bodies"]
    ask.left = lambda: ask("mock/log")["left"]
    ask.require_key = lambda key: ask("mock/clear", json.dumps({"key": key}).encode())
    yield ask
    ask("mock/clear", b"{}")


@pytest.fixture
def open_page(browser, url):
    """Opens the page in a fresh browser profile; keywords go to the profile."""
    contexts, complaints = [], []

    def listen(page):
        # A refused or broken request is logged by the browser itself: the tests of failures make them on purpose.
        page.on("console", lambda m: m.type in ("error", "warning") and "Failed to load resource" not in m.text and "ERR_" not in m.text and complaints.append(m.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))

    def open_page(script=None, **options):
        context = browser.new_context(**{"locale": "en-GB", "viewport": {"width": 1280, "height": 800}, **options})
        contexts.append(context)
        context.on("page", listen)
        context.add_init_script("addEventListener('securitypolicyviolation', (e) => console.error('policy broken: ' + e.violatedDirective + ' ' + e.blockedURI))")
        if script:
            context.add_init_script(script)
        page = context.new_page()
        page.goto(url)
        expect(page.locator("html.works")).to_be_attached()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def page(open_page):
    return open_page()
