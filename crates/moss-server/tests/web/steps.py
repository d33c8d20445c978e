"""What a user does and sees, in the words of the tests."""

from playwright.sync_api import expect


def box(page):
    return page.get_by_role("textbox", name="Your message")


def send(page, text, done=True):
    box(page).fill(text)
    box(page).press("Enter")
    if done:
        wait_done(page)


def wait_done(page):
    expect(answers(page).last).to_have_attribute("aria-busy", "false", timeout=30_000)


def answers(page):
    return page.get_by_role("article", name="MOSS")


def questions(page):
    return page.get_by_role("article", name="You")


def answer_text(page):
    return answers(page).last.locator(".prose").inner_text()


def press(page, name, within=None):
    (within or page).get_by_role("button", name=name, exact=True).last.click()


def texts(page):
    """All messages shown, first to last."""
    return [message.inner_text() for message in page.locator("article .prose, article .bubble").all()]


def rows(page):
    return page.locator("#conversation-list .open")


def row_menu(page, action):
    page.get_by_role("button", name="Actions for").first.click()
    press(page, action, page.locator("#conversation-menu"))
