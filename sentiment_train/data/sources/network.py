"""Is there a network? Asked within a time limit, before something that would retry for minutes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from urllib.parse import urlsplit


def unreachable(urls: Iterable[str], seconds: float = 10) -> str | None:
    """`"example.org (no such host)"` for a host of `urls` that does not answer, else None.

    Proxies are taken from the environment, as in `requests`. Returns within `seconds`, even where
    the lookup of a name or a firewall says nothing at all.
    """
    by_host = {}
    for url in urls:
        if url.startswith("gs://"):
            url = "https://storage.googleapis.com/"
        if url.startswith(("http://", "https://")):
            by_host.setdefault(urlsplit(url).hostname, url)
    answers: dict[str, str | None] = {}
    threads = [
        threading.Thread(target=_ask, args=(host, url, seconds, answers), daemon=True)
        for host, url in by_host.items()
    ]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    for host in by_host:
        problem = answers.get(host, f"no answer in {seconds:g} seconds")
        if problem:
            return f"{host} ({problem})"
    return None


def _ask(host: str, url: str, seconds: float, answers: dict[str, str | None]) -> None:
    import requests

    try:
        response = requests.head(url, timeout=seconds / 2, allow_redirects=False)
    except requests.exceptions.Timeout:
        answers[host] = "no answer"
    except requests.exceptions.RequestException as error:
        answers[host] = "no such host" if "resolve" in str(error).lower() else "no connection"
    else:
        # What the server itself would answer to a download counts; what stands in between does not.
        gateway = response.status_code in (407, 502, 503, 504)
        answers[host] = f"HTTP status {response.status_code}" if gateway else None
