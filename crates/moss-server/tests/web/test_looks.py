"""Languages, themes, phones, the keyboard, and announcements for screen readers."""

import pytest
from playwright.sync_api import expect

from steps import answers, box, press, send, wait_done


def test_the_browsers_language_is_spoken_and_can_be_switched(open_page):
    page = open_page(locale="zh-CN")
    expect(page.get_by_role("heading", name="你好，我是 MOSS。")).to_be_visible()
    assert page.evaluate("document.documentElement.lang") == "zh-Hans"
    press(page, "设置")
    page.get_by_label("语言").select_option("en")
    press(page, "Close", page.locator("#settings"))
    expect(page.get_by_role("heading", name="Hello, I'm MOSS.")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="Hello, I'm MOSS.")).to_be_visible()


def test_a_switch_of_language_translates_messages_that_are_shown(page):
    send(page, "hello")
    press(page, "Settings")
    page.get_by_label("Language").select_option("zh")
    press(page, "关闭", page.locator("#settings"))
    expect(page.get_by_role("article", name="你")).to_be_visible()
    expect(page.get_by_role("button", name="重新回答")).to_be_visible()


def test_both_languages_have_the_same_words_and_the_same_gaps(page):
    catalogues = page.evaluate("import('/js/i18n.js').then((m) => m.CATALOGUES)")
    gaps = lambda words: {key: sorted(set(part.split("}")[0] for part in text.split("{")[1:])) for key, text in words.items()}
    assert gaps(catalogues["en"]) == gaps(catalogues["zh"])


def lightness(page):
    return page.evaluate("getComputedStyle(document.documentElement).backgroundColor.match(/\\d+/g).slice(0, 3).reduce((a, b) => a + Number(b), 0) / 765")


def test_dark_follows_the_system_and_the_switch_overrules_it(open_page):
    page = open_page(color_scheme="dark")
    assert lightness(page) < 0.2
    press(page, "Settings")
    page.get_by_label("Theme").select_option("light")
    assert lightness(page) > 0.9
    page.reload()
    assert lightness(page) > 0.9


@pytest.mark.mock_only
@pytest.mark.parametrize("width", [360, 390, 768])
def test_a_narrow_screen_needs_no_sideways_scroll(open_page, log, width):
    page = open_page(viewport={"width": width, "height": 740}, has_touch=True, is_mobile=True)
    fits = "document.documentElement.scrollWidth <= innerWidth && document.getElementById('thread').scrollWidth <= document.getElementById('thread').clientWidth"
    assert page.evaluate(fits)
    send(page, "[rich] " + "unbroken" * 40)
    assert page.evaluate(fits)
    press(page, "Show conversations")
    expect(page.get_by_role("searchbox")).to_be_focused()
    assert page.evaluate("document.getElementById('main').inert")
    page.locator("#conversation-list .open").click()
    expect(page.locator("#sidebar")).to_be_hidden()
    press(page, "Settings")
    assert page.evaluate("document.getElementById('settings').scrollWidth <= document.getElementById('settings').clientWidth")


def test_everything_can_be_done_from_the_keyboard(page):
    expect(box(page)).to_be_focused()
    page.keyboard.type("hello")
    page.keyboard.press("Enter")
    wait_done(page)
    expect(box(page)).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(page.get_by_role("textbox", name="Edit your message")).to_be_focused()
    page.keyboard.type(" again")
    page.keyboard.press("Enter")
    expect(page.locator(".user .version")).to_contain_text("2/2")
    wait_done(page)
    for _ in range(40):
        page.keyboard.press("Shift+Tab")
        if page.evaluate("document.activeElement.dataset.step") == "previous_version":
            break
    page.keyboard.press("Enter")
    expect(page.locator(".user .version")).to_contain_text("1/2")
    assert page.evaluate("document.activeElement.dataset.step") == "next_version"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Control+k")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#conversation-menu button").first).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.type("named by hand")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("named by hand")


def test_settings_keep_the_focus_and_give_it_back(page):
    press(page, "Settings")
    for _ in range(30):
        page.keyboard.press("Tab")
        # Between the last control and the first, the browser's own bar has its turn.
        assert page.evaluate("document.activeElement === document.body || document.activeElement.closest('#settings') !== null")
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Settings", exact=True)).to_be_focused()


def test_a_screen_reader_hears_each_sentence_once(page):
    send(page, "hello")
    said = page.locator("#announcements").evaluate("e => [...e.children].map((p) => p.textContent)")
    answer = " ".join(answers(page).last.locator(".prose").inner_text().split())
    assert said[0] == "MOSS is answering." and said[-1] == "End of the answer."
    assert "".join(" ".join(said[1:-1]).split()) == "".join(answer.split())
    assert page.locator("#thread [aria-live]").count() == 0


def test_every_control_has_a_name(page):
    send(page, "hello")
    press(page, "Settings")
    nameless = page.evaluate("""[...document.querySelectorAll('button, input:not([type=file]), select, textarea, meter')].filter((e) =>
        !(e.textContent.trim() || e.getAttribute('aria-label') || e.labels?.length)).map((e) => e.outerHTML)""")
    assert nameless == []


def test_words_stand_out_from_their_ground_in_both_themes(open_page):
    for scheme in ("light", "dark"):
        page = open_page(color_scheme=scheme)
        ratio = page.evaluate("""() => {
          const shade = (name) => {
            const probe = document.body.appendChild(document.createElement('i'));
            probe.style.color = `var(${name})`;
            const [r, g, b] = getComputedStyle(probe).color.match(/[\\d.]+/g).map((v) => (v /= 255, v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
            probe.remove();
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
          };
          const contrast = (a, b) => (Math.max(shade(a), shade(b)) + 0.05) / (Math.min(shade(a), shade(b)) + 0.05);
          return Math.min(...['--canvas', '--side', '--raised', '--bubble'].flatMap((ground) => ['--text', '--muted', '--accent', '--danger'].map((ink) => contrast(ink, ground))), contrast('--on-accent', '--accent'));
        }""")
        assert ratio >= 4.5, scheme  # WCAG AA for text of any size


def test_reduced_motion_stops_all_animation(open_page):
    page = open_page(reduced_motion="reduce")
    send(page, "hello", done=False)
    assert page.evaluate("document.getAnimations().length") == 0


def test_on_a_wide_screen_the_list_and_the_conversation_share_the_window(page):
    send(page, "a title that is far too long for the list at the side")
    boxes = {name: page.locator(f"#{name}").bounding_box() for name in ("sidebar", "main", "composer")}
    assert boxes["sidebar"]["width"] == 272
    assert boxes["main"] == {"x": boxes["sidebar"]["width"], "y": 0, "width": 1280 - boxes["sidebar"]["width"], "height": 800}
    assert boxes["sidebar"]["height"] == 800 and boxes["composer"]["y"] + boxes["composer"]["height"] < 800
    press(page, "Hide conversations")
    assert page.locator("#main").bounding_box()["width"] == 1280
