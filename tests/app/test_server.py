"""The HTTP API: every path, the same numbers as in Python, the sentences of the command line, nothing left behind."""

from __future__ import annotations

import csv
import io
import json
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ase
import ase.io
import httpx
import numpy as np
import phonopy
import pytest
import spglib
from ase.build import bulk
from tests import crystals
from tests.app.conftest import until
from typer.testing import CliRunner

import voigt
from voigt.app.home import PREFIX
from voigt.app.schema import ElementsAnswer, ExamplesAnswer, ModelsAnswer, PredictAnswer, Problem
from voigt.cli.main import app
from voigt.prediction.scene import Scene
from voigt.tensors.properties import PROPERTIES


def poscar(atoms: ase.Atoms) -> str:
    stream = io.StringIO()
    ase.io.write(stream, atoms, format="vasp")
    return stream.getvalue()


def send(client: httpx.Client, name: str, content: str | bytes, **query: Any) -> httpx.Response:
    return client.post("/api/predict", files={"file": (name, content)}, params=query)


def problem(response: httpx.Response, status: int, kind: str) -> str:
    """The sentence of an error."""
    found = Problem.model_validate_json(response.content)
    assert (response.status_code, found.kind) == (status, kind), found.text
    assert "Traceback" not in found.text
    assert "\n" not in found.text
    return found.text


