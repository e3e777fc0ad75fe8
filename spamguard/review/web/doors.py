"""Which addresses are there, and which permission does each need? One table; a test walks through all of it."""

from collections.abc import Callable
from typing import Final, NamedTuple

from starlette.responses import Response

from spamguard.review.web import account, api, cases, entries, figures, people, queue
from spamguard.review.web.visit import Visit

Handler = Callable[[Visit], Response]


class Door(NamedTuple):
    """One address with one method."""

    method: str
    path: str
    permission: str | None  #: a row of `access.PERMISSIONS`; None is open to whoever comes
    handler: Handler
    api: bool = False  #: answers JSON, by a token of the call centre, never by a cookie


DOORS: Final = (
    Door("GET", "/", None, account.front),
    Door("GET", "/healthz", None, account.health),
    Door("GET", "/login", None, account.login_page),
    Door("POST", "/login", None, account.login),
    Door("POST", "/preferences", None, account.preferences),
    Door("GET", "/receipt", None, cases.receipt_page),
    Door("POST", "/receipt", None, cases.receipt),
    Door("POST", "/receipt/rate", None, cases.rate_by_receipt),
    Door("POST", "/logout", "self", account.logout),
    Door("GET", "/account", "self", account.account),
    Door("POST", "/account/password", "self", account.change_password),
    Door("POST", "/account/keys", "self", account.keys),
    Door("GET", "/queue", "queue.read", queue.queue),
    Door("POST", "/queue", "queue.read", queue.search),
    Door("POST", "/queue/rows", "queue.read", queue.rows),
    Door("POST", "/queue/bulk", "item.verdict", queue.bulk),
    Door("POST", "/undo", "item.undo", queue.undo),
    Door("GET", "/items/{item}", "item.read", queue.item),
    Door("POST", "/items/{item}/verdict", "item.verdict", queue.verdict),
    Door("POST", "/items/{item}/settle", "item.settle", queue.settle),
    Door("POST", "/items/{item}/release", "item.release", queue.release),
    Door("POST", "/items/{item}/number", "item.read", queue.number),
    Door("POST", "/items/{item}/replay", "item.replay", queue.replay),
    Door("GET", "/cases", "case.read", cases.cases),
    Door("POST", "/cases", "case.open", cases.open_case),
    Door("GET", "/cases/new", "case.open", cases.new),
    Door("POST", "/cases/find", "case.read", cases.find),
    Door("GET", "/cases/{receipt}", "case.read", cases.case),
    Door("POST", "/cases/{receipt}/note", "case.note", cases.note),
    Door("POST", "/cases/{receipt}/assign", "case.assign", cases.assign),
    Door("POST", "/cases/{receipt}/link", "case.link", cases.link),
    Door("POST", "/cases/{receipt}/resolve", "case.resolve", cases.resolve),
    Door("POST", "/cases/{receipt}/rate", "case.rate", cases.rate),
    Door("GET", "/entries", "entry.propose", entries.entries),
    Door("POST", "/entries/{entry}/approve", "entry.approve", entries.approve),
    Door("POST", "/entries/{entry}/refuse", "entry.approve", entries.refuse),
    Door("POST", "/entries/{entry}/withdraw", "entry.withdraw", entries.withdraw),
    Door("GET", "/figures", "figures.read", figures.figures),
    Door("GET", "/figures.csv", "figures.export", figures.csv),
    Door("GET", "/labels.jsonl", "labels.export", figures.labels),
    Door("GET", "/report", "report.read", figures.report),
    Door("GET", "/people", "people.manage", people.people),
    Door("POST", "/people", "people.manage", people.add),
    Door("POST", "/people/{name}/role", "people.manage", people.set_role),
    Door("POST", "/people/{name}/active", "people.manage", people.set_active),
    Door("POST", "/people/{name}/password", "people.manage", people.reset_password),
    Door("POST", "/tokens", "people.manage", people.add_token),
    Door("POST", "/tokens/revoke", "people.manage", people.revoke_token),
    Door("GET", "/audit", "audit.read", people.audit),
    Door("POST", "/audit/verify", "audit.read", people.verify),
    Door("POST", "/api/v1/cases", "case.open", api.open_case, api=True),
    Door("GET", "/api/v1/cases/{receipt}", "case.read", api.state, api=True),
    Door("POST", "/api/v1/cases/{receipt}/satisfaction", "case.rate", api.rate, api=True),
)
