"""The authenticated caller of a request, and its scopes.

`api.access.authentication` finds out who it is before anything of a request is read. A route says
what it needs by a parameter such as `caller: JobsReader`, or that anyone may use it by
`dependencies=[Anyone]`; an application with a route that says neither is not made at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import RouteContext, iter_route_contexts
from starlette.routing import compile_path

from api.web.problems import Problem
from store.access.scopes import SCOPES, Scope, allows
from store.tables import DEFAULT_PROJECT

COOKIE = "carot_session"
CSRF_HEADER = "X-CSRF-Token"


@dataclass(frozen=True)
class Caller:
    """An authenticated caller, and the project that it sees.

    Attributes:
        key_id: None at a server without keys.
        signed_in: a browser, by a cookie.
    """

    project: str
    key_id: str | None
    scopes: frozenset[str] = frozenset(SCOPES)
    signed_in: bool = False

    def may(self, scope: Scope) -> bool:
        """Whether the key has a scope."""
        return allows(self.scopes, scope)


OPEN = Caller(DEFAULT_PROJECT, None)
"""Anybody, at a server without keys."""


@dataclass(frozen=True)
class Needs:
    """A dependency that lets only callers with one of some scopes pass; without any, every key."""

    scopes: tuple[Scope, ...]

    async def __call__(self, request: Request) -> Caller:
        """The authenticated caller of this request.

        Raises:
            Problem: 401 without authentication, 403 without any of the scopes.
        """
        caller = known_caller(request)
        if caller is None:
            raise unauthenticated()
        if self.scopes and not any(caller.may(scope) for scope in self.scopes):
            raise lacks(*self.scopes)
        return caller


def needs(*scopes: Scope) -> Needs:
    """A dependency that lets callers pass who have one of `scopes`; without any, every key."""
    return Needs(scopes)


async def anyone() -> None:
    """Lets every request pass, also without authentication."""


AnyKey = Annotated[Caller, Depends(needs())]
JobsReader = Annotated[Caller, Depends(needs("jobs:read"))]
JobsWriter = Annotated[Caller, Depends(needs("jobs:write"))]
ModelsReader = Annotated[Caller, Depends(needs("models:read"))]
Predicting = Annotated[Caller, Depends(needs("predict"))]
Asking = Annotated[Caller, Depends(needs("models:read", "predict"))]
"""Whoever may ask a model may know which there are."""
Admin = Annotated[Caller, Depends(needs("admin"))]
Anyone = Depends(anyone)


def known_caller(request: Request) -> Caller | None:
    """The authenticated caller, if there is one."""
    caller = getattr(request.state, "caller", None)
    return caller if isinstance(caller, Caller) else None


def unauthenticated(detail: str = "", *, wrong: bool = False) -> Problem:
    """The answer without authentication. It is the same whatever is wrong with a key."""
    if not detail:
        detail = (
            "this key is unknown, wrong, revoked or expired"
            if wrong
            else "a key is needed: Authorization: Bearer key_….SECRET"
        )
    challenge = 'Bearer realm="carot"' + (', error="invalid_token"' if wrong else "")
    return Problem(401, "unauthenticated", detail, headers={"WWW-Authenticate": challenge})


def lacks(*scopes: Scope) -> Problem:
    """The answer to a key that may not do this; one of `scopes` would be enough."""
    challenge = f'Bearer realm="carot", error="insufficient_scope", scope="{scopes[0]}"'
    detail = f"this key lacks the scope {' or '.join(scopes)}"
    return Problem(403, "forbidden", detail, headers={"WWW-Authenticate": challenge})


class UndeclaredScope(Exception):
    """A route that does not say who may use it."""


class OpenRoutes:
    """The routes that need no authentication, as they declare themselves.

    Raises:
        UndeclaredScope: a route says neither what it needs nor that anyone may use it.
    """

    def __init__(self, app: FastAPI) -> None:
        self._routes: list[tuple[frozenset[str], re.Pattern[str]]] = []
        for route in iter_route_contexts(app.routes):
            if route.path == app.openapi_url:  # FastAPI's own; it needs a key
                continue
            if is_open(route):
                methods = frozenset(route.methods or ())
                self._routes.append((methods, compile_path(str(route.path))[0]))

    def include(self, method: str, path: str) -> bool:
        """Whether a request without authentication may pass."""
        return any(method in methods and form.match(path) for methods, form in self._routes)


def is_open(route: RouteContext) -> bool:
    """Whether anyone may use a route.

    Raises:
        UndeclaredScope: it does not say.
    """
    dependant: Dependant | None = getattr(route, "dependant", None)
    found = [] if dependant is None else list(_declared(dependant))
    if not found:
        raise UndeclaredScope(f"{route.path}: say who may use it, as api/access/callers.py tells")
    return anyone in found


def declared_scopes(route: RouteContext) -> set[Scope]:
    """The scopes of which a route needs one; empty when any key, or anyone, may use it."""
    dependant: Dependant | None = getattr(route, "dependant", None)
    found = [] if dependant is None else _declared(dependant)
    return {scope for each in found if isinstance(each, Needs) for scope in each.scopes}


def _declared(dependant: Dependant) -> Iterator[Any]:
    for each in dependant.dependencies:
        if isinstance(each.call, Needs) or each.call is anyone:
            yield each.call
        yield from _declared(each)
