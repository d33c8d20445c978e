"""Writing, streaming, stopping, asking again, branching."""

import pytest
from playwright.sync_api import expect

from steps import answer_text, answers, box, press, questions, send, texts, wait_done


def test_an_answer_streams_in_and_is_shown_whole(page):
    send(page, "hello", done=False)
    expect(answers(page).last).to_have_attribute("aria-busy", "true")
    wait_done(page)
    assert answer_text(page)
    assert questions(page).last.locator(".bubble").inner_text() == "hello"
    expect(answers(page).last.locator(".stats")).to_contain_text("tokens/s")
    expect(page.locator("#meter-text")).to_contain_text("of 2048 tokens")


@pytest.mark.mock_only
def test_the_statistics_show_cached_tokens_if_there_are_any(page):
    send(page, "hello")
    expect(answers(page).last.locator(".stats")).not_to_contain_text("cached")
    send(page, "again")
    expect(answers(page).last.locator(".stats")).to_contain_text("368 of")
    expect(answers(page).last.locator(".stats")).to_contain_text("prompt tokens cached")


@pytest.mark.mock_only
def test_text_grows_while_the_server_is_still_writing(page, log):
    send(page, "[slow]", done=False)
    expect(answers(page).last).to_contain_text("word3")
    first = len(answer_text(page))
    expect(answers(page).last).to_contain_text("word9")
    assert len(answer_text(page)) > first
    expect(page.locator("#rate")).to_contain_text("tokens/s")
    press(page, "Stop")


@pytest.mark.mock_only
@pytest.mark.parametrize("way", ["button", "escape"])
def test_stop_keeps_what_has_come_and_ends_the_generation(page, log, way):
    send(page, "[slow]", done=False)
    expect(answers(page).last).to_contain_text("word3")
    press(page, "Stop") if way == "button" else page.keyboard.press("Escape")
    expect(answers(page).last).to_contain_text("You stopped this answer.")
    text = answer_text(page)
    page.wait_for_timeout(500)
    assert "word3" in answer_text(page) and answer_text(page) == text
    assert log.left() == 1
    expect(page.get_by_role("button", name="Send", exact=True)).to_be_visible()


def test_regenerate_gives_a_second_version_and_both_can_be_seen(page):
    send(page, "hello")
    first = answer_text(page)
    press(page, "Answer again")
    wait_done(page)
    expect(answers(page).last.locator(".version")).to_contain_text("2/2")
    second = answer_text(page)
    press(page, "Previous version", answers(page).last)
    expect(answers(page).last.locator(".version")).to_contain_text("1/2")
    assert answer_text(page) == first
    press(page, "Next version", answers(page).last)
    expect(answers(page).last.locator(".version")).to_contain_text("2/2")
    assert answer_text(page) == second


def test_an_edited_question_grows_a_branch_and_the_old_one_keeps_all_that_followed(page):
    send(page, "one")
    send(page, "two")
    before = texts(page)
    assert len(before) == 4
    questions(page).first.hover()
    press(page, "Edit", questions(page).first)
    field = page.get_by_role("textbox", name="Edit your message")
    expect(field).to_be_focused()
    field.fill("one, edited")
    press(page, "Send as a new branch")
    wait_done(page)
    assert texts(page)[0] == "one, edited" and len(texts(page)) == 2
    press(page, "Previous version", questions(page).first)
    expect(questions(page)).to_have_count(2)
    assert texts(page) == before
    press(page, "Next version", questions(page).first)
    expect(questions(page)).to_have_count(1)


@pytest.mark.mock_only
def test_a_branch_sends_its_own_history_alone(page, log):
    send(page, "one")
    send(page, "two")
    press(page, "Edit", questions(page).last)
    page.get_by_role("textbox", name="Edit your message").fill("three")
    page.keyboard.press("Enter")
    wait_done(page)
    assert [(m["role"], m["content"][:8]) for m in log.bodies()[-1]["messages"]] == [("user", "one"), ("assistant", "Answer 1"), ("user", "three")]


def test_escape_leaves_a_message_unedited(page):
    send(page, "one")
    press(page, "Edit", questions(page).last)
    page.get_by_role("textbox", name="Edit your message").fill("other")
    page.keyboard.press("Escape")
    assert texts(page)[0] == "one" and len(texts(page)) == 2
    expect(questions(page).last.get_by_role("button", name="Edit")).to_be_focused()


def test_shift_enter_starts_a_line_and_an_input_method_keeps_its_enter(page):
    box(page).fill("你好")
    box(page).dispatch_event("keydown", {"key": "Enter", "isComposing": True})
    expect(answers(page)).to_have_count(0)
    box(page).press("End")
    box(page).press("Shift+Enter")
    box(page).press_sequentially("世界")
    box(page).press("Enter")
    wait_done(page)
    assert texts(page)[0] == "你好\n世界"


@pytest.mark.mock_only
def test_an_answer_goes_on_while_another_conversation_is_open(page, log):
    send(page, "[slow] first", done=False)
    expect(answers(page).last).to_contain_text("word3")
    press(page, "New chat")
    expect(page.get_by_role("img", name="answering")).to_be_visible()
    send(page, "second")
    page.locator("#conversation-list .open", has_text="first").click()
    expect(answers(page).last).to_have_attribute("aria-busy", "true")
    expect(answers(page).last).to_contain_text("word20")
    press(page, "Stop")


@pytest.mark.mock_only
def test_settings_travel_with_the_request(page, log):
    press(page, "Settings")
    page.get_by_label("System prompt").fill("You are brief.")
    page.get_by_role("switch", name="Calculator").check()
    page.get_by_role("slider", name="Temperature").fill("0.3")
    page.get_by_role("slider", name="Answer time").fill("30")
    press(page, "Close", page.locator("#settings"))
    expect(page.get_by_role("button", name="1 plugin on")).to_be_visible()
    send(page, "hello")
    body = log.bodies()[-1]
    assert body["messages"][0] == {"role": "system", "content": "You are brief."}
    assert body["temperature"] == 0.3 and body["top_p"] == 0.8 and body["repetition_penalty"] == 1.02 and body["max_tokens"] == 512
    assert body["moss"] == {"max_time_s": 30, "truncation": "auto", "plugins": {"web_search": False, "calculator": True, "equation_solver": False, "text_to_image": False}}
    assert body["stream"] is True and body["stream_options"] == {"include_usage": True} and body["model"] == "stand-in"


@pytest.mark.mock_only
def test_messages_that_no_longer_fit_are_told_in_front_of_the_answer(page, log):
    send(page, "[dropped]")
    notice = answers(page).last.locator(".notice")
    expect(notice).to_have_text("This conversation exceeds MOSS's context window: the 4 oldest messages were dropped.")
    assert answer_text(page).startswith("Answer 1")
    page.reload()
    expect(notice).to_contain_text("4 oldest messages")
    press(page, "New chat")
    send(page, "hello")
    expect(answers(page).last.locator(".notice")).to_be_hidden()


@pytest.mark.mock_only
def test_a_model_without_plugins_is_offered_none(page, log):
    press(page, "Settings")
    page.get_by_role("switch", name="Calculator").check()
    page.route("**/api/info", lambda route: route.fulfill(json={**route.fetch().json(), "plugins": False}))
    page.reload()
    expect(page.locator("#server")).to_have_text("stand-in")
    expect(page.locator("#plugins-on")).to_be_hidden()
    press(page, "Settings")
    expect(page.get_by_role("switch")).to_have_count(0)
    press(page, "Close", page.locator("#settings"))
    send(page, "hello")
    assert not any(log.bodies()[-1]["moss"]["plugins"].values())
