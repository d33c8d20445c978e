"""Text of users and of the model is never interpreted as markup."""

import pytest
from playwright.sync_api import expect

from steps import answers, questions, send

TRAP = """<script>window.pwned = 1</script><img src=x onerror="window.pwned = 2"> <b>bold</b> & **stars**"""


def test_html_in_a_question_is_shown_as_typed(page):
    send(page, TRAP)
    bubble = questions(page).last.locator(".bubble")
    assert bubble.inner_text() == TRAP
    assert bubble.evaluate("e => e.childElementCount") == 0
    assert page.evaluate("window.pwned") is None
    expect(page.locator("#conversation-list .title")).to_contain_text("<script>")


@pytest.mark.mock_only
def test_html_in_an_answer_is_shown_as_text(page, log):
    send(page, "[html]")
    prose = answers(page).last.locator(".prose")
    expect(prose).to_contain_text("<script>window.pwned = 1</script>")
    expect(prose).to_contain_text('<img src=x onerror="window.pwned = 2">')
    expect(prose).to_contain_text("<b>bold tags</b>")
    expect(prose.locator("script, img, iframe, b")).to_have_count(0)
    assert prose.locator("a").evaluate_all("links => links.map(a => a.href)") == ["https://example.com/p.png", "https://example.com/"]
    assert all(link.get_attribute("rel") == "noopener noreferrer" for link in prose.locator("a").all())
    assert page.evaluate("window.pwned") is None


@pytest.mark.mock_only
def test_markdown_becomes_headings_tables_and_coloured_code(page, log):
    send(page, "[rich]")
    prose = answers(page).last.locator(".prose")
    expect(prose.get_by_role("heading", name="快速排序")).to_be_visible()
    expect(prose.locator("strong")).to_have_text("分治：")  # beside Chinese punctuation, too
    expect(prose.locator("table tr")).to_have_count(3)
    expect(prose.locator("figure.code .hljs-keyword").first).to_have_text("def")
    assert prose.get_attribute("lang") == "zh-Hans"


@pytest.mark.mock_only
def test_copy_gives_the_code_and_the_whole_message(open_page, log):
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    send(page, "[rich]")
    page.get_by_role("button", name="Copy code").click()
    code = page.evaluate("navigator.clipboard.readText()")
    assert code.startswith("def quicksort(items):\n") and code.endswith("# [1, 2, 3, 6, 8]")
    answers(page).last.get_by_role("button", name="Copy", exact=True).click()
    expect(page.locator("#announcements")).to_contain_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()").startswith("## 快速排序\n")
