"""Requests as lines for a shell, as the pages show them. The key is a variable: no page shows one. Pure."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

_KEY = '-H "Authorization: Bearer $ERRATA_API_KEY"'


def curl_post(base_url: str, path: str, body: Mapping[str, Any] | None = None) -> str:
    """A POST with a JSON body, or without one."""
    url = shlex.quote(base_url.rstrip("/") + path)
    if body is None:
        return f"curl -X POST {url} {_KEY}"
    sent = shlex.quote(json.dumps(body, ensure_ascii=False, indent=1))
    return f'curl {url} {_KEY} -H "Content-Type: application/json" \\\n  -d {sent}'


def curl_upload(base_url: str, path: str, fields: Mapping[str, str]) -> str:
    """A form with a file, which the reader names."""
    parts = ["-F file=@FILE", *(f"-F {shlex.quote(f'{name}={value}')}" for name, value in fields.items())]
    return " \\\n  ".join([f"curl {shlex.quote(base_url.rstrip('/') + path)} {_KEY}", *parts])
