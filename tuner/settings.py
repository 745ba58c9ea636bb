"""Settings of a deployment, from `TUNER_*` environment variables.

Read in entry points only (`Settings.from_environment()`) and passed down as values; nothing else in the system looks at the
environment. A study's settings are not here: they are data, in `tuner.spec`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from tuner.errors import FieldError, InvalidValue

DEFAULT_PORT = 8000


class Settings(BaseModel):
    """What an operator may set. Each field is read from TUNER_ + its name in capitals."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    database_url: str | None = Field(default=None, description="postgresql://...; embedded PostgreSQL when absent")
    data: Path = Field(default=Path("tuner-data"), description="folder of the embedded database, artifacts, credentials")
    host: str = Field(default="127.0.0.1", description="address the server binds")
    port: int = Field(default=DEFAULT_PORT, ge=0, le=65535, description="port the server binds; 0: any free one")
    allowed_hosts: str = Field(default="", description="comma-separated Host names accepted beside the bound address")
    pool_size: int = Field(default=16, ge=1, le=500, description="database connections of one process at most")
    lease_ttl: float = Field(default=60.0, ge=1, le=3600, description="seconds a lease lives without renewal")
    reap_interval: float = Field(default=2.0, ge=0.05, le=300, description="seconds between two looks for expired leases")
    retry_backoff: float = Field(default=1.0, ge=0, le=3600, description="seconds a lost trial waits, doubled each attempt")
    max_body_bytes: int = Field(default=1_000_000, ge=1_000, description="largest JSON body accepted")
    max_checkpoint_bytes: int = Field(default=20_000_000_000, ge=1_000, description="largest checkpoint accepted")
    max_bundle_bytes: int = Field(
        default=50_000_000, ge=1_000, le=50_000_000, description="largest bundle of code accepted; workers take none above 50 MB"
    )
    artifacts: str | None = Field(
        default=None,
        description="folder or URL (s3://bucket/prefix) of checkpoints and bundles; the data folder's `artifacts` when absent",
    )

    @field_validator("artifacts")
    @classmethod
    def _check_artifacts(cls, artifacts: str | None) -> str | None:
        """Credentials have no place in a location: it is shown in messages. A query or a chain of URLs may hold some."""
        scheme, separator, rest = (artifacts or "").partition("://")
        if not separator:
            return artifacts
        place = rest.partition("/")[0]
        if ":" in place.rpartition("@")[0] or any(mark in rest for mark in "?#") or "::" in scheme:
            raise ValueError(
                "give a URL such as s3://bucket/prefix, without credentials, '?', '#' or '::'; drivers read credentials elsewhere"
            )
        if not re.fullmatch("[a-z][a-z0-9+.-]*", scheme) or not rest.strip("/"):
            raise ValueError("give the path of a folder, or a URL such as s3://bucket/prefix")
        return artifacts

    @property
    def artifacts_location(self) -> str:
        """The folder or URL where checkpoints and bundles lie."""
        return self.artifacts or str(self.data / "artifacts")

    @property
    def credentials_path(self) -> Path:
        """Where `tuner up` writes {server, key}, mode 0600."""
        return self.data / "credentials.json"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None, **overrides: object) -> Settings:
        """Read TUNER_*; `overrides` that are not None win. InvalidValue names the variable that is wrong."""
        environment = os.environ if environment is None else environment
        values: dict[str, object] = {}
        for name in cls.model_fields:
            text = environment.get(f"TUNER_{name.upper()}")
            if text not in (None, ""):
                values[name] = text
        values.update({name: value for name, value in overrides.items() if value is not None})
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise InvalidValue(
                errors=[
                    FieldError(f"TUNER_{str(item['loc'][0]).upper()}", item["msg"].removeprefix("Value error, "))
                    for item in error.errors()
                ]
            ) from None
