"""The main ways through the page, by roles, names and states of the accessibility tree alone."""

import pytest
from playwright.sync_api import expect

from accessibility import Tree
from steps import answers, box, press, send, wait_done


def heard(page):
    """What the live region has said."""
    tree = Tree(page)
    log = tree.one("log")
    assert log.states["live"] == "polite" and not log.states["atomic"]
    return tree.text(log)


def test_the_page_has_its_landmarks_and_a_box_to_write_in(page):
    tree = Tree(page)
    for role, name in [("banner", ""), ("main", "Messages"), ("navigation", "Conversations"), ("searchbox", "Search conversations")]:
        tree.one(role, name)
    assert tree.one("heading", "New chat").states["level"] == 1
    field = tree.one("textbox", "Your message")
    assert field.states["focused"] and field.states["multiline"] and field.description == "Enter sends, Shift+Enter starts a new line"
    assert tree.one("button", "Send").states["disabled"]
    assert tree.one("button", "Hide conversations").states["expanded"]
    assert tree.nameless() == []
    box(page).fill("hello")
    assert "disabled" not in Tree(page).one("button", "Send").states


@pytest.mark.mock_only
def test_a_streamed_answer_is_busy_and_read_out_by_the_sentence(page, log):
    send(page, "hello", done=False)
    wait_done(page)
    tree = Tree(page)
    assert [node.name for node in tree.all("article")] == ["You", "MOSS"]
    assert tree.text(tree.one("article", "You")) == ["hello"]
    assert heard(page)[0] == "MOSS is answering." and heard(page)[-1] == "End of the answer."
    assert " ".join(tree.text(tree.one("article", "MOSS"))).startswith(" ".join(heard(page)[1:-1])) and len(heard(page)) > 3
    send(page, "[slow]", done=False)
    expect(answers(page).last).to_contain_text("word3")
    tree = Tree(page)
    assert tree.all("article", "MOSS")[-1].states["busy"] and tree.one("button", "Stop")
    assert tree.focused().name == "Your message" and tree.nameless() == []
    assert [node.role for node in tree if node.states.get("live")] == ["status", "log"], "the answer itself is not read with every token"
    press(page, "Stop")
    expect(answers(page).last).to_contain_text("You stopped this answer.")


@pytest.mark.mock_only
def test_stop_is_announced_and_keeps_the_focus(page, log):
    send(page, "[slow]", done=False)
    expect(answers(page).last).to_contain_text("word3")
    page.get_by_role("button", name="Stop").focus()
    page.keyboard.press("Enter")
    expect(answers(page).last).to_contain_text("You stopped this answer.")
    assert heard(page)[-1] == "Answer stopped."
    tree = Tree(page)
    assert not tree.one("article", "MOSS").states.get("busy") and tree.focused().name == "Your message"


@pytest.mark.mock_only
def test_a_failure_is_an_alert_with_its_way_out_and_no_end_of_an_answer(page, log):
    send(page, "[late-error]")
    tree = Tree(page)
    alert = tree.one("alert")
    assert alert.states["live"] == "assertive" and tree.text(alert)[0].startswith("The server failed")
    assert tree.one("button", "Try again") and "End of the answer." not in heard(page)


@pytest.mark.mock_only
def test_an_answer_that_was_cut_short_says_why(page, log):
    send(page, "[length]")
    assert heard(page)[-1] == "The maximum length was reached. You can raise it in the settings."


def test_versions_of_an_answer_are_a_group_that_says_where_one_is(page):
    send(page, "hello")
    press(page, "Answer again")
    wait_done(page)
    tree = Tree(page)
    assert tree.one("group", "Version 2 of 2") and tree.one("button", "Next version").states["disabled"]
    press(page, "Previous version")
    tree = Tree(page)
    assert tree.one("group", "Version 1 of 2") and tree.one("button", "Previous version").states["disabled"]
    assert tree.focused().name == "Next version" and tree.nameless() == []
    press(page, "Edit")
    tree = Tree(page)
    assert tree.focused().name == "Edit your message" and tree.one("button", "Send as a new branch") and tree.nameless() == []


def test_settings_are_a_modal_dialog_whose_controls_tell_value_range_and_state(page):
    press(page, "Settings")
    tree = Tree(page)
    assert tree.one("dialog", "Settings").states["modal"] and tree.focused().name == "Close"
    assert not tree.all("textbox", "Your message"), "the page behind it is not reachable"
    slider = tree.one("slider", "Temperature")
    assert (slider.states["valuemin"], slider.states["valuemax"], slider.states["valuetext"]) == (0, 1, "0.7")
    assert slider.description == "Low is predictable, high is playful"
    assert tree.all("status") == [], "the slider alone tells its value"
    assert tree.one("combobox", "Theme").value == "As the system" and tree.one("textbox", "System prompt").description
    assert {node.name for node in tree.all("region")} == {"This chat", "Answers", "Appearance", "Data", "Keys"}
    assert tree.nameless() == []
    page.keyboard.press("Escape")
    assert Tree(page).focused().name == "Settings"


@pytest.mark.mock_only
def test_switches_tell_whether_they_are_on(page, log):
    press(page, "Settings")
    assert Tree(page).one("switch", "Calculator").states["checked"] == "false"
    page.get_by_role("switch", name="Calculator").check()
    assert Tree(page).one("switch", "Calculator").states["checked"] == "true" and Tree(page).one("group", "Plugins")


def test_another_language_names_everything_anew(page):
    send(page, "hello")
    press(page, "Settings")
    page.get_by_label("Language").select_option("zh")
    tree = Tree(page)
    assert tree.one("dialog", "设置") and tree.one("slider", "温度") and tree.nameless() == []
    press(page, "关闭", page.locator("#settings"))
    tree = Tree(page)
    for role, name in [("article", "你"), ("article", "MOSS"), ("button", "重新回答"), ("navigation", "对话列表")]:
        tree.one(role, name)
    assert not [node for node in tree if node.name in ("You", "Settings", "Send", "Your message")] and tree.nameless() == []


def test_what_can_be_done_to_a_conversation_is_a_group_that_opens_and_closes(page):
    send(page, "hello")
    name = "Actions for “hello”"
    assert Tree(page).one("button", name).states["expanded"] is False
    page.get_by_role("button", name=name).click()
    tree = Tree(page)
    assert tree.one("button", name).states["expanded"] and tree.one("group", name) and tree.focused().name == "Rename"
    page.keyboard.press("Escape")
    tree = Tree(page)
    assert tree.one("button", name).states["expanded"] is False and tree.focused().name == name


@pytest.mark.mock_only
def test_code_and_tables_of_an_answer_keep_their_roles(page, log):
    send(page, "[rich]")
    tree = Tree(page)
    assert tree.one("group", "python") and tree.one("button", "Copy code") and tree.one("group", "table") and tree.one("table")
    assert tree.one("heading", "快速排序").states["level"] == 2 and len(tree.all("columnheader")) == 4 and tree.nameless() == []
