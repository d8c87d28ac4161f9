"""Crystals from OPTIMADE servers (specification 1.x, https://www.optimade.org), page by page."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from http.client import HTTPException, IncompleteRead
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import parse_qsl, quote, urlencode, urljoin, urlsplit, urlunsplit
from urllib.request import Request, urlopen

from voigt import __version__
from voigt.errors import InputError
from voigt.safe_json import load_json
from voigt.structures.intake import Entry
from voigt.structures.readers.optimade import FIELDS, parse_entry
from voigt.text import printable

PAGE = 100  # structures requested at once; servers may give fewer
_LARGEST_PAGE = 1 << 28
_PASSING = (408, 425, 429, 500, 502, 503, 504)  # states of HTTP that may be gone after a while


@dataclass(frozen=True)
class Patience:
    """How to deal with a server that is slow or busy; times in seconds.

    Attributes
    ----------
    timeout
        For each answer.
    retries
        How often a request is repeated before its failure is reported.
    pause
        Before the first repetition; doubled with each further one. A server's Retry-After is kept to.
    longest
        Upper limit of a pause.
    """

    timeout: float = 60.0
    retries: int = 6
    pause: float = 1.0
    longest: float = 120.0


@dataclass(frozen=True)
class Query:
    """An OPTIMADE query whose first page was fetched."""

    address: str  # of the endpoint, without the query
    url: str  # of the first page
    count: int | None  # how many structures match, None if the server does not say
    first: Mapping[str, Any]  # page
    patience: Patience  # for the pages to come


class _NoAnswer(Exception):
    """Why a page cannot be had."""


def is_query(text: str) -> bool:
    """Whether `text` is an OPTIMADE query and not a path."""
    return text.startswith("optimade:") or re.match(r"https?://", text) is not None


def open_query(text: str, patience: Patience) -> Query:
    """Send the query and fetch its first page.

    Raises InputError: no server there, or it refuses the query, or finds nothing.

    `text`: "https://host/path/v1/structures?filter=...", with or without "optimade:" before it; without "structures" or
    the version these are added.
    """
    address, url = _addresses(text.removeprefix("optimade:"))
    try:
        first = _fetch(url, patience, insist=False)
        entries, following = _entries(first), _next_url(first, url)
    except _NoAnswer as error:
        raise InputError(f"cannot read structures from {address}: {error}") from error
    returned = _part(first, "meta").get("data_returned")
    count = returned if isinstance(returned, int) and returned > 0 else None
    if not entries and following is None:
        raise InputError(f"{address} finds no structures for this query; change the filter")
    return Query(address, url, count, first, patience)


def optimade_entries(query: Query) -> Iterator[Entry]:
    """Structures of all pages; entries that are no crystals as failures.

    Raises InputError: a later page cannot be had; says how many structures were read.
    """
    page, url, index = query.first, query.url, 0
    seen = {url}
    while True:
        for entry in _entries(page):
            yield replace(parse_entry(entry), source=query.address, index=index), f"structure:{index}"
            index += 1
        try:
            following = _next_url(page, url)
            if following is None:
                return
            if following in seen:
                raise _NoAnswer("the server leads back to a page that was already read")
            seen.add(following)
            page, url = _fetch(following, query.patience, insist=True), following
            _entries(page)
        except _NoAnswer as error:
            remedy = "start the same command again later to go on"
            raise InputError(f"{query.address} failed after {index} structures: {error}; {remedy}") from error


def _addresses(text: str) -> tuple[str, str]:
    """The endpoint, and the address of the first page with all parameters of the query."""
    wrong = f"'{text}' is no address of an OPTIMADE server; write optimade:https://host/v1/structures?filter=..."
    try:
        parts = urlsplit(text.strip())
    except ValueError as error:
        raise InputError(wrong) from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(wrong)
    path = parts.path.rstrip("/")
    if not path.endswith("/structures"):
        path += "/structures" if re.search(r"/v\d+(\.\d+)*$", path) else "/v1/structures"
    address = urlunsplit((parts.scheme, parts.netloc, path, "", ""))
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    parameters = {"page_limit": str(PAGE)} | given | {"response_format": "json", "response_fields": ",".join(FIELDS)}
    return address, f"{address}?{urlencode(sorted(parameters.items()), quote_via=quote)}"


def _fetch(url: str, patience: Patience, insist: bool) -> Mapping[str, Any]:
    """One page; a request without any answer is repeated only if `insist`."""
    headers = {"Accept": "application/json", "User-Agent": f"voigt/{__version__}"}
    pause = patience.pause
    for left in range(patience.retries, -1, -1):
        wait = 0.0
        try:
            with urlopen(Request(url, headers=headers), timeout=patience.timeout) as response:
                body = response.read(_LARGEST_PAGE + 1)
            if len(body) > _LARGEST_PAGE:
                raise _NoAnswer(f"a page has more than {_LARGEST_PAGE >> 20} MB; ask for less with page_limit")
            if response.length:  # a broken connection is no error to `read` with a limit
                raise IncompleteRead(body, response.length)
            return _page(body)
        except HTTPError as error:
            with error:
                reason = _refusal(error)
            if error.code not in _PASSING:
                raise _NoAnswer(reason) from error
            after = error.headers.get("Retry-After", "")
            wait = float(after) if after.isascii() and after.isdigit() else 0.0  # seconds; dates are not kept to
        except (OSError, HTTPException) as error:  # URLError, timeouts and broken connections are OSErrors
            cause = error.reason if isinstance(error, URLError) else error
            reason = f"no answer ({' '.join(str(cause).split()) or type(cause).__name__})"
            if not insist:
                raise _NoAnswer(f"{reason}; check the address and the connection") from error
        if left:
            time.sleep(min(max(pause, wait), patience.longest))
            pause *= 2
    raise _NoAnswer(f"{reason}, {patience.retries + 1} times")


def _page(body: bytes) -> Mapping[str, Any]:
    try:
        page = load_json(body)
    except ValueError as error:
        raise _NoAnswer("the answer is no JSON; give the address of an OPTIMADE endpoint /v1/structures") from error
    if not isinstance(page, Mapping):
        raise _NoAnswer("the answer is no OPTIMADE page; give the address of an OPTIMADE endpoint /v1/structures")
    return page


def _entries(page: Mapping[str, Any]) -> list[Any]:
    entries = page.get("data")
    if isinstance(entries, list):
        return entries
    raise _NoAnswer(_details(page) or "the answer holds no list of structures; give an endpoint /v1/structures")


def _next_url(page: Mapping[str, Any], url: str) -> str | None:
    """Address of the following page: JSON:API allows text or an object with `href`."""
    link = _part(page, "links").get("next")
    if isinstance(link, Mapping):
        link = link.get("href")
    if not link:
        return None
    try:
        following = urljoin(url, str(link))
        is_page = urlsplit(following).scheme in ("http", "https")
    except ValueError:
        is_page = False
    if not is_page:
        raise _NoAnswer(f"the server leads to '{printable(str(link)[:80])}', which is no page")
    return following


def _part(page: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = page.get(name)
    return part if isinstance(part, Mapping) else {}


def _refusal(error: HTTPError) -> str:
    try:
        details = _details(load_json(error.read(1 << 16)))
    except (OSError, HTTPException, ValueError):
        details = ""
    hint = "; correct the filter" if error.code == 400 else ""
    return (
        f"the server answers {error.code} {printable(str(error.reason))}" + (f" ({details})" if details else "") + hint
    )


def _details(page: Any) -> str:
    """What the errors of an answer say."""
    errors = page.get("errors") if isinstance(page, Mapping) else None
    details = [
        str(entry.get("detail") or entry.get("title") or "")
        for entry in (errors if isinstance(errors, list) else [])
        if isinstance(entry, Mapping)
    ]
    return printable(" ".join(filter(None, details))[:300])
