"""OPTIMADE queries against a server on this machine: pages, entries as the specification writes them, and failures."""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from ase import Atoms
from tests.screening.crystal_files import assert_same, crystal, crystals, fields
from tests.structures.inputs import trouble

from voigt.errors import InputError
from voigt.screening.sources import Collection, open_collection
from voigt.screening.sources.optimade import Patience

Answer = tuple[int, dict[str, str], bytes]
"""State, headers, body."""


@dataclass
class Server:
    """Answers by a function that the test sets; keeps the requests."""

    address: str
    requests: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    answer: Callable[[str, int], Answer] = lambda _path, _number: (404, {}, b"")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known.requests.append(self.path)
            known.headers.append(dict(self.headers))
            state, headers, body = known.answer(self.path, len(known.requests) - 1)
            self.send_response(state)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Silent."""

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    known = Server(f"http://127.0.0.1:{httpd.server_port}")
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield known
    httpd.shutdown()
    httpd.server_close()
    thread.join()


def entry(atoms: Atoms, identity: str) -> dict[str, Any]:
    """A structure as section "Structures Entries" of the specification prescribes."""
    symbols = list(dict.fromkeys(atoms.get_chemical_symbols()))
    return {
        "id": identity,
        "type": "structures",
        "attributes": {
            "lattice_vectors": atoms.cell.array.tolist(),
            "cartesian_site_positions": atoms.positions.tolist(),
            "species": [{"name": name, "chemical_symbols": [name], "concentration": [1.0]} for name in symbols],
            "species_at_sites": atoms.get_chemical_symbols(),
            "dimension_types": [1, 1, 1],
            "structure_features": [],
        },
    }


def entries(count: int) -> list[dict[str, Any]]:
    return [entry(crystal(number), f"odb-{number}") for number in range(count)]


def ok(document: Any) -> Answer:
    return 200, {"Content-Type": "application/vnd.api+json"}, json.dumps(document).encode()


def pages(data: list[Any], address: str, size: int, link: str = "text") -> Callable[[str, int], Answer]:
    """Pages of `size` entries, the link to the next one in one of the forms that JSON:API allows."""

    def answer(path: str, _number: int) -> Answer:
        start = int(parse_qs(urlsplit(path).query).get("page_offset", ["0"])[0])
        following: Any = None
        if start + size < len(data):
            target = f"/v1/structures?page_offset={start + size}"
            following = {"text": address + target, "object": {"href": address + target}, "relative": target}[link]
        links = {} if link == "text" and following is None else {"next": following}
        return ok({"data": data[start : start + size], "links": links, "meta": {"data_returned": len(data)}})

    return answer


QUICK = Patience(timeout=5.0, retries=3, pause=0.001, longest=0.01)


def query(server: Server, text: str = "/v1/structures?filter=nelements=2") -> Collection:
    return open_collection("optimade:" + server.address + text, QUICK)


# ---- pages and entries


@pytest.mark.parametrize("link", ["text", "object", "relative"])
def test_all_pages_are_read(server: Server, link: str) -> None:
    server.answer = pages(entries(23), server.address, 5, link)
    collection = query(server)
    assert (collection.kind, collection.count) == ("optimade", 23)
    assert len(server.requests) == 1
    structures = list(collection.structures())
    assert len(server.requests) == 5
    assert_same(structures, crystals(23))
    assert [structure.id for structure in structures] == [f"odb-{number}" for number in range(23)]
    assert [structure.index for structure in structures] == list(range(23))
    assert {structure.source for structure in structures} == {f"{server.address}/v1/structures"}
    assert fields(collection.structures()) == fields(structures)


def test_pages_are_fetched_as_structures_are_needed(server: Server) -> None:
    server.answer = pages(entries(30), server.address, 5)
    structures = query(server).structures()
    assert [structure.id for structure in islice(structures, 7)] == [f"odb-{number}" for number in range(7)]
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("/v1/structures", "/v1/structures"),
        ("/optimade/v1.1/structures/", "/optimade/v1.1/structures"),
        ("/optimade/v1", "/optimade/v1/structures"),
        ("/optimade", "/optimade/v1/structures"),
        ("", "/v1/structures"),
    ],
)
def test_the_request(server: Server, text: str, path: str) -> None:
    server.answer = pages(entries(2), server.address, 5)
    wanted = 'elements HAS ALL "Na","Cl" AND nelements=2'
    query(server, f"{text}?filter={wanted}&page_limit=7&response_fields=id")
    parts = urlsplit(server.requests[0])
    parameters = parse_qs(parts.query)
    assert parts.path == path
    assert parameters["filter"] == [wanted]
    assert parameters["page_limit"] == ["7"]
    needed = {"lattice_vectors", "cartesian_site_positions", "species", "species_at_sites"}
    assert needed <= set(parameters["response_fields"][0].split(","))
    assert " " not in server.requests[0]
    assert server.headers[0]["User-Agent"].startswith("voigt/")
    plain = open_collection(f"{server.address}{text}?filter={wanted}", QUICK)
    assert parse_qs(urlsplit(server.requests[-1]).query)["page_limit"] == ["100"]
    assert_same(list(plain.structures()), crystals(2))


def test_the_fingerprint_follows_the_query_and_what_it_finds(server: Server) -> None:
    server.answer = pages(entries(6), server.address, 3)
    seen = [query(server).fingerprint, query(server, "/v1/structures?filter=nelements=3").fingerprint]
    assert query(server).fingerprint == seen[0]
    server.answer = pages(entries(7), server.address, 3)
    seen.append(query(server).fingerprint)
    assert len(set(seen)) == 3


def test_malformed_entries_are_problems_among_others(server: Server) -> None:
    base = entry(crystal(0), "x")
    changes: list[tuple[dict[str, Any], str]] = [
        ({"lattice_vectors": None}, "has no lattice_vectors"),
        ({"cartesian_site_positions": base["attributes"]["cartesian_site_positions"][:3]}, "8 sites but positions"),
        ({"cartesian_site_positions": [[None] * 3] * 8}, "position of atom 0 (Na) is not finite"),
        ({"cartesian_site_positions": [[0.0] * 3] * 8}, "closer than 0.5"),
        ({"species_at_sites": ["Na"] * 7 + ["K"]}, "species 'K', which it does not declare"),
        (
            {"species": [one_species("Na", Na=0.5, vacancy=0.5), one_species("Cl", Cl=1.0)]},
            "is partially occupied at site 0 (Na 0.5, vacancy 0.5)",
        ),
        ({"species": [one_species("Na", Na=0.3, K=0.7), one_species("Cl", Cl=1.0)]}, "(Na 0.3, K 0.7)"),
        ({"species": [one_species("Na", vacancy=1.0), one_species("Cl", Cl=1.0)]}, "nothing but a vacancy"),
        ({"species": [one_species("Na", X=1.0), one_species("Cl", Cl=1.0)]}, "unknown element 'X'"),
        ({"species": [one_species("Na", Qq=1.0), one_species("Cl", Cl=1.0)]}, "unknown element 'Qq'"),
        ({"species": [{"name": "Na"}, one_species("Cl", Cl=1.0)]}, "chemical_symbols is missing"),
        ({"dimension_types": [1, 1, 0]}, "not periodic in three dimensions"),
        ({"dimension_types": [1, 1, 0], "lattice_vectors": [[9, 0, 0], [0, 9, 0], [None] * 3]}, "not periodic"),
        ({"structure_features": ["disorder", "implicit_atoms"]}, "(implicit_atoms)"),
        ({"structure_features": ["site_attachments"]}, "(site_attachments)"),
    ]
    data: list[Any] = [entry(crystal(0), "first")]
    for number, (change, _) in enumerate(changes):
        broken = copy.deepcopy(base)
        broken["attributes"].update(change)
        data.append({**broken, "id": f"bad-{number}"})
    data += [None, "text", {"id": "bare", "type": "structures"}, entry(crystal(1), "first"), entry(crystal(1), "last")]
    server.answer = pages(data, server.address, 4)
    structures = list(query(server).structures())
    assert len(structures) == len(data)
    assert_same([structures[0], structures[-1]], [crystal(0), crystal(1)])
    for number, (_, shown) in enumerate(changes):
        assert structures[number + 1].id == f"bad-{number}"
        assert shown in trouble(structures[number + 1])
    assert all("is no OPTIMADE entry" in trouble(structure) for structure in structures[-5:-2])
    assert [structure.id for structure in structures[-5:-2]] == ["structure:16", "structure:17", "bare"]
    assert "duplicate id 'first'" in trouble(structures[-2])


def one_species(name: str, **shares: float) -> dict[str, Any]:
    return {"name": name, "chemical_symbols": list(shares), "concentration": list(shares.values())}


def test_names_of_species_need_not_be_elements_and_isotopes_add_up(server: Server) -> None:
    one = entry(crystal(0), "one")
    one["attributes"]["species"] = [
        {"name": "metal", "chemical_symbols": ["Na", "Na"], "concentration": [0.25, 0.75], "mass": [22, 23]},
        one_species("anion", Cl=1.0),
    ]
    one["attributes"]["species_at_sites"] = ["metal" if s == "Na" else "anion" for s in crystal(0).symbols]
    server.answer = pages([one], server.address, 4)
    assert_same(list(query(server).structures()), [crystal(0)])


# ---- servers that fail


@pytest.mark.parametrize("state", [429, 500, 502, 503, 504])
def test_a_busy_server_gets_the_request_again(server: Server, state: int) -> None:
    usual = pages(entries(9), server.address, 3)
    server.answer = lambda path, number: usual(path, number) if number % 3 == 2 else (state, {"Retry-After": "0"}, b"")
    assert_same(list(query(server).structures()), crystals(9))
    assert len(server.requests) == 9


def test_pauses_double_and_keep_to_what_the_server_says(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("voigt.screening.sources.optimade.time.sleep", slept.append)
    usual = pages(entries(1), server.address, 3)
    says = {3: {"Retry-After": "17"}, 4: {"Retry-After": "9999"}, 5: {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}}
    server.answer = lambda path, number: usual(path, number) if number == 6 else (429, says.get(number, {}), b"")
    open_collection(f"{server.address}/v1/structures", Patience(retries=6, pause=1.0, longest=100.0))
    assert slept == [1.0, 2.0, 4.0, 17.0, 100.0, 32.0]


def test_a_broken_connection_on_a_later_page_is_tried_again(server: Server) -> None:
    usual = pages(entries(6), server.address, 3)

    def answer(path: str, number: int) -> Answer:
        state, headers, body = usual(path, number)
        cut = body[:-200] if number == 1 else body
        return state, {**headers, "Content-Length": str(len(body))}, cut

    server.answer = answer
    assert_same(list(query(server).structures()), crystals(6))
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("later", "shown"),
    [
        ((503, {}, b""), "503 Service Unavailable, 4 times"),
        ((404, {}, b""), "404 Not Found"),
        ((200, {}, b"<html>maintenance</html>"), "no JSON"),
        (ok({"data": None, "errors": [{"detail": "cursor\nexpired"}]}), "cursor expired"),
        (ok({"data": [], "links": {"next": "file:///etc/passwd"}}), "leads to 'file:///etc/passwd'"),
        (ok({"data": [], "links": {"next": "http://[::"}}), "which is no page"),
        (ok({"data": [], "links": {"next": "/v1/structures?page_offset=3"}}), "already read"),
    ],
)
def test_a_later_page_that_fails_says_how_far_it_came(server: Server, later: Answer, shown: str) -> None:
    usual = pages(entries(9), server.address, 3)
    server.answer = lambda path, number: usual(path, number) if number == 0 else later
    structures = query(server).structures()
    assert_same(list(islice(structures, 3)), crystals(3))
    with pytest.raises(InputError, match=r"failed after 3 structures: .*; start the same command again") as caught:
        next(structures)
    assert shown in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("first", "shown"),
    [
        (
            (400, {}, b'{"errors": [{"detail": "unknown property color"}]}'),
            "(unknown property color); correct the filter",
        ),
        ((400, {}, b"no JSON"), "400 Bad Request; correct the filter"),
        ((404, {}, b""), "404 Not Found"),
        ((500, {}, b""), "500 Internal Server Error, 4 times"),
        ((200, {}, b"<html></html>"), "no JSON"),
        (ok([1]), "no OPTIMADE page"),
        (ok({"data": {"id": 1}}), "no list of structures"),
        (ok({"data": [], "meta": {"data_returned": 0}}), "finds no structures"),
        (ok({"data": [], "links": None, "meta": None}), "finds no structures"),
    ],
)
def test_a_query_that_gives_nothing_is_refused_in_one_sentence(server: Server, first: Answer, shown: str) -> None:
    server.answer = lambda _path, _number: first
    with pytest.raises(InputError) as caught:
        query(server)
    assert shown in str(caught.value)
    assert server.address in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_server_and_no_address_are_refused_at_once(server: Server) -> None:
    gone = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    gone.server_close()
    with pytest.raises(InputError, match=r"no answer \(.*refused.*\); check the address"):
        open_collection(f"http://127.0.0.1:{gone.server_port}/v1/structures", Patience(pause=1000.0))
    for text in ("optimade:file:///etc/passwd", "optimade:nothing", "https://", "optimade:http://[::"):
        with pytest.raises(InputError, match="is no address of an OPTIMADE server"):
            open_collection(text)


def test_a_server_that_says_nothing_is_given_up(server: Server) -> None:
    done = threading.Event()

    def answer(_path: str, _number: int) -> Answer:
        done.wait(10)
        return ok({"data": []})

    server.answer = answer
    try:
        with pytest.raises(InputError, match="timed out"):
            open_collection(server.address, Patience(timeout=0.1))
    finally:
        done.set()


def test_a_count_that_is_no_count_is_not_taken(server: Server) -> None:
    server.answer = lambda _path, _number: ok({"data": entries(2), "meta": {"data_returned": "many"}})
    collection = query(server)
    assert collection.count is None
    assert_same(list(collection.structures()), crystals(2))
