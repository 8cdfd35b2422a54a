"""Authentication: who is asking is found out for every request, before anything of it is read.

FastAPI reads a body before it asks dependencies, so a dependency alone would let strangers send
bodies. Every route needs a key but the routes that say that anyone may use them
(`api.access.callers`).

While no key was ever made, the server belongs to whoever sits at its machine: it answers under
the names of that machine, to its own addresses. From the first key on, a key or a session is
needed everywhere. The database is asked each time, if only whether it has changed: what is revoked
is refused at once, in every process.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from anyio import CapacityLimiter, to_thread
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.access.callers import COOKIE, CSRF_HEADER, OPEN, Caller, OpenRoutes, unauthenticated
from api.access.hosts import SAFE_METHODS, Hosts, is_same_origin
from api.access.rates import Rates, Standing, address_of, peer
from api.web.lookups import Lookups
from api.web.problems import Problem, response_of
from store.access.keys import (
    ProvenKey,
    any_keys,
    authenticate_all,
    has_expired,
    is_noted,
    key_id_of,
    note_use,
)
from store.access.sessions import find_session, proves_origin
from store.database import Database
from store.tables import ApiKey

UNMETERED = "/health/"
MOST_THREADS = 8


@dataclass(frozen=True)
class Offered:
    """The credentials that a request brings."""

    token: str | None
    cookie: str | None

    @classmethod
    def by(cls, headers: Headers) -> Offered:
        """What these headers hold; a key takes precedence over a session.

        Other schemes than Bearer belong to somebody else, such as a proxy on the way.
        """
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return cls(token.strip(), None)
        cookies = cookie_parser(headers.get("cookie", ""))
        return cls(None, cookies.get(COOKIE))


class Authentication:
    """Decides whose requests are answered. One per application.

    Args:
        hosts: the names that this server answers to.
        insecure: whether strangers from elsewhere are answered while there are no keys.
    """

    def __init__(
        self, database: Database, rates: Rates, hosts: Hosts, *, insecure: bool = False
    ) -> None:
        self._database = database
        self._rates = rates
        self._hosts = hosts
        self._insecure = insecure
        self._has_keys = False
        # Of its own: requests that are under way for long must not keep others from being
        # authenticated.
        self._threads = CapacityLimiter(MOST_THREADS)
        version = database.version if database.is_sqlite else None
        self._keys = Lookups(self._proven, "authentication", version)
        self.open_routes: OpenRoutes | None = None

    def look(self) -> bool:
        """Whether keys are needed. Once they are, they always will be. Blocking."""
        if not self._has_keys:
            with self._database.reading() as session:
                self._has_keys = any_keys(session)
        return self._has_keys

    def close(self) -> None:
        """End the thread that looks keys up."""
        self._keys.close()

    async def admit(self, scope: Scope) -> tuple[Caller | None, Standing | None]:
        """Who asks, or None at a route for anyone; and how much they may still ask.

        Raises:
            Problem: 401, 403, 421 or 429.
        """
        headers = Headers(scope=scope)
        await self._check_host(headers, scope["method"])
        if self.open_routes is not None and self.open_routes.include(
            scope["method"], scope["path"]
        ):
            metered = not scope["path"].startswith(UNMETERED)
            return None, self._rates.take("address", address_of(scope)) if metered else None
        if not self._has_keys and not await to_thread.run_sync(self.look, limiter=self._threads):
            return OPEN, self._without_keys(scope)
        offered = Offered.by(headers)
        if offered.token is not None:
            caller = await self._with_key(offered.token, address_of(scope))
        elif offered.cookie is not None:
            caller = await self._with_session(offered.cookie, scope, headers)
        else:
            self._rates.take("address", address_of(scope))
            raise unauthenticated()
        return caller, self._rates.take("key", str(caller.key_id))

    async def _check_host(self, headers: Headers, method: str) -> None:
        if self._insecure and not self._has_keys:
            return
        refusal = self._hosts.refusal(headers, method, keyed=self._has_keys)
        if refusal is not None and not self._has_keys:
            # Perhaps there are keys by now, with which other rules hold.
            with suppress(SQLAlchemyError):
                await to_thread.run_sync(self.look, limiter=self._threads)
            refusal = self._hosts.refusal(headers, method, keyed=self._has_keys)
        if refusal is not None:
            raise refusal

    def _without_keys(self, scope: Scope) -> Standing | None:
        host = peer(scope)
        if host is None or host.is_loopback:
            return None
        if not self._insecure:
            raise unauthenticated(
                "this server has no keys yet, so it answers its own machine only; "
                "`carot keys create` makes one"
            )
        return self._rates.take("address", address_of(scope))

    async def _with_key(self, token: str, address: str) -> Caller:
        key = await self._keys.get(token)
        if key is None or has_expired(key):
            self._rates.note_failure(address, key_id_of(token))
            raise unauthenticated(wrong=True)
        if not is_noted(key):
            await to_thread.run_sync(self._note, key, limiter=self._threads)
        return Caller(key.project_id, key.id, key.scopes)

    def _proven(self, tokens: Sequence[str]) -> dict[str, ProvenKey | None]:
        with self._database.asking() as connection:
            return authenticate_all(connection, tokens)

    async def _with_session(self, token: str, scope: Scope, headers: Headers) -> Caller:
        proof = None if scope["method"] in SAFE_METHODS else headers.get(CSRF_HEADER, "")
        key, proven = await to_thread.run_sync(
            self._session_of, token, proof, limiter=self._threads
        )
        if key is None:
            self._rates.take("address", address_of(scope))
            raise unauthenticated("this session has ended; sign in again")
        if proof is not None:
            if not is_same_origin(headers, self._hosts):
                raise Problem(403, "forbidden", "requests from other sites' pages are refused")
            if not proven:
                raise Problem(
                    403, "forbidden", f"send {CSRF_HEADER} with the token that GET /session tells"
                )
        return Caller(key.project_id, key.id, frozenset(key.scopes), signed_in=True)

    def _session_of(self, token: str, proof: str | None) -> tuple[ApiKey | None, bool]:
        with self._database.reading() as session:
            found = find_session(session, token)
            if found is None:
                return None, False
            sign_in, key = found
            proven = proof is not None and proves_origin(sign_in, proof)
        self._note(key)
        return key, proven

    def _note(self, key: ApiKey | ProvenKey) -> None:
        if is_noted(key):
            return
        # A database that is busy with something else must not keep anybody out.
        with suppress(OperationalError), self._database.session() as session:
            note_use(session, key.id)


class AuthenticationMiddleware:
    """Refuses requests that `Authentication` does not admit, and adds rate headers to others."""

    def __init__(self, app: ASGIApp, authentication: Authentication) -> None:
        self.app = app
        self.authentication = authentication

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            raise RuntimeError(f"there is no authentication for {scope['type']}")
        try:
            caller, standing = await self.authentication.admit(scope)
        except Problem as problem:
            await response_of(problem, scope)(scope, receive, send)
            return
        scope.setdefault("state", {})["caller"] = caller

        async def telling(message: Message) -> None:
            if message["type"] == "http.response.start" and standing is not None:
                headers = MutableHeaders(scope=message)
                for name, value in standing.headers().items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, telling)
