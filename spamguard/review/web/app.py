"""What stands between the network and a handler: who is asking, may they, and is it really their own doing?

Every request passes here in one order: size → session → permission → proof against forged requests → handler, in a
thread. Answers leave with headers that forbid scripts and styles of anybody else, framing, and keeping a copy.
"""

import hashlib
import hmac
import secrets
import traceback
from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from http import HTTPStatus
from importlib.resources import files
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import structlog
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spamguard.errors import Conflict, Forbidden, LoginRefused, NotThere, ReviewInvalid, SpamguardError
from spamguard.review.access import demand
from spamguard.review.desk import Desk
from spamguard.review.receipts import spoken_receipt
from spamguard.review.values import Session
from spamguard.review.vault import masked
from spamguard.review.web import deeds, figures_of, marks
from spamguard.review.web.doors import DOORS, Door
from spamguard.review.web.visit import THEMES, Visit, ours
from spamguard.review.web.words import LANGUAGES, preferred, speaker, told

log = structlog.get_logger()

#: No form is longer; a pasted message is a few kilobytes.
MAX_BODY_BYTES: Final = 256 * 1024
MAX_FIELDS: Final = 1000
SESSION_COOKIE: Final = "spamguard_session"
VISITOR_COOKIE: Final = "spamguard_visitor"
LANGUAGE_COOKIE: Final = "spamguard_language"
THEME_COOKIE: Final = "spamguard_theme"
KEYS_COOKIE: Final = "spamguard_keys"
YEAR_S: Final = 365 * 86_400

#: Nothing may load or run but our own files; no style or script stands inside a page.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
#: What a refusal of the desk is in HTTP.
STATUS: Final[dict[type[SpamguardError], int]] = {
    Forbidden: 403,
    NotThere: 404,
    Conflict: 409,
    LoginRefused: 401,
    ReviewInvalid: 400,
}
#: Where somebody whose password was set by another person may go before changing it.
BEFORE_CHANGE: Final = frozenset(("/account", "/account/password", "/logout", "/preferences"))


class Refused(Exception):
    """A request that goes no further, with its HTTP status."""

    def __init__(self, status: int, key: str = "") -> None:
        self.status = status
        self.key = key or f"error.{status}"
        super().__init__(status)


def create_app(desk: Desk, *, secure_cookies: bool, demo: bool = False) -> Starlette:
    """Return the web application over a desk.

    `secure_cookies` binds cookies to HTTPS and to this host; only a demonstration on one's own machine goes without.
    """
    front = _Front(desk, _environment(), secure_cookies=secure_cookies, demo=demo)
    routes: list[Any] = [
        Route(door.path, front.endpoint(door), methods=[door.method], name=f"{door.method} {door.path}")
        for door in DOORS
    ]
    routes.append(Mount("/static", StaticFiles(packages=[(__package__, "static")])))
    app = Starlette(
        routes=routes,
        exception_handlers={HTTPException: front.refuse, Refused: front.refuse, SpamguardError: front.refuse},
    )
    app.router.redirect_slashes = False
    app.add_middleware(_Headers, secure=secure_cookies)
    app.add_middleware(_Caught, front=front)
    return app


@cache
def version_of(name: str) -> str:
    """Return a few figures that change when a static file does."""
    return hashlib.sha256((files(__package__) / "static" / name).read_bytes()).hexdigest()[:10]


