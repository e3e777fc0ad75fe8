"""How does a reviewer read the queue, say what a message is, release it, and take it back?

Each answer works twice: whole pages for whoever has no script, parts of a page for htmx.
"""

from typing import Any
from urllib.parse import urlencode

from starlette.responses import HTMLResponse, Response

from spamguard.errors import NotThere, ReviewInvalid
from spamguard.review.values import Filters, Label, Page, Status, Why
from spamguard.review.web.figures_of import epoch_ms
from spamguard.review.web.visit import Visit
from spamguard.types import Action, Category, Reason

PAGE_SIZE = 40
#: What of the filters may stand in an address: words of a text and numbers may not, since addresses are logged.
IN_ADDRESS = ("status", "why", "category", "tenant", "model", "action", "reason", "since", "until")


def queue(visit: Visit) -> Response:
    """Return the desk."""
    return _desk(visit, {name: visit.asked(name) for name in IN_ADDRESS})


def search(visit: Visit) -> Response:
    """Return the desk filtered; what was searched for stays out of the address."""
    asked = _given(visit)
    if not asked["query"] and not asked["sender"]:
        return visit.go("/queue", **{name: asked[name] for name in IN_ADDRESS if asked[name]})
    return _desk(visit, asked)


def rows(visit: Visit) -> Response:
    """Return the rows behind those that are shown."""
    asked = _given(visit)
    page = visit.desk.store.queue(visit.who, filters_of(asked), after=visit.given("after") or None, limit=PAGE_SIZE)
    return visit.page("queue_rows.html", page=page, selected="")


def item(visit: Visit) -> Response:
    """Return one item: as a part of the desk, or as a page of its own."""
    return _item(visit, visit.path("item"))


def verdict(visit: Visit) -> Response:
    """Take a verdict and show what comes next."""
    label = label_of(visit.given("label"))
    visit.desk.store.verdict(
        visit.who,
        visit.path("item"),
        label,
        category=category_of(visit.given("category"), label),
        note=visit.given("note"),
        version=_number(visit.given("version")),
    )
    return _next(visit, f"verdict.{label.value}")


def settle(visit: Visit) -> Response:
    """Take a lead's word on an item two readers differ about."""
    label = label_of(visit.given("label"))
    category = category_of(visit.given("category"), label)
    visit.desk.store.settle(visit.who, visit.path("item"), label, category=category, note=visit.given("note"))
    return _next(visit, "settled")


def release(visit: Visit) -> Response:
    """Order the release of an item's blocked messages."""
    visit.desk.store.release(visit.who, visit.path("item"), note=visit.given("note"))
    return _next(visit, "released")


def undo(visit: Visit) -> Response:
    """Take back one's last verdict, or the one on an item, and show that item again."""
    undone = visit.desk.store.undo(visit.who, visit.given("item") or None)
    key = "undone_gone" if undone.gone else "undone"
    if not visit.fragment:
        return visit.go(f"/items/{undone.verdict.item}", done=key)
    return _item(visit, undone.verdict.item, said=key, row=undone.verdict.item)


def bulk(visit: Visit) -> Response:
    """Take one verdict on many items."""
    items = visit.all_given("item")
    if not items:
        raise ReviewInvalid(detail=visit.say("bulk.none"), key="none_picked")
    label = label_of(visit.given("label"))
    done = visit.desk.store.bulk(visit.who, items, label, category=category_of(visit.given("category"), label))
    return visit.go(
        "/queue",
        **{name: visit.given(name) for name in IN_ADDRESS if visit.given(name)},
        done="bulk",
        n=len(done.done),
        missed=len(done.conflicts),
    )


def number(visit: Visit) -> Response:
    """Return the whole numbers of one message; the audit log keeps that they were seen."""
    sender, recipient = visit.desk.store.number(visit.who, visit.path("item"), visit.given("decision"))
    return _part(visit, "number.html", sender=sender, recipient=recipient)


