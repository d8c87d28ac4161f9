"""What a request passes before anything is done with it: where it comes from, how large it is, how long it takes."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
from tests.app import workers
from tests.app.conftest import quick_start, serving

from voigt.app import Limits, ServerOptions
from voigt.app.guard import allows_host


@pytest.fixture(scope="module")
def hasty() -> Iterator[str]:
    """A server that waits for an upload for a second only, and needs no models."""
    with pytest.MonkeyPatch.context() as patch:
        quick_start(patch)
        patch.setattr("voigt.app.pool.work", workers.work)
        with serving(ServerOptions(limits=Limits(upload_s=1.0)), ready=False) as found:
            yield found


@dataclass
class Raw:
    """An answer, read from the socket by hand, and how long it took."""

    status: int
    kind: str
    text: str
    seconds: float
    sent: int


def raw(address: str, head: str, pieces: Iterator[bytes]) -> Raw:
    """Send a head and then pieces until an answer is there."""
    host, port = address.removeprefix("http://").split(":")
    start = time.monotonic()
    sent = 0
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(
            f"{head}\r\nHost: {host}:{port}\r\n\r\n".replace("\n", "\r\n").replace("\r\r", "\r").encode()
        )
        connection.settimeout(0.02)
        answer = b""
        while True:
            try:
                more = connection.recv(65536)
                answer += more
                if not more:
                    break
            except TimeoutError:
                if answer:
                    continue
                piece = next(pieces, None)
                try:
                    if piece:
                        connection.sendall(piece)
                        sent += len(piece)
                except (TimeoutError, ConnectionError):
                    pass
            except ConnectionError:
                break
    status = int(answer.split(b" ")[1])
    body = json.loads(answer.split(b"\r\n\r\n", 1)[1])
    return Raw(status, body["kind"], body["text"], time.monotonic() - start, sent)


POST = "POST /api/predict HTTP/1.1\nContent-Type: application/json"


def test_a_gigabyte_is_refused_by_its_head_alone(hasty: str) -> None:
    found = raw(hasty, f"{POST}\nContent-Length: 1000000000", iter(()))
    assert (found.status, found.kind, found.sent) == (413, "too_large", 0)
    assert found.text == "1 000 MB are more than the 10 MB of a request; send a smaller file"


def test_a_stream_of_no_stated_length_is_refused_once_it_is_too_long(hasty: str) -> None:
    piece = b"400000\r\n" + b" " * 0x400000 + b"\r\n"
    found = raw(hasty, f"{POST}\nTransfer-Encoding: chunked", iter([piece] * 250))
    assert (found.status, found.kind) == (413, "too_large")
    assert found.sent < 30_000_000  # of the gigabyte that it would have been


def test_an_upload_that_never_ends_is_given_up(hasty: str) -> None:
    found = raw(hasty, f"{POST}\nContent-Length: 1000000", iter([b" "] * 1000))
    assert (found.status, found.kind) == (408, "too_slow")
    assert found.text == "the upload was not complete after 1 s; try again"
    assert 0.9 < found.seconds < 20
    assert httpx.get(f"{hasty}/api/examples").status_code == 200


def test_a_length_that_is_no_number_is_refused(hasty: str) -> None:
    host, port = hasty.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(f"{POST}\nHost: {host}\nContent-Length: -5\n\n".replace("\n", "\r\n").encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ({"Host": "evil.example"}, "forbidden_host"),
        ({"Host": "evil.example:8000"}, "forbidden_host"),
        ({"Host": "192.168.0.1"}, "forbidden_host"),
        ({"Host": ""}, "forbidden_host"),
        ({"Host": "[::1"}, "forbidden_host"),
        ({"Origin": "http://evil.example"}, "forbidden_origin"),
        ({"Origin": "null"}, "forbidden_origin"),
        ({"Origin": "http://localhost:1"}, "forbidden_origin"),
        ({"Sec-Fetch-Site": "cross-site"}, "forbidden_origin"),
        ({"Sec-Fetch-Site": "same-site"}, "forbidden_origin"),
    ],
)
def test_requests_of_other_hosts_and_pages_are_refused(hasty: str, headers: dict[str, str], kind: str) -> None:
    response = httpx.post(f"{hasty}/api/predict", json={"text": ""}, headers=headers)
    assert (response.status_code, response.json()["kind"]) == (403, kind)
    if kind == "forbidden_host":
        assert httpx.get(f"{hasty}/api/models", headers=headers).status_code == 403


def test_requests_of_the_page_itself_and_of_programs_pass(hasty: str) -> None:
    name = hasty.removeprefix("http://")
    port = name.split(":")[1]
    for headers in ({}, {"Origin": hasty, "Sec-Fetch-Site": "same-origin"}, {"Host": f"localhost:{port}"}):
        response = httpx.post(f"{hasty}/api/predict", content=b"x", headers=headers)
        assert response.json()["kind"] == "unsupported"  # of the body, which is looked at next


def test_every_answer_forbids_what_the_page_does_not_need(hasty: str) -> None:
    for path in ("/", "/api/examples", "/nothing", "/metrics"):
        headers = httpx.get(f"{hasty}{path}").headers
        rules = dict(rule.strip().split(" ", 1) for rule in headers["content-security-policy"].split(";"))
        assert rules["default-src"] == "'none'"
        assert rules["script-src"] == "'self'"
        assert rules["frame-ancestors"] == "'none'"
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers
    assert (
        "access-control-allow-origin" not in httpx.get(f"{hasty}/", headers={"Origin": "http://evil.example"}).headers
    )


def test_a_server_in_a_network_answers_by_address_and_by_the_name_of_its_machine() -> None:
    assert allows_host("10.0.0.3", "0.0.0.0")
    assert allows_host("fe80::1", "::")
    assert allows_host(socket.gethostname().lower(), "0.0.0.0")
    assert not allows_host("evil.example", "0.0.0.0")
    assert not allows_host("", "0.0.0.0")


def test_a_fault_of_our_own_is_no_traceback(hasty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("of\nours")

    monkeypatch.setattr("voigt.app.catalog.examples", broken)
    response = httpx.get(f"{hasty}/api/examples")
    assert (response.status_code, response.json()["kind"]) == (503, "crashed")
    assert response.json()["text"] == "unexpected RuntimeError: of ours; report it with the file"