def values(scene: Scene) -> dict[str, np.ndarray]:
    return {entry.name: PROPERTIES[entry.name].from_storage(np.array(entry.values)) for entry in scene.properties}


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Whatever a test sends, no file of it is on the disk afterwards."""
    yield
    for home in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        assert [path.name for path in home.rglob("*") if path.is_file()] == ["lock"]


def test_a_file_gives_what_python_and_the_command_line_give(client: httpx.Client, examples: Path) -> None:
    path = examples / "SiO2-quartz.cif"
    response = send(client, path.name, path.read_bytes())
    answer = PredictAnswer.model_validate_json(response.content)
    (crystal,) = answer.crystals
    (expected,) = voigt.predict(path)
    for name, tensor in values(crystal.scene).items():
        np.testing.assert_allclose(tensor, expected.values[name], atol=1e-5)
    assert list(values(crystal.scene)) == list(expected.values)
    assert crystal.table == CliRunner().invoke(app, ["predict", str(path)]).stdout.rstrip("\n")
    assert answer.repeat.command == "voigt predict SiO2-quartz.cif"
    assert crystal.sites[0] == "3a"
    assert crystal.born
    assert answer.failures == []
    # The indices are the roots of the principal values.
    assert crystal.derived.optics is not None
    principal = next(entry for entry in crystal.derived.principal if entry.property == "eps_inf")
    np.testing.assert_allclose(np.square(crystal.derived.optics.indices), principal.values, rtol=1e-9)


def test_options_are_those_of_the_command_line(client: httpx.Client, examples: Path) -> None:
    path = examples / "BaTiO3.vasp"
    query = {"properties": "elastic,eps_inf", "functional": "PBE", "symmetry": "false", "symprec": "0.01"}
    answer = PredictAnswer.model_validate_json(send(client, path.name, path.read_bytes(), **query).content)
    settings = voigt.Settings(properties=("elastic", "eps_inf"), functional="PBE", symmetrize=False, symprec=0.01)
    (expected,) = voigt.predict(path, settings=settings)
    (crystal,) = answer.crystals
    for name, tensor in values(crystal.scene).items():
        np.testing.assert_allclose(tensor, expected.values[name], rtol=1e-4, atol=1e-4)
    assert answer.repeat.command == (
        "voigt predict BaTiO3.vasp --properties elastic,eps_inf --functional PBE --no-symmetry --symprec 0.01"
    )
    found: dict[str, Any] = {"voigt": voigt}
    exec(answer.repeat.python.replace("'BaTiO3.vasp'", repr(str(path))).replace("print(", "("), found)
    np.testing.assert_allclose(values(crystal.scene)["elastic"], found["prediction"].values["elastic"], rtol=1e-4)


def test_text_and_arrays_are_the_same_crystal(client: httpx.Client) -> None:
    atoms = crystals.wurtzite()
    arrays = {
        "name": "wurtzite",
        "cell": atoms.cell.tolist(),
        "species": atoms.get_chemical_symbols(),
        "positions": atoms.positions.tolist(),
    }
    found = []
    for body in (arrays, {"text": poscar(atoms)}, {"name": "a.vasp", "text": poscar(atoms)}):
        response = client.post("/api/predict", json=body)
        assert response.status_code == 200, response.text
        found.append(PredictAnswer.model_validate_json(response.content).crystals[0].scene)
    assert [scene.id for scene in found] == ["wurtzite", "structure", "a"]
    for scene in found[1:]:
        np.testing.assert_allclose(values(scene)["born_charges"], values(found[0])["born_charges"], atol=1e-5)


def test_files_come_in_the_formats_of_the_command_line(client: httpx.Client, examples: Path, tmp_path: Path) -> None:
    path = examples / "MgO.vasp"
    expected = voigt.predict(path)[0].values
    born = send(client, path.name, path.read_bytes(), format="born")
    assert born.headers["content-disposition"] == 'attachment; filename="MgO.BORN"'
    (tmp_path / "BORN").write_bytes(born.content)
    phonon = phonopy.load(unitcell_filename=path, supercell_matrix=[1, 1, 1], born_filename=tmp_path / "BORN")
    np.testing.assert_allclose(phonon.nac_params["born"], expected["born_charges"], atol=1e-5)
    np.testing.assert_allclose(phonon.nac_params["dielectric"], expected["eps_inf"], atol=1e-5)

    rows = list(csv.DictReader(io.StringIO(send(client, path.name, path.read_bytes(), format="csv").text)))
    assert [row["element"] for row in rows] == ["Mg", "O"]
    assert float(rows[0]["Z11"]) == pytest.approx(expected["born_charges"][0, 0, 0], abs=1e-5)
    frame = ase.io.read(io.StringIO(send(client, path.name, path.read_bytes(), format="extxyz").text), format="extxyz")
    np.testing.assert_allclose(frame.arrays["born_charges"][0].reshape(3, 3), expected["born_charges"][0], atol=1e-5)


def test_one_broken_structure_among_several_does_not_spoil_the_others(client: httpx.Client, examples: Path) -> None:
    stream = io.StringIO()
    ase.io.write(stream, [bulk("MgO", "rocksalt", 4.2), ase.Atoms("Po", cell=[3.4] * 3, pbc=True)], format="extxyz")
    answer = PredictAnswer.model_validate_json(send(client, "two.xyz", stream.getvalue()).content)
    assert [entry.scene.structure.formula for entry in answer.crystals] == ["MgO"]
    (failure,) = answer.failures
    assert (failure.kind, failure.elements) == ("unseen_elements", ["Po"])
    assert failure.text.startswith("two.xyz, frame 1 (id two:1): Po not among the ")
    assert failure.text.endswith("use --allow-unseen to predict all the same")
    text = problem(send(client, "two.xyz", stream.getvalue(), format="csv"), 422, "unseen_elements")
    assert text == failure.text
    allowed = send(client, "two.xyz", stream.getvalue(), allow_unseen="true").json()
    assert "unseen_elements" in [note["kind"] for note in allowed["crystals"][1]["scene"]["notes"]]
    text = problem(send(client, "two.xyz", stream.getvalue(), format="born", allow_unseen="true"), 422, "too_many")
    assert "one by one" in text


def test_the_sentences_are_those_of_the_command_line(client: httpx.Client, tmp_path: Path) -> None:
    garbage = b"\x00\xff no crystal \x1b[31m" * 50
    for name in ("garbage.cif", "garbage.vasp", "garbage", "garbage.json", "garbage.xyz"):
        path = tmp_path / name
        path.write_bytes(garbage)
        told = CliRunner().invoke(app, ["predict", str(path)]).stderr.splitlines()[0]
        text = problem(send(client, name, garbage), 422, "unreadable")
        assert f"failed: {text}" == told.replace(str(path), name)
    # What a metal has no tensors for is said beside them.
    answer = send(client, "Cu.vasp", poscar(bulk("Cu"))).json()
    (note,) = (note for note in answer["crystals"][0]["scene"]["notes"] if note["kind"] == "likely_metal")
    assert note["warning"]
    assert "probably a metal" in note["text"]
    assert "born_charges" in note["properties"]
    assert problem(send(client, "a.cif", ""), 422, "unreadable").endswith("give a file with at least one structure")
    name = "../../../etc/passwd.cif"
    assert problem(send(client, name, "x"), 422, "unreadable").startswith("passwd.cif, frame 0 (id passwd): ")
    magnesia = poscar(bulk("MgO", "rocksalt", 4.2))
    for query, kind, words in (
        ({"model": "../../etc/passwd"}, "wrong_input", "no model '../../etc/passwd' among those that ship (born"),
        ({"properties": "charm"}, "wrong_input", "unknown property 'charm'; choose from born_charges"),
        ({"properties": "piezo_total"}, "wrong_input", "no model that ships predicts piezo_total"),
        ({"properties": ","}, "wrong_input", "',' names no property"),
        ({"functional": "LDA"}, "wrong_input", "knows no functional LDA"),
        ({"symprec": "-1"}, "wrong_input", "symprec: Input should be greater than 0"),
        ({"symprec": "nan"}, "wrong_input", "symprec: "),
        ({"total_charge": "1e9"}, "wrong_input", "a total charge of 1e+09 e"),
        ({"format": "docx"}, "wrong_input", "format: Input should be 'json', 'extxyz', 'csv' or 'born'"),
        ({"colour": "red"}, "wrong_input", "colour: Extra inputs are not permitted"),
    ):
        assert words in problem(send(client, "MgO.vasp", magnesia, **query), 422, kind)


def test_large_cells_and_many_structures_are_refused_with_the_way_out(client: httpx.Client) -> None:
    large = bulk("NaCl", "rocksalt", 5.64).repeat((15, 20, 10))
    assert len(large) == 6000
    text = problem(send(client, "NaCl.vasp", poscar(large)), 422, "too_large")
    assert text.startswith("NaCl.vasp, frame 0 (id NaCl): the cell has 6000 atoms, more than the 5000 of a request")
    stream = io.StringIO()
    ase.io.write(stream, [bulk("MgO", "rocksalt", 4.2)] * 21, format="extxyz")
    assert "more than 20 structures" in problem(send(client, "many.xyz", stream.getvalue()), 422, "too_many")


@pytest.mark.parametrize(
    ("body", "status", "kind", "words"),
    [
        (b"{", 400, "bad_request", "the body is no JSON"),
        (b"[" * 100_000, 400, "bad_request", "nested too deeply"),
        (b"[]", 422, "wrong_input", "the body is no structure"),
        (b'{"name": "a"}', 422, "wrong_input", "text: Field required"),
        (b'{"cell": [[1,0,0]], "species": ["H"], "positions": [[0,0,0]]}', 422, "wrong_input", "cell: "),
        (
            b'{"cell": [[9,0,0],[0,9,0],[0,0,9]], "species": ["H", "H"], "positions": [[0,0,0]]}',
            422, "wrong_input", "2 species and 1 positions",
        ),
        (
            b'{"cell": [[9,0,0],[0,9,0],[0,0,9]], "species": ["Qq"], "positions": [[0,0,0]]}',
            422, "unreadable", "unknown element 'Qq'",
        ),
        (
            b'{"cell": [[NaN,0,0],[0,9,0],[0,0,9]], "species": ["H"], "positions": [[0,0,0]]}',
            422, "wrong_input", "cell.0.0: Input should be a finite number",
        ),
    ],
)  # fmt: skip
def test_json_that_is_no_structure_is_explained(
    client: httpx.Client, body: bytes, status: int, kind: str, words: str
) -> None:
    response = client.post("/api/predict", content=body, headers={"Content-Type": "application/json"})
    assert words in problem(response, status, kind)


def test_bodies_of_other_kinds_are_refused(client: httpx.Client) -> None:
    assert "text/plain" in problem(
        client.post("/api/predict", content=b"x", headers={"Content-Type": "text/plain"}), 415, "unsupported"
    )
    text = problem(client.post("/api/predict", files={"other": ("a.cif", b"x")}), 400, "bad_request")
    assert "send one part with the name 'file'" in text
    for kind in ("multipart/form-data; boundary=x", "multipart/form-data"):
        response = client.post("/api/predict", content=b"--y\r\nno form", headers={"Content-Type": kind})
        assert "form" in problem(response, 400, "bad_request")
    assert problem(client.put("/api/predict"), 405, "not_allowed")
    assert problem(client.get("/api/nothing"), 404, "not_found")
    for path in ("/..%2f..%2fetc/passwd", "/static/../../pyproject.toml", "/%2e%2e/%2e%2e/etc/passwd"):
        assert problem(client.get(path), 404, "not_found")


def test_fifty_clients_at_once_get_their_own_crystals(client: httpx.Client) -> None:
    lattices = [4.0 + 0.01 * k for k in range(50)]
    expected = voigt.predict([bulk("MgO", "rocksalt", a) for a in lattices])
    before = client.get("/metrics").text
    answers: list[httpx.Response | None] = [None] * len(lattices)

    def ask(k: int) -> None:
        content = poscar(bulk("MgO", "rocksalt", lattices[k]))
        answers[k] = client.post("/api/predict", files={"file": (f"{k}.vasp", content)}, timeout=120)

    threads = [threading.Thread(target=ask, args=(k,)) for k in range(len(lattices))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k, answer in enumerate(answers):
        assert answer is not None
        assert answer.status_code == 200, answer.text
        (crystal,) = PredictAnswer.model_validate_json(answer.content).crystals
        assert crystal.scene.id == str(k)
        for name, tensor in values(crystal.scene).items():
            np.testing.assert_allclose(tensor, expected[k].values[name], atol=2e-5)
    after = client.get("/metrics").text
    assert counted(after, "voigt_crystals_total") - counted(before, "voigt_crystals_total") == 50
    # Several went through the networks together.
    assert counted(after, "voigt_batches_total") - counted(before, "voigt_batches_total") < 50


def counted(text: str, name: str) -> float:
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))


def test_a_client_that_hangs_up_leaves_a_server_that_works(address: str, client: httpx.Client, examples: Path) -> None:
    """During its upload, and while its crystal is computed."""
    host, port = address.removeprefix("http://").split(":")
    content = (examples / "LiNbO3.cif").read_bytes()
    parts = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.cif"\r\n\r\n', content, b"\r\n--b--\r\n"
    body = b"".join(parts)
    head = (
        f"POST /api/predict HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    ).encode()
    for sent in (head + body[:100], head + body):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(sent)
    assert send(client, "LiNbO3.cif", content).status_code == 200
    until(lambda: counted(client.get("/metrics").text, 'voigt_requests_total{path="/api/predict",status="400"}') >= 2)


def test_what_there_is(client: httpx.Client) -> None:
    models = ModelsAnswer.model_validate_json(client.get("/api/models").content)
    assert models.models[0].name == "born"
    assert models.models[0].default
    (eps,) = (entry for entry in models.properties if entry.name == "eps_inf")
    assert "born" in eps.models
    assert (models.limits.atoms, models.limits.body_bytes) == (5000, 10_000_000)
    assert [entry.name for entry in models.potentials if entry.default] == ["sevennet-l3i5"]

    elements = ElementsAnswer.model_validate_json(client.get("/api/elements", params={"model": "elastic"}).content)
    assert len(elements.elements) == 118
    oxygen, polonium = elements.elements[7], elements.elements[83]
    assert (oxygen.symbol, oxygen.column, oxygen.row, oxygen.known) == ("O", 15, 1, True)
    assert not polonium.known
    assert "no model" in problem(client.get("/api/elements", params={"model": "x"}), 422, "wrong_input")

    examples = ExamplesAnswer.model_validate_json(client.get("/api/examples").content).examples
    assert len(examples) == 5
    for example in examples:
        response = client.post("/api/predict", json={"name": example.name, "text": example.text})
        assert response.status_code == 200
        assert any(year in example.source for year in ("1966", "1969", "1980", "1992", "2000"))


def ten_atoms() -> ase.Atoms:
    """The primitive cell of corundum."""
    whole = crystals.corundum()
    cell, places, numbers = spglib.find_primitive((whole.cell.array, whole.get_scaled_positions(), whole.numbers))
    return ase.Atoms(numbers=numbers, cell=cell, scaled_positions=places, pbc=True)


def test_a_small_crystal_takes_less_than_half_a_second_once_the_server_is_warm(client: httpx.Client) -> None:
    """The best of a few: the machine has other things to do."""
    times = []
    for k in range(5):
        start = time.perf_counter()
        send(client, f"{k}.vasp", poscar(ten_atoms()))
        times.append(time.perf_counter() - start)
    assert len(ten_atoms()) == 10
    assert min(times) < 0.5


def test_health_metrics_and_description(client: httpx.Client) -> None:
    assert client.get("/healthz").json() == {"status": "ok", "version": voigt.__version__, "workers": 1}
    metrics = client.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "# TYPE voigt_requests_total counter" in metrics.text
    schema = client.get("/api/openapi.json").json()
    assert schema["openapi"].startswith("3.")
    names = schema["components"]["schemas"]
    assert {"Scene", "PredictAnswer", "Job", "Problem", "StructureArrays", "UploadedFile"} <= names.keys()
    # Every reference leads somewhere.
    text = json.dumps(schema)
    references = {piece.split('"')[0] for piece in text.split('"#/components/schemas/')[1:]}
    assert references <= names.keys()
