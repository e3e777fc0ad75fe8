"""Who is asking, in which language, with which form, and how is an answer made for them?

A handler gets one `Visit` and returns a response; it never touches cookies, tokens or headers by itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from jinja2 import Environment
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from spamguard.errors import NotThere, SpamguardError
from spamguard.review.access import may
from spamguard.review.desk import Desk
from spamguard.review.values import Person, Session
from spamguard.review.web.words import Say, told

THEMES: Final = ("auto", "light", "dark")


@dataclass(frozen=True, kw_only=True)
class Visit:
    """One request with all that an answer to it needs."""

    request: Request
    desk: Desk
    pages: Environment
    language: str
    say: Say
    theme: str
    csrf: str  #: what every form of the answer carries
    demo: bool
    session: Session | None = None
    form: Sequence[tuple[str, str]] = ()
    body: bytes = b""
    caller: Person | None = None  #: the call centre's program, on the API
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def who(self) -> Person:
        """Return who is asking; a door without a permission may not ask this."""
        person = self.caller or (self.session.person if self.session else None)
        if person is None:
            raise NotThere(what="page")
        return person

    @property
    def address(self) -> str:
        """Return where the request came from."""
        return self.request.client.host if self.request.client else ""

    @property
    def fragment(self) -> bool:
        """Return whether a part of a page is asked for."""
        return self.request.headers.get("hx-request") == "true"

    def told(self, error: SpamguardError) -> str:
        """Return what was refused, in the visitor's language."""
        return told(self.say, error) or self.say("error.404" if isinstance(error, NotThere) else "error.400")

    def path(self, name: str) -> str:
        """Return a part of the address."""
        return str(self.request.path_params[name])

    def asked(self, name: str) -> str:
        """Return a value from behind the question mark, trimmed; empty when it is not there."""
        return self.request.query_params.get(name, "").strip()

    def given(self, name: str) -> str:
        """Return a field of the form, trimmed; empty when it is not there."""
        return next((value.strip() for key, value in self.form if key == name), "")

    def all_given(self, name: str) -> list[str]:
        """Return all fields of this name."""
        return [value for key, value in self.form if key == name]

    def page(
        self, template: str, *, status: int = 200, headers: Mapping[str, str] | None = None, **values: Any
    ) -> Response:
        """Return a page, or a part of one."""
        return HTMLResponse(self.html(template, **values), status_code=status, headers=dict(headers or {}))

    def html(self, template: str, **values: Any) -> str:
        """Return a template filled in."""
        person = self.session.person if self.session else None
        return self.pages.get_template(template).render(
            visit=self,
            t=self.say,
            lang=self.language,
            theme=self.theme,
            csrf=self.csrf,
            person=person,
            may=lambda permission: person is not None and may(person, permission),
            done=self.asked("done"),
            demo=self.demo,
            now_ms=self.desk.now_ms(),
            here=self.request.url.path,
            **self.extra,
            **values,
        )

    def go(self, path: str, **query: object) -> Response:
        """Return the way to another page, after something was done."""
        where = path + ("?" + urlencode({key: str(value) for key, value in query.items()}) if query else "")
        if self.fragment:
            return Response(status_code=204, headers={"HX-Redirect": where})
        return RedirectResponse(where, status_code=303)

    def back(self, fallback: str) -> str:
        """Return the page a form says it came from, when it is one of ours."""
        return ours(self.given("back")) or fallback


def ours(path: str) -> str:
    """Return a path of this site with its query, or nothing: never a way to another site.

    >>> ours("/cases?status=received"), ours("//evil.example/"), ours("https://evil.example"), ours("/\\\\evil.example")
    ('/cases?status=received', '', '', '')
    """
    parts = urlsplit(path)
    if parts.scheme or parts.netloc or not path.startswith("/") or path.startswith("//") or "\\" in path:
        return ""
    if any(ord(character) < 0x20 for character in path) or ".." in PurePosixPath(parts.path).parts:
        return ""
    return path
