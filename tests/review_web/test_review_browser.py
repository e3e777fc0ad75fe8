"""Can people work at the desk: without a mouse, two at once, on a phone, in both languages, with what helps them see?

Through the real application in a real browser. Each page is read by axe-core (vendor/) in light and dark.
"""

import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from spamguard.backends.clock import ManualClock
from spamguard.core.decide import Judge
from spamguard.review.values import CaseKind, Label, Outcome
from spamguard.types import Category, Clue
from tests.cast import BANK_CODE, INVOICE, LOTTERY, PHISHING
from tests.components import missing
from tests.review_web.conftest import PASSWORD, Site, serving, with_clues
from tests.reviewing import MORNING_S, SUBSCRIBER, copy_of, open_desk, staff

AXE: Final = (Path(__file__).parent / "vendor" / "axe-4.14.1.min.js").read_text(encoding="utf-8")
GOODS: Final = [
    "茶叶",
    "酒店",
    "房源",
    "体检",
    "课程",
    "名额",
    "发票",
    "贷款",
    "彩票",
    "红包",
    "订单",
    "快递",
    "会员",
    "折扣",
    "股票",
    "装修",
    "婚礼",
    "旅游",
    "健身",
    "银行",
]
PHONE: Final = {"width": 375, "height": 740}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium."""
    path = shutil.which("chromium")
    if path is None:
        missing("chromium", "a browser: there is no chromium", enable="apt-get install chromium fonts-noto-cjk")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, site: Site, name: str = "", **context: Any) -> Iterator[Page]:
    """Yield a page, with a login when a name is given; a script's error or a breach of the policy fails the test."""
    wrong: list[str] = []
    made = browser.new_context(base_url=site.url, **({"locale": "en-GB"} | context))
    page = made.new_page()
    page.set_default_timeout(15_000)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if "Content Security Policy" in said.text else None)
    page.on("dialog", lambda dialog: wrong.append(f"dialog: {dialog.message}"))
    if name:
        page.goto("/login")
        page.locator("[name=name]").fill(name)
        page.locator("[name=password]").fill(PASSWORD)
        page.keyboard.press("Enter")
        page.wait_for_url(lambda url: "/login" not in url)
    yield page
    made.close()
    assert not wrong


def shown(page: Page) -> str:
    """Return the text of the message that is open."""
    return page.locator("#detail .sms").inner_text()


def moves_on(page: Page, key: str) -> None:
    """Press a key and wait until another message is open."""
    before = page.locator("#detail [data-item]").get_attribute("data-item")
    page.keyboard.press(key)
    # No function is waited for: the page's policy lets nothing be evaluated.
    expect(page.locator(f"#detail [data-item='{before}']")).to_have_count(0)
    expect(page.locator(".htmx-request, .htmx-swapping, .htmx-settling")).to_have_count(0)


def test_a_reviewer_clears_the_queue_without_a_mouse(chromium: Browser, site: Site) -> None:
    with opened(chromium, site, "rui") as page:
        expect(page).to_have_title("Review queue · spamguard")
        first = shown(page)
        moves_on(page, "j")
        second = shown(page)
        assert second != first
        moves_on(page, "k")
        assert shown(page) == first
        moves_on(page, "s")
        expect(page.locator("#said")).to_have_text("Verdict: spam")
        assert shown(page) == second
        assert page.evaluate("document.activeElement.id") == "detail", "whoever listens hears the next message"
        moves_on(page, "h")
        expect(page.locator("#said")).to_have_text("Verdict: good")
        third = shown(page)
        moves_on(page, "u")
        assert shown(page) == second and "open again" in page.locator("#said").inner_text()
        moves_on(page, "x")
        assert shown(page) == third, "what was skipped is passed over"
        page.keyboard.press("?")
        expect(page.locator("#keys")).to_be_visible()
        page.keyboard.press("s")
        page.keyboard.press("Escape")
        expect(page.locator("#keys")).to_be_hidden()
        page.keyboard.press("n")
        page.keyboard.type("s and h are letters here")
        assert shown(page) == third, "a note is typed, not obeyed"
        page.keyboard.press("Escape")
        page.keyboard.press("3")
        assert page.locator("#detail [name=category]").input_value() == "gambling"
        while page.locator("#detail .acts-form").count():
            moves_on(page, "s")
        assert page.locator(".row:not(.passed):not(.skipped):not(.more)").count() == 0
    verdicts = {item.text: item.verdict for item in site.items(status="done")}
    assert verdicts[first].label == Label.SPAM and verdicts[third].category == "gambling"
    assert len(verdicts) == 7, "all but the one that was skipped"


