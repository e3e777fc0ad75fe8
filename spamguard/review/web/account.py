"""How does somebody come in, choose a language, look after their password, and leave?"""

from starlette.responses import PlainTextResponse, Response

from spamguard.errors import LoginRefused, ReviewInvalid
from spamguard.review.access import may
from spamguard.review.web.visit import THEMES, Visit, ours
from spamguard.review.web.words import LANGUAGES


def front(visit: Visit) -> Response:
    """Return the way to where somebody works."""
    if visit.session is None:
        return visit.go("/login")
    return visit.go("/queue" if may(visit.who, "queue.read") else "/cases")


def health(visit: Visit) -> Response:
    """Answer a load balancer: the process is there."""
    return PlainTextResponse("ok")


def login_page(visit: Visit) -> Response:
    """Return the login page."""
    if visit.session is not None:
        return visit.go("/")
    return visit.page("login.html", back=ours(visit.asked("back")), refused=None, name="")


def login(visit: Visit) -> Response:
    """Let somebody in, under a new token each time: one that was planted before is worth nothing."""
    name = visit.given("name")
    password = next((value for key, value in visit.form if key == "password"), "")
    try:
        session = visit.desk.people.login(name, password, address=visit.address)
    except LoginRefused as refused:
        wait_s = float(str(refused.fields.get("wait_s") or 0))
        headers = {"Retry-After": f"{wait_s:.0f}"} if wait_s else {}
        return visit.page(
            "login.html",
            status=429 if wait_s else 401,
            headers=headers,
            back=visit.back(""),
            refused={"wait_s": wait_s},
            name=name,
        )
    if visit.session is not None:
        visit.desk.people.logout(visit.session.token)
    visit.extra["login"] = session
    return visit.go(visit.back("/"))


def logout(visit: Visit) -> Response:
    """End the session, here and in the database."""
    if visit.session is not None:
        visit.desk.people.logout(visit.session.token)
    visit.extra["logout"] = True
    return visit.go("/login", done="logout")


def preferences(visit: Visit) -> Response:
    """Keep the language or the look somebody chose."""
    language, theme = visit.given("language"), visit.given("theme")
    if language in LANGUAGES:
        visit.extra["spamguard_language"] = language
        if visit.session is not None:
            visit.desk.people.set_language(visit.who, language)
    if theme in THEMES:
        visit.extra["spamguard_theme"] = theme
    return visit.go(visit.back("/"))


def account(visit: Visit) -> Response:
    """Return one's own account."""
    return visit.page("account.html", refused="")


def change_password(visit: Visit) -> Response:
    """Change one's password: every session ends, and here a new one begins."""
    old, new, again = (next((v for k, v in visit.form if k == name), "") for name in ("old", "new", "again"))
    if new != again:
        return visit.page("account.html", status=400, refused=visit.say("account.differ"))
    try:
        visit.desk.people.change_password(visit.who, old, new)
    except ReviewInvalid as refused:
        return visit.page("account.html", status=400, refused=visit.told(refused))
    except LoginRefused as refused:
        if wait_s := int(str(refused.fields["wait_s"])):
            told = visit.say("login.slow", wait=wait_s)
            return visit.page("account.html", status=429, headers={"Retry-After": f"{wait_s}"}, refused=told)
        return visit.page("account.html", status=400, refused=visit.say("account.wrong_old"))
    visit.extra["login"] = visit.desk.people.login(visit.who.name, new, address=visit.address)
    return visit.go("/account", done="password")


def keys(visit: Visit) -> Response:
    """Switch single-key commands off for somebody whose speech input or screen reader needs the keys, or on again."""
    visit.extra["spamguard_keys"] = "off" if visit.given("keys") == "off" else "on"
    return visit.go("/account", done="saved")