def _environment() -> Environment:
    """Return the templates: everything is escaped, and a misspelt name is an error."""
    pages = Environment(
        loader=PackageLoader(__package__, "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters.update(
        moment=figures_of.moment,
        stamp=figures_of.stamp,
        score=figures_of.score_text,
        percent=figures_of.percent,
        interval=figures_of.interval,
        place=figures_of.place,
        spoken=spoken_receipt,
        masked=masked,
    )
    pages.globals.update(
        pieces=marks.pieces,
        span=figures_of.span,
        static=lambda name: f"/static/{name}?v={version_of(name)}",
        languages=LANGUAGES,
        themes=THEMES,
        told=deeds.told,
    )
    return pages


class _Front:
    """Turns requests into visits, and refusals into pages."""

    def __init__(self, desk: Desk, pages: Environment, *, secure_cookies: bool, demo: bool) -> None:
        self.desk = desk
        self.pages = pages
        self.secure = secure_cookies
        self.demo = demo
        self.told: dict[str, Any] = {}
        if demo:
            from spamguard.review.demo import DEMO_PASSWORD, PEOPLE  # nobody else needs its samples

            self.told = {"demo_people": PEOPLE, "demo_password": DEMO_PASSWORD}

    def cookie(self, name: str) -> str:
        """Return a cookie's whole name; the prefix makes browsers refuse one that another host planted."""
        return f"__Host-{name}" if self.secure else name

    def endpoint(self, door: Door) -> Callable[[Request], Awaitable[Response]]:
        """Return the function Starlette calls for a door."""

        async def answer(request: Request) -> Response:
            body = await _body(request) if door.method == "POST" else b""
            if door.api:
                return await run_in_threadpool(self.by_token, door, request, body)
            return await run_in_threadpool(self.by_cookie, door, request, body)

        return answer

    def by_cookie(self, door: Door, request: Request, body: bytes) -> Response:
        """Answer somebody at a browser."""
        visit = self.visit(request, body)
        session = visit.session
        if door.permission is not None:
            if session is None:
                return self.to_login(request)
            demand(session.person, door.permission)
            if session.person.must_change and request.url.path not in BEFORE_CHANGE:
                return visit.go("/account", done="must_change")
        if door.method == "POST":
            self.prove(visit)
        response = door.handler(visit)
        self.keep(visit, response)
        return response

    def by_token(self, door: Door, request: Request, body: bytes) -> Response:
        """Answer the call centre's program."""
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        person = self.desk.tokens.person(token.strip()) if kind.lower() == "bearer" and token.strip() else None
        if person is None:
            return JSONResponse(
                {"error": "a token is needed: Authorization: Bearer …"},
                status_code=401,
                headers={"WWW-Authenticate": "Bearer"},
            )
        if door.permission is not None:
            demand(person, door.permission)
        return door.handler(self.visit(request, body, form=False, caller=person))

    def visit(self, request: Request, body: bytes = b"", *, form: bool = True, caller: Any = None) -> Visit:
        """Return the visit of a request."""
        session = None if caller else self.session(request)
        asked = request.cookies.get(self.cookie(LANGUAGE_COOKIE), "")
        own = session.person.language if session else ""
        language = next(
            (choice for choice in (asked, own) if choice in LANGUAGES),
            preferred(request.headers.get("accept-language", "")),
        )
        theme = request.cookies.get(self.cookie(THEME_COOKIE), "")
        visitor = request.cookies.get(self.cookie(VISITOR_COOKIE), "")
        new = "" if session or len(visitor) >= 32 else secrets.token_urlsafe(32)
        return Visit(
            request=request,
            desk=self.desk,
            pages=self.pages,
            language=language,
            say=speaker(language),
            theme=theme if theme in THEMES else "auto",
            csrf=session.csrf if session else _proof(new or visitor),
            demo=self.demo,
            session=session,
            form=_fields(request, body) if form and body else (),
            body=body,
            caller=caller,
            extra={
                "keys_on": request.cookies.get(self.cookie(KEYS_COOKIE), "on") != "off",
                "new_visitor": new,
                **self.told,
            },
        )

    def session(self, request: Request) -> Session | None:
        """Return the login a request's cookie stands for."""
        token = request.cookies.get(self.cookie(SESSION_COOKIE), "")
        return self.desk.people.session(token) if token else None

    def prove(self, visit: Visit) -> None:
        """Return when a change was asked for by one of our own pages. Raises Refused."""
        request = visit.request
        site = request.headers.get("sec-fetch-site")
        if site is not None and site not in ("same-origin", "none"):
            raise Refused(403, "error.forged")
        origin = request.headers.get("origin")
        if site is None and origin is not None and urlsplit(origin).netloc != request.headers.get("host", ""):
            raise Refused(403, "error.forged")
        given = visit.given("csrf") or request.headers.get("x-csrf-token", "")
        if visit.extra["new_visitor"] or not hmac.compare_digest(given.encode(), visit.csrf.encode()):
            raise Refused(403, "error.forged")

    def keep(self, visit: Visit, response: Response) -> None:
        """Put what a handler wants remembered into cookies."""
        keep = visit.extra
        if "login" in keep:
            self.set(response, SESSION_COOKIE, keep["login"].token)
            self.drop(response, VISITOR_COOKIE)
        elif "logout" in keep:
            self.drop(response, SESSION_COOKIE)
            response.headers["Clear-Site-Data"] = '"cache", "storage"'
        elif keep["new_visitor"]:
            self.set(response, VISITOR_COOKIE, keep["new_visitor"])
        for name in (LANGUAGE_COOKIE, THEME_COOKIE, KEYS_COOKIE):
            if name in keep:
                self.set(response, name, keep[name], max_age=YEAR_S)

    def set(self, response: Response, name: str, value: str, *, max_age: int | None = None) -> None:
        """Set a cookie that no script sees and no other site sends."""
        response.set_cookie(
            self.cookie(name), value, max_age=max_age, path="/", secure=self.secure, httponly=True, samesite="lax"
        )

    def drop(self, response: Response, name: str) -> None:
        """Take a cookie back."""
        response.delete_cookie(self.cookie(name), path="/", secure=self.secure, httponly=True, samesite="lax")

    def to_login(self, request: Request) -> Response:
        """Return the way to the login page, and from there back."""
        if request.headers.get("hx-request") == "true":
            return Response(status_code=401, headers={"HX-Redirect": "/login"})
        back = request.url.path if request.method == "GET" else ""
        return RedirectResponse("/login" + (f"?back={back}" if ours(back) and back != "/" else ""), status_code=303)

    async def refuse(self, request: Request, error: Exception) -> Response:
        """Answer what was refused or failed, in the visitor's language and without a detail of ours."""
        return await run_in_threadpool(self.refusal, request, error)

    def refusal(self, request: Request, error: Exception) -> Response:
        """Return the page, the part of a page or the JSON that says what went wrong."""
        status, key = _told(error)
        headers = dict(getattr(error, "headers", None) or {})
        if request.url.path.startswith("/api/"):
            said = str(error) if isinstance(error, (Conflict, ReviewInvalid)) else ""
            return JSONResponse({"error": said or HTTPStatus(status).phrase}, status_code=status, headers=headers)
        if request.url.path.startswith("/static/"):
            return PlainTextResponse(HTTPStatus(status).phrase, status_code=status)
        visit = self.visit(request)
        sentence = told(visit.say, error) if isinstance(error, SpamguardError) else ""
        template = "said.html" if visit.fragment else "error.html"
        response = visit.page(template, status=status, headers=headers, key=key, sentence=sentence, code=status)
        self.keep(visit, response)
        return response


def _told(error: Exception) -> tuple[int, str]:
    """Return what to say of an error: status, and the key of a phrase."""
    if isinstance(error, Refused):
        return error.status, error.key
    if isinstance(error, HTTPException):
        status = error.status_code if error.status_code in (403, 404, 405, 413, 415, 429) else 400
        return status, f"error.{status}"
    if isinstance(error, SpamguardError):
        for kind, status in STATUS.items():
            if isinstance(error, kind):
                return status, f"error.{status}"
    return 500, "error.500"


def _proof(visitor: str) -> str:
    """Return what a form of somebody without a login carries: only who knows the cookie can know it."""
    return hmac.new(visitor.encode(), b"form", hashlib.sha256).hexdigest()


async def _body(request: Request) -> bytes:
    """Return a request's body. Raises Refused when it is too long."""
    found = bytearray()
    async for chunk in request.stream():
        found += chunk
        if len(found) > MAX_BODY_BYTES:
            raise Refused(413)
    return bytes(found)


def _fields(request: Request, body: bytes) -> Sequence[tuple[str, str]]:
    """Return the fields of a form. Raises Refused for what is no form."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise Refused(415)
    try:
        return parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="replace")
    except ValueError:
        raise Refused(400) from None


class _Headers:
    """Adds the headers that keep others out, to every answer."""

    def __init__(self, app: ASGIApp, *, secure: bool) -> None:
        self.app = app
        self.fixed = dict(HEADERS)
        if secure:
            self.fixed["Strict-Transport-Security"] = f"max-age={YEAR_S}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self.fixed.items():
                    headers[name] = value
                headers["Cache-Control"] = (
                    f"public, max-age={YEAR_S}, immutable"
                    if scope["path"].startswith("/static/") and b"v=" in scope["query_string"]
                    else "no-store"
                )
            await send(message)

        await self.app(scope, receive, with_headers)


class _Caught:
    """Turns a failure nobody foresaw into a page without a detail, and into a line of the log without a text.

    The exception goes no further: a server would log its message, in which a database puts the values it was given.
    """

    def __init__(self, app: ASGIApp, *, front: _Front) -> None:
        self.app = app
        self.front = front

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watching(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, watching)
        except Exception as error:
            if scope["type"] != "http":
                raise
            where = [f"{frame.name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)[-6:]]
            log.error("page_failed", method=scope["method"], error=type(error).__name__, where=where)
            if not started:
                response = await self.front.refuse(Request(scope), error)
                response.headers.update({**HEADERS, "Cache-Control": "no-store"})
                await response(scope, receive, send)