def test_a_hundred_items_are_cleared_by_keys_alone_page_after_page(
    chromium: Browser, tmp_path: Path, judge: Judge
) -> None:
    dice = random.Random(5)
    desk = open_desk(f"sqlite:///{tmp_path}/review.db", judge=judge, clock=ManualClock(MORNING_S))
    desk.intake.take(
        [
            copy_of("，".join([*dice.sample(GOODS, 8), f"第{number}期"]), category=Category.MARKETING, score=0.9)
            for number in range(100)
        ]
    )
    with serving(desk, staff(desk)) as site, opened(chromium, site, "rui") as page:
        for number in range(100):
            moves_on(page, "s" if number % 3 else "h")
        expect(page.locator("#detail .acts-form")).to_have_count(0)
        assert not site.items(status="open")
    desk.close()


def test_a_release_is_ordered_by_key_and_cannot_be_ordered_twice(chromium: Browser, site: Site) -> None:
    with opened(chromium, site, "rui") as page:
        page.goto(f"/items/{site.item_with(BANK_CODE).id}")
        assert "did not get it" in page.locator("#detail h2").first.inner_text()
        page.keyboard.press("r")
        expect(page.locator("#said")).to_have_text("Release ordered")
        expect(page.locator("#detail h2").first).to_contain_text("1 released")
        expect(page.get_by_role("button", name="Release")).to_have_count(0)
    item = site.desk.store.item(site.people["lee"], site.item_with(BANK_CODE).id)
    assert item.copies[0].released_ms is not None and item.verdicts[0].label == Label.HAM


def test_many_are_judged_at_once(chromium: Browser, site: Site) -> None:
    with opened(chromium, site, "rui") as page:
        page.keyboard.press("v")
        moves_on(page, "j")
        page.keyboard.press("v")
        expect(page.locator("#bulk-count")).to_have_text("2 selected")
        page.keyboard.press("Shift+S")
        expect(page.locator("#said")).to_have_text("2 verdicts given; 0 items had changed and were left.")
        expect(page.locator(".row[data-item]")).to_have_count(6)


def test_two_reviewers_do_not_overwrite_each_other(chromium: Browser, site: Site) -> None:
    with opened(chromium, site, "rui") as one, opened(chromium, site, "ren") as other:
        assert shown(one) == shown(other)
        text = shown(one)
        moves_on(one, "s")
        other.keyboard.press("h")
        expect(other.locator("#said .bad")).to_contain_text("not done")
        assert shown(other) == text, "nothing moved under the second reader's hands"
        moves_on(other, "j")
        moves_on(other, "h")
        expect(other.locator("#said")).to_have_text("Verdict: good")
    given = {item.text: item.verdict for item in site.items(status="done")}
    assert given[text].label == Label.SPAM and given[text].who == "rui"


def test_a_search_finds_a_chinese_word_and_leaves_it_out_of_the_address(chromium: Browser, site: Site) -> None:
    with opened(chromium, site, "rui") as page:
        page.keyboard.press("/")
        page.keyboard.type("中奖" if "中奖" in LOTTERY else "奖金")
        page.keyboard.press("Enter")
        expect(page.locator(".row[data-item]")).to_have_count(1)
        assert shown(page) == LOTTERY
        assert page.url == f"{site.url}/queue"


def test_a_case_is_followed_from_the_call_to_the_answer(chromium: Browser, site: Site) -> None:
    with opened(chromium, site, "ann") as page:
        page.get_by_role("link", name="Open a case").click()
        page.get_by_label("A message did not arrive").check()
        page.get_by_label("Paste the text").check()
        expect(page.get_by_label("Subscriber's number")).to_be_hidden()
        page.get_by_label("Text", exact=True).fill(BANK_CODE)
        page.get_by_label("Note").fill("waited an hour for it")
        page.get_by_role("button", name="Open and get the number").click()
        receipt = page.locator(".receipt").inner_text()
        assert len(receipt.replace(" ", "")) == 16
        expect(page.locator("#said")).to_contain_text("Tell the subscriber")
        expect(page.get_by_role("button", name="Resolve and answer")).to_have_count(0)
        path = page.url.partition("?")[0]
    with opened(chromium, site, "rui") as page:
        page.goto(path)
        page.get_by_role("button", name="Take it myself").click()
        expect(page.locator("aside")).to_contain_text("rui")
        if page.get_by_role("button", name="This one").count():
            page.get_by_role("button", name="This one").first.click()
        expect(page.locator(".because")).to_contain_text("0.740")
        page.get_by_label("What the subscriber is told").fill("It was held by mistake and is on its way.")
        page.locator("[name=outcome][value=release]").check()
        page.get_by_role("button", name="Resolve and answer").click()
        expect(page.locator(".said-answer")).to_have_text("It was held by mistake and is on its way.")
    with opened(chromium, site) as page:
        page.goto("/receipt")
        page.get_by_label("Receipt number").fill(receipt.replace(" ", "-"))
        page.get_by_role("button", name="Ask").click()
        expect(page.locator(".state")).to_contain_text("It was held by mistake")
        page.get_by_role("button", name="Satisfaction 5 of 5").click()
        expect(page.locator("#said")).to_contain_text("Thank you")
    assert site.desk.store.item(site.people["lee"], site.item_with(BANK_CODE).id).copies[0].released_ms is not None


