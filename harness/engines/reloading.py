"""Has a server load another policy in place of the one that it serves.

vLLM's `/collective_rpc` and `/reset_prefix_cache` exist where it was started with
VLLM_SERVER_DEV_MODE=1 (read in vLLM 0.32: `entrypoints/serve/dev`, `model_loader/reload`; it leaves
the cached prefixes of the old weights to the caller). SGLang's `/update_weights_from_disk` empties
its cache itself. Any other address is sent the folder's path as `path`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from harness.core import connections
from harness.core.secrets import Secret
from harness.core.terminal import one_line
from harness.errors import EngineError, first_line

if TYPE_CHECKING:
    from openai import OpenAI

VLLM, SGLANG = "/collective_rpc", "/update_weights_from_disk"
CACHE = "/reset_prefix_cache"
"""vLLM's, beside `/collective_rpc`."""
CACHE_ATTEMPTS, CACHE_PAUSE = 20, 0.5
"""The cache is busy while requests run; seconds between attempts."""


def reload_policy(url: str, folder: str, key: str, timeout: float) -> None:
    """Have the server at an address load the weights of a folder.

    Args:
        url: what `engine.reload_url` says.
        folder: the policy; a hub id is sent as it is.
        key: the server's key.
        timeout: seconds.

    Raises:
        EngineError: the server cannot be reached, or does not load it.
        ConfigError: the address, or a proxy that the environment names, is malformed.
    """
    path = str(Path(folder).resolve()) if Path(folder).is_dir() else folder
    parts = urlsplit(url)
    root = urlunsplit(parts._replace(path="", query="", fragment=""))
    with connections.open_sync(root, key, timeout) as client:
        try:
            reply = _post(client, url, _body(parts.path, path))
            if reply.get("success") is False:
                raise ValueError(reply.get("message") or "it says that it has not")
            if parts.path.endswith(VLLM):
                _empty_cache(client, url.removesuffix(VLLM) + CACHE)
        except Exception as error:  # whatever a server and its connection raise
            reason = Secret(key).redact(one_line(first_line(error)))
            raise EngineError(
                f"{url} did not load {path}: {reason}; vLLM needs VLLM_SERVER_DEV_MODE=1, and the "
                "server must see the folder under this path; see engine.reload_url"
            ) from error


def _body(endpoint: str, folder: str) -> dict[str, Any]:
    if endpoint.endswith(VLLM):
        return {"method": "reload_weights", "kwargs": {"weights_path": folder}}
    return {"model_path": folder} if endpoint.endswith(SGLANG) else {"path": folder}


def _post(client: OpenAI, url: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    import httpx

    response = client.post(url, body=dict(body), cast_to=httpx.Response)
    try:
        data: Any = response.json()
    except ValueError:  # an empty body
        data = {}
    return data if isinstance(data, Mapping) else {}


def _empty_cache(client: OpenAI, url: str) -> None:
    """Forget the prefixes that were computed with the weights before."""
    for attempt in range(CACHE_ATTEMPTS):
        if _post(client, url, {}).get("success", True) is not False:
            return
        time.sleep(CACHE_PAUSE if attempt else 0.0)
    raise ValueError("its prefix cache is in use: other requests run on this server")