def replay(visit: Visit) -> Response:
    """Return a decision judged again."""
    return _part(visit, "replay.html", replayed=visit.desk.replay(visit.who, visit.given("decision")))


def filters_of(asked: dict[str, str]) -> Filters:
    """Return the filters of a form. Raises ReviewInvalid for a value that is none."""
    try:
        return Filters(
            status=None if asked.get("status") == "any" else Status(asked.get("status") or "open"),
            why=Why(asked["why"]) if asked.get("why") else None,
            category=asked.get("category") or None,
            tenant=asked.get("tenant") or None,
            model=asked.get("model") or None,
            action=Action(asked["action"]) if asked.get("action") else None,
            reason=Reason(asked["reason"]).value if asked.get("reason") else None,
            query=asked.get("query", ""),
            sender=asked.get("sender", ""),
            since_ms=epoch_ms(asked["since"]) if asked.get("since") else None,
            until_ms=epoch_ms(asked["until"], end_of_day=True) + 1 if asked.get("until") else None,
        )
    except ValueError:
        raise ReviewInvalid(detail="a filter has a value that does not exist", key="filter") from None


def label_of(text: str) -> Label:
    """Return the label a form names. Raises ReviewInvalid."""
    try:
        return Label(text)
    except ValueError:
        raise ReviewInvalid(detail="a verdict is spam or ham", key="verdict") from None


def category_of(text: str, label: Label | None) -> str | None:
    """Return the category a form names; a good message has none of these. Raises ReviewInvalid."""
    if not text or label is not Label.SPAM:
        return None
    try:
        return Category(text).value
    except ValueError:
        raise ReviewInvalid(detail="there is no such category", key="category") from None


def _given(visit: Visit) -> dict[str, str]:
    return {name: visit.given(name) for name in (*IN_ADDRESS, "query", "sender")}


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _desk(visit: Visit, asked: dict[str, str]) -> Response:
    filters = filters_of(asked)
    page: Page = visit.desk.store.queue(visit.who, filters, limit=PAGE_SIZE)
    detail = visit.desk.store.item(visit.who, page.items[0].id) if page.items else None
    return visit.page(
        "queue.html",
        asked=asked,
        filters=filters,
        page=page,
        selected=page.items[0].id if page.items else "",
        counts=visit.desk.store.why_counts(visit.who),
        tenants=visit.desk.store.tenants(),
        models=visit.desk.store.models(),
        categories=list(Category),
        statuses=list(Status),
        whys=list(Why),
        actions=list(Action),
        query=urlencode({name: asked[name] for name in IN_ADDRESS if asked.get(name)}),
        n=_number(visit.asked("n")) or 0,
        missed=_number(visit.asked("missed")) or 0,
        detail=detail,
    )


def _item(visit: Visit, item_id: str, *, said: str = "", row: str = "") -> Response:
    detail = visit.desk.store.item(visit.who, item_id)
    values: dict[str, Any] = {"detail": detail, "categories": list(Category), "said": said}
    values["row"] = detail.item if row else None
    if visit.fragment:
        return visit.page("item_part.html", passed=None, **values)
    return visit.page("item.html", **values)


def _next(visit: Visit, said: str) -> Response:
    """Return what follows a verdict: the next item and the row that is done, or the way back to the desk."""
    item_id = visit.path("item")
    if not visit.fragment:
        return visit.go(f"/items/{item_id}", done=said)
    if not any(name == "next" for name, _ in visit.form):
        return _item(visit, item_id, said=said)  # a page of its own: there is no list to go on with
    following = visit.given("next")
    try:
        detail = visit.desk.store.item(visit.who, following) if following else None
    except NotThere:
        detail = None
    return visit.page(
        "item_part.html",
        detail=detail,
        categories=list(Category),
        said=said,
        row=None,
        passed={"id": item_id, "said": said},
    )


def _part(visit: Visit, template: str, **values: Any) -> Response:
    if visit.fragment:
        return HTMLResponse(visit.html(template, **values))
    return visit.page("alone.html", part=template, back=f"/items/{visit.path('item')}", **values)
