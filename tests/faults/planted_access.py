"""Faults in who may ask for what: keys, scopes, sessions, origins, hosts, rates."""

from __future__ import annotations

from tests.faults.fault import Fault

STORE_KEYS = ("store/test_keys", "api/test_keys", "api/test_sessions|test_session")
DOOR = ("api/test_authentication|test_door", "api/test_keys")
SESSIONS = ("api/test_sessions|test_session", "store/test_keys")
RATES = ("api/test_rates",)
HOSTS = ("api/test_app", "api/test_keys", "api/test_dashboard")


def access(
    name: str,
    old: str,
    new: str,
    tests: tuple[str, ...],
    *otherwise: tuple[str, str],
) -> Fault:
    """In authentication, or in what follows from it."""
    return Fault(name, "authentication", old, new, tests, otherwise=otherwise)


FAULTS = (
    access(
        "revoked keys go on",
        "return ApiKey.revoked_at.is_(None), unexpired",
        "return (unexpired,)",
        STORE_KEYS,
    ),
    access(
        "expired keys go on",
        "return ApiKey.revoked_at.is_(None), unexpired",
        "return (ApiKey.revoked_at.is_(None),)",
        STORE_KEYS,
    ),
    access(
        "an expiry is compared with the making of the key",
        "ApiKey.expires_at > database_now())",
        "ApiKey.expires_at > ApiKey.created_at)",
        STORE_KEYS,
    ),
    access(
        "a key that was kept never expires",
        "if key is None or has_expired(key):",
        "if key is None:",
        ("api/test_keys",),
    ),
    access(
        "the id of a key is enough",
        "    if row is None or not proven:\n",
        "    if row is None:\n",
        STORE_KEYS,
    ),
    access(
        "who may read jobs may write them",
        'return wanted in scopes or "admin" in scopes',
        'return wanted.split(":")[0] in {s.split(":")[0] for s in scopes} or "admin" in scopes',
        ("api/test_authentication|test_door", "store/test_keys"),
    ),
    access(
        "one open route opens all methods of its path",
        "any(method in methods and form.match(path) for methods, form in self._routes)",
        "any(form.match(path) for methods, form in self._routes)",
        DOOR,
    ),
    access(
        "idempotency keys reach across projects",
        "ProjectKey(caller.project, given)",
        'ProjectKey("", given)',
        DOOR,
    ),
    access(
        "a key for another request gives the first answer",
        "if record.fingerprint != fingerprint:",
        "if record.route != route:",
        ("api/test_jobs", "api/test_datasets"),
    ),
    access(
        "a session needs no CSRF token",
        "            if not proven:\n                raise Problem(",
        "            if not proven and proof:\n                raise Problem(",
        SESSIONS,
    ),
    access(
        "a page of another site may write",
        "if not is_same_origin(headers, self._hosts):",
        'if "origin" not in headers and not is_same_origin(headers, self._hosts):',
        SESSIONS,
    ),
    access(
        "scripts can read the cookie",
        '        path="/",\n        httponly=True,',
        '        path="/",\n        httponly=False,',
        SESSIONS,
    ),
    access(
        "a session outlives its hours",
        "BrowserSession.expires_at > database_now(),\n            *valid(),",
        "*valid(),",
        SESSIONS,
        ("SignIn.expires_at > database_now(), *valid()", "*valid()"),
    ),
    access(
        "a session outlives its key",
        "BrowserSession.expires_at > database_now(),\n            *valid(),",
        "BrowserSession.expires_at > database_now(),",
        SESSIONS,
        ("SignIn.expires_at > database_now(), *valid()", "SignIn.expires_at > database_now()"),
    ),
    access(
        "signing out ends nothing at the server",
        "            end_session(session, token)\n        response.delete_cookie(",
        "            pass\n        response.delete_cookie(",
        SESSIONS,
        (
            "            end_sign_in(session, token)\n        response.delete_cookie(",
            "            pass\n        response.delete_cookie(",
        ),
    ),
    access(
        "any name is answered without keys",
        "if (not keyed or self._listed) and not self.include(",
        "if self._listed and not self.include(",
        HOSTS,
    ),
    access(
        "an open server answers its network",
        "if host is None or host.is_loopback:",
        "if host is None or host.is_private:",
        ("api/test_keys", "api/test_rates"),
    ),
    access(
        "wrong keys are not counted",
        "            self._rates.note_failure(address, key_id_of(token))\n",
        "            pass\n",
        RATES,
    ),
    access(
        "every IPv6 address is somebody else",
        "IPV6_NETWORK = 64",
        "IPV6_NETWORK = 128",
        RATES,
    ),
)
