"""When the server fails, no text is lost, and the page offers how to continue."""

import pytest
from playwright.sync_api import expect

from steps import answer_text, answers, press, send, texts, wait_done

pytestmark = pytest.mark.mock_only


@pytest.mark.parametrize(
    ("word", "message"),
    [("[queue]", "waited too long in the queue"), ("[prompt]", "did not process the conversation in time"), ("[stopping]", "The server was shut down."),
     ("[failed]", "The server has failed"), ("[starting]", "The server isn't ready yet."), ("[broken]", "The server failed: a kernel failed"), ("[window]", "does not fit MOSS's context window")],
)
def test_a_refusal_is_shown_in_place(page, log, word, message):
    send(page, word)
    expect(answers(page).last.get_by_role("alert")).to_contain_text(message)
    expect(answers(page).last.get_by_role("button", name="Try again")).to_be_visible()


@pytest.mark.parametrize("word", ["[cut]", "[late-error]"])
def test_a_break_in_mid_answer_keeps_the_text_and_retry_adds_a_version(page, log, word):
    send(page, word)
    expect(answers(page).last.get_by_role("alert")).to_be_visible()
    kept = answer_text(page)
    assert kept.startswith("Answer 1")
    page.reload()
    expect(answers(page).last.get_by_role("alert")).to_be_visible()
    assert answer_text(page) == kept
    press(page, "Try again")
    expect(answers(page).last.locator(".version")).to_contain_text("2/2")


def test_an_answer_that_never_began_leaves_no_empty_version_behind(page, log, url):
    page.route("**/v1/chat/completions", lambda route: route.abort())
    send(page, "hello")
    expect(answers(page).last.get_by_role("alert")).to_contain_text("can't be reached")
    page.unroute("**/v1/chat/completions")
    press(page, "Try again")
    wait_done(page)
    assert answer_text(page).startswith("Answer 1")
    expect(answers(page).last.locator(".version")).to_have_count(0)


def test_a_busy_server_is_asked_again_only_after_its_time(page, log):
    send(page, "[busy]")
    expect(answers(page).last.get_by_role("button", name="Try again in 1 s")).to_be_disabled()
    expect(answers(page).last.get_by_role("button", name="Try again", exact=True)).to_be_enabled()


def test_a_silent_server_counts_as_gone_after_a_minute(page, log):
    page.clock.install()
    page.reload()
    send(page, "[stall]", done=False)
    expect(answers(page).last).to_contain_text("Answer")
    page.clock.fast_forward(61_000)
    expect(answers(page).last.get_by_role("alert")).to_contain_text("does not respond")
    assert "Answer" in answer_text(page)


def test_a_reload_in_mid_answer_keeps_what_was_saved(page, log):
    send(page, "[slow]", done=False)
    expect(answers(page).last).to_contain_text("word30")
    page.reload()
    expect(answers(page).last.get_by_role("alert")).to_contain_text("broke during the answer")
    assert "word5" in answer_text(page)
    expect(page.get_by_role("button", name="Send", exact=True)).to_be_visible()


def test_a_question_that_found_no_server_is_asked_together_with_the_next(page, log):
    send(page, "[broken] first")
    send(page, "second")
    assert log.bodies()[-1]["messages"][-1]["content"].endswith("first\n\nsecond")
    assert texts(page)[-2] == "second"


def test_a_key_can_be_entered_and_is_forgotten_with_the_tab(open_page, log):
    log.require_key("secret")
    page = open_page()
    expect(page.locator("#banner")).to_contain_text("asks for an API key")
    page.locator("#banner").get_by_role("button", name="Enter a key").click()
    expect(page.get_by_label("API key")).to_be_focused()
    page.keyboard.type("secret")
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    expect(page.locator("#banner")).to_be_hidden()
    send(page, "hello")
    assert answer_text(page).startswith("Answer 1")
    assert "secret" not in page.evaluate("JSON.stringify(localStorage)")


def test_a_length_limit_is_named(page, log):
    send(page, "[length]")
    expect(answers(page).last).to_contain_text("The maximum length was reached.")


def test_a_full_disk_is_reported_and_the_chat_continues(open_page, log):
    page = open_page(script="IDBObjectStore.prototype.put = () => { throw new DOMException('full', 'QuotaExceededError') }")
    send(page, "hello")
    expect(page.locator(".toast")).to_contain_text("storage is full")
    expect(page.locator(".toast")).to_have_count(1)
    assert answer_text(page).startswith("Answer 1")


def test_without_any_storage_the_page_still_talks(open_page, log):
    page = open_page(script="for (const name of ['indexedDB', 'localStorage', 'sessionStorage']) Object.defineProperty(window, name, { get() { throw new DOMException('no', 'SecurityError') } })")
    expect(page.locator(".toast")).to_contain_text("keeps no data")
    send(page, "hello")
    assert answer_text(page).startswith("Answer 1")


def test_an_answer_without_text_says_why(page, log):
    send(page, "[empty]")
    expect(answers(page).last).to_contain_text("MOSS ended its answer without any text.")
