"""Keys and sessions."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from api.web.schemas import Name, Time, View
from store.access.scopes import Scope

LONGEST_DAYS = 36_500.0


class KeyRequest(BaseModel):
    """A key to be made, in the project of the key that asks for it."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"name": "nightly", "scopes": ["jobs:read", "jobs:write"]}]
        },
    )

    name: Name | None = Field(default=None, description="For people; need not be unique.")
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=20)] = Field(
        description="What it may do; `admin` may do everything in its project."
    )
    expires_in_days: float | None = Field(
        default=None, gt=0, le=LONGEST_DAYS, description="By default it does not expire."
    )
    max_running_jobs: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="How many of its jobs may run at once; the others wait. By default any number.",
    )


class KeyView(View):
    """A key, without its secret."""

    id: str
    name: str | None
    scopes: list[Scope]
    max_running_jobs: int | None
    created_at: Time
    expires_at: Time | None
    revoked_at: Time | None
    last_used_at: Time | None = Field(description="Exact to a minute.")


class NewKey(KeyView):
    """A key that was just made."""

    token: str = Field(
        description="To be sent as `Authorization: Bearer …`. It is not shown again."
    )


class SignInRequest(BaseModel):
    """A key, shown once to get a session for it."""

    model_config = ConfigDict(extra="forbid")

    key: str = Field(max_length=200, description="The whole token: `key_….SECRET`.")


class SessionView(BaseModel):
    """Who is asking."""

    key_id: str | None = Field(description="None at a server without keys.")
    name: str | None
    scopes: list[Scope]
    project: str = Field(description="The project's name.")
    expires_at: Time | None = Field(description="When the session or the key ends by itself.")
    csrf_token: str | None = Field(
        description="To be sent as `X-CSRF-Token` with every request of this session that changes "
        "something; null without a session."
    )