def test_the_language_follows_the_browser_until_somebody_chooses(chromium: Browser, site: Site) -> None:
    with opened(chromium, site, "rui", locale="zh-CN") as page:
        expect(page.locator("h1").first).to_contain_text("复核队列")
        assert page.locator("html").get_attribute("lang") == "zh-Hans"
        page.get_by_role("button", name="English").click()
        expect(page.locator("h1").first).to_contain_text("Review queue")
        page.goto("/cases")
        expect(page.locator("h1").first).to_contain_text("Cases")
        page.get_by_role("button", name="中文").click()
        expect(page.locator("h1").first).to_contain_text("投诉单")
    assert site.desk.people.get("rui").language == "zh"


def test_single_keys_can_be_switched_off(chromium: Browser, site: Site) -> None:
    with opened(chromium, site, "rui") as page:
        page.goto("/account")
        page.get_by_role("button", name="Switch single keys off").click()
        page.goto("/queue")
        page.keyboard.press("s")
        page.wait_for_timeout(200)
    assert len(site.items()) == 8


def test_a_message_that_is_a_script_is_read_like_any_other(chromium: Browser, site: Site) -> None:
    text = "<img src=x onerror=alert(1)><script>alert(2)</script> 加微信"
    site.desk.intake.take(
        [with_clues(copy_of(text), Clue(feature="微信", start=len(text) - 2, end=len(text), pull=1.5))]
    )
    with opened(chromium, site, "rui") as page:
        page.goto(f"/items/{site.item_with(text).id}")
        assert shown(page) == text
        assert page.locator("mark").inner_text() == "微信"


def worked_at(site: Site) -> list[str]:
    """Let things happen at the desk; return every page there is to see."""
    people, desk = site.people, site.desk
    invoice = site.item_with(INVOICE)
    clued = with_clues(copy_of(INVOICE.replace("0061", "0077"), sender="+8613900008888"))
    desk.intake.take([clued])
    desk.store.verdict(people["rui"], site.item_with(LOTTERY).id, Label.SPAM, note="an old trick")
    desk.store.release(people["rui"], site.item_with(BANK_CODE).id)
    waiting = desk.cases.open(people["ann"], kind=CaseKind.UNWANTED, text=PHISHING, note="the third this week")
    answered = desk.cases.open(people["ann"], kind=CaseKind.MISSING, text=BANK_CODE)
    desk.cases.resolve(people["rui"], answered.receipt, Outcome.EXPLANATION, "It was delivered after all.")
    desk.tokens.add("calls", by=people["ada"])
    return [
        "/login", "/receipt", "/queue", "/queue?why=random", f"/items/{invoice.id}", "/cases", "/cases/new",
        f"/cases/{waiting.receipt}", f"/cases/{answered.receipt}", "/entries", "/figures", "/report", "/people",
        "/audit", "/account", "/nowhere",
    ]  # fmt: skip


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_page_hinders_anybody(chromium: Browser, site: Site, theme: Any) -> None:
    pages, found = worked_at(site), []
    with (
        opened(chromium, site, "ada", color_scheme=theme) as page,
        opened(chromium, site, color_scheme=theme) as outside,
    ):
        for path in pages:
            reader = outside if path in ("/login", "/receipt") else page
            reader.goto(path)
            reader.evaluate(AXE)
            told = reader.evaluate("axe.run(document, {resultTypes: ['violations']})")
            assert len(told["passes"]) > 10, path
            found += [
                (path, theme, one["id"], one["impact"], [node["target"] for node in one["nodes"]][:3])
                for one in told["violations"]
                if one["impact"] in ("serious", "critical", "moderate")
            ]
    assert not found


@pytest.mark.parametrize("locale", ["zh-CN", "en-GB"])
def test_a_phone_shows_every_page_without_scrolling_sideways(chromium: Browser, site: Site, locale: str) -> None:
    pages, wide = worked_at(site), []
    with opened(chromium, site, "ada", locale=locale, viewport=PHONE) as page:
        for path in pages:
            page.goto(path)
            if page.evaluate("document.documentElement.scrollWidth > window.innerWidth"):
                wide.append(path)
        page.goto("/queue")
        page.locator(".row a").first.click()
        page.wait_for_url("**/items/*")
        expect(page.locator(".acts-form button").first).to_be_in_viewport()
    assert not wide


def test_everything_works_without_a_script(chromium: Browser, site: Site) -> None:
    with opened(chromium, site, "rui", java_script_enabled=False) as page:
        page.locator("#detail button[name=label][value=spam]").click()
        expect(page.locator("#said")).to_have_text("Verdict: spam")
        page.get_by_role("button", name="Undo my last").click()
        expect(page.locator("#said")).to_contain_text("open again")
        page.get_by_text("Each message").first.wait_for()
        page.get_by_role("button", name="Show numbers").first.click()
        expect(page.locator(".revealed")).to_contain_text(SUBSCRIBER)
