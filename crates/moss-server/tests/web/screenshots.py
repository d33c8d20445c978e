"""Pictures of the page, to be looked at: `python3 screenshots.py FOLDER`. Against the mock, or a server at `MOSS_URL`."""

import os
import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

import mock
from steps import press, send

PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "has_touch": True, "is_mobile": True}
DESKTOP = {"viewport": {"width": 1280, "height": 800}, "device_scale_factor": 1.5}


def talk(page):
    send(page, "Recommend five science fiction films")
    press(page, "New chat")
    send(page, "用 Python 写一个快速排序并讲解")
    press(page, "Answer again")
    page.wait_for_selector("article[aria-busy=true]", state="detached")


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    url = os.environ.get("MOSS_URL") or f"http://127.0.0.1:{mock.serve().server_port}/"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=os.environ.get("MOSS_CHROMIUM") or shutil.which("chromium"), args=["--no-sandbox"])

        def shoot(name, *steps, **options):
            context = browser.new_context(**{"locale": "en-GB", **DESKTOP, **options})
            page = context.new_page()
            page.goto(url)
            page.wait_for_selector("html.works")
            for step in steps:
                step(page)
            page.wait_for_timeout(400)
            page.screenshot(path=folder / f"{name}.png")
            context.close()

        to_top = lambda page: page.locator("#thread").evaluate("e => e.scrollTop = 0")
        settings = lambda page: page.locator("#open-settings").click()
        shoot("desktop-empty")
        shoot("desktop-talk", talk, to_top)
        shoot("desktop-talk-end", talk)
        shoot("desktop-dark", talk, to_top, color_scheme="dark")
        shoot("desktop-settings", settings)
        shoot("readme", lambda page: [send(page, text) for text in ("你好", "推荐五部科幻电影", "What is 3 + 4?")])
        shoot("chinese-empty", locale="zh-CN")
        shoot("chinese-settings-dark", settings, locale="zh-CN", color_scheme="dark")
        shoot("phone-empty", **PHONE)
        shoot("phone-talk", lambda page: send(page, "用 Python 写一个快速排序"), to_top, **PHONE)
        shoot("phone-dark-list", lambda page: send(page, "hello [rich]"), lambda page: page.locator("#toggle-list").click(), color_scheme="dark", **PHONE)
        shoot("failure", lambda page: send(page, "Tell me a story [cut]"))
        shoot("stream", lambda page: send(page, "Tell me a story [slow]", done=False), lambda page: page.wait_for_timeout(1500))
        shoot("edit", lambda page: send(page, "Tell me a story"), lambda page: page.keyboard.press("ArrowUp"))
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
