"""Conversations in the browser, and as files."""

import json

import pytest
from playwright.sync_api import expect

from steps import press, questions, row_menu, rows, send, texts


def saved(page, act):
    with page.expect_download() as download:
        act()
    return download.value.path()


def test_a_reload_keeps_conversations_their_branches_and_the_draft(page):
    send(page, "one")
    press(page, "Answer again")
    expect(page.locator("article .version").last).to_contain_text("2/2")
    expect(page.locator("article[aria-busy=true]")).to_have_count(0)
    page.get_by_role("textbox", name="Your message").fill("half a thou")
    page.wait_for_timeout(800)
    before = texts(page)
    page.reload()
    expect(rows(page)).to_have_count(1)
    expect(page.locator("article .version").last).to_contain_text("2/2")
    assert texts(page) == before
    expect(page.get_by_role("textbox", name="Your message")).to_have_value("half a thou")


def test_conversations_are_found_by_what_was_said(page):
    send(page, "about apples")
    press(page, "New chat")
    send(page, "about pears")
    expect(rows(page)).to_have_count(2)
    page.get_by_role("searchbox", name="Search conversations").fill("APPLES")
    expect(rows(page)).to_have_count(1)
    page.get_by_role("searchbox", name="Search conversations").fill("quinces")
    expect(page.locator("#conversation-list")).to_contain_text("No conversation contains “quinces”.")


def test_a_conversation_is_renamed_deleted_and_brought_back(page):
    send(page, "hello")
    row_menu(page, "Rename")
    page.get_by_role("textbox", name="New name").fill("My <b>name</b>")
    page.keyboard.press("Enter")
    expect(rows(page)).to_have_text("My <b>name</b>")
    expect(page.get_by_role("heading", level=1)).to_have_text("My <b>name</b>")
    row_menu(page, "Delete")
    expect(rows(page)).to_have_count(0)
    press(page, "Undo")
    expect(rows(page)).to_have_text("My <b>name</b>")
    expect(questions(page)).to_have_count(1)
    page.reload()
    expect(rows(page)).to_have_text("My <b>name</b>")


def test_an_export_comes_back_whole_in_another_browser(page, open_page):
    send(page, "你好 one")
    press(page, "Answer again")
    expect(page.locator("article .version").last).to_contain_text("2/2")
    expect(page.locator("article[aria-busy=true]")).to_have_count(0)
    press(page, "Settings")
    file = saved(page, lambda: press(page, "Export all"))
    assert json.loads(file.read_text())["format"] == "moss-conversations"
    other = open_page()
    other.locator("#import-file").set_input_files({"name": "x.json", "mimeType": "application/json", "buffer": file.read_bytes()})
    expect(other.locator(".toast")).to_contain_text("One conversation imported.")
    expect(other.locator("article .version").last).to_contain_text("2/2")
    assert texts(other) == texts(page)
    other.locator("#import-file").set_input_files({"name": "x.json", "mimeType": "application/json", "buffer": file.read_bytes()})
    expect(other.locator(".toast").last).to_contain_text("0 conversations imported.")
    expect(rows(other)).to_have_count(1)


def node(**changes):
    return {"id": "a", "parent": None, "role": "user", "text": "x", "created": 1, "state": "done", **changes}


def archive(*nodes, **changes):
    conversation = {"id": "c", "title": "t", "created": 1, "updated": 1, "system": "", "nodes": list(nodes), "chosen": {}, **changes}
    return json.dumps({"format": "moss-conversations", "version": 1, "conversations": [conversation]})


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("{", "file"),
        ("null", "format"),
        ('{"format": "moss-conversations", "version": 2}', "version"),
        (archive(node(role="system")), "conversations[0].nodes[0].role"),
        (archive(node(text=7)), "conversations[0].nodes[0].text"),
        (archive(node(parent="a")), "conversations[0].nodes[0].parent"),
        (archive(node(), node()), "conversations[0].nodes[1].id"),
        (archive(node(), node(id="b", parent="a", role="user")), "conversations[0].nodes[1].role"),
        (archive(node(id='"><script>')), "conversations[0].nodes[0].id"),
        (archive(node(), chosen={"root": "missing"}), "conversations[0].chosen.root"),
        (archive(created="yesterday"), "conversations[0].created"),
    ],
)
def test_a_bad_file_is_refused_whole_with_the_place_that_is_wrong(page, text, where):
    page.locator("#import-file").set_input_files({"name": "x.json", "mimeType": "application/json", "buffer": text.encode()})
    expect(page.locator(".toast")).to_contain_text(f"can't be imported. {where}: found")
    expect(rows(page)).to_have_count(0)


def test_two_tabs_show_the_same_conversations(page, url):
    second = page.context.new_page()
    second.goto(url)
    expect(second.locator("html.works")).to_be_attached()
    send(page, "from the first tab")
    expect(rows(second)).to_have_text("from the first tab")
