"""The folder of a response: other programs and a browser read it, and every number in it is that of the response."""

from __future__ import annotations

import csv
import importlib.util
import json
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import phonopy
import pytest
from matplotlib.image import imread
from tests import crystals
from tests.response.toy_potentials import keating

import voigt
from voigt.errors import InputError
from voigt.notes import Note
from voigt.response.elasticity import youngs_modulus
from voigt.response.phonons.nac import limit_at_gamma
from voigt.structures import read_one
from voigt.tensors.voigt import elastic_from_voigt, elastic_to_voigt, piezo_from_voigt
from voigt.writers.response import claim_folder, summary_lines, write_response
from voigt.writers.response_figures import direction_figure, has_directions
from voigt.writers.response_html import Markup, table, text
from voigt.writers.response_record import components, largest_shift, quantity_rows
from voigt.writers.response_repetition import repetition

HOSTILE = '<script>alert("1")</script><img src=x onerror=alert(1)>&amp;=HYPERLINK(1) $\\frac{$ ```\x1b[2J'
VOID = {"meta", "img", "br", "link"}


class Page(HTMLParser):
    """Elements of a page; fails where they are not closed in order."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(content)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def values(self, tag: str, attribute: str) -> list[str]:
        return [
            str(attributes[attribute]) for name, attributes in self.found if name == tag and attribute in attributes
        ]


@pytest.fixture(scope="module")
def response() -> voigt.Response:
    """Keating's zincblende, whose springs are not those of ZnS; with Born charges and eps_inf that ship."""
    atoms = crystals.zincblende()
    atoms.info["id"] = "zb-1"
    return voigt.respond(atoms, voigt.ResponseSettings(calculator=keating(), functional="PBE", dim=(2, 2, 2)))


@pytest.fixture(scope="module")
def folder(response: voigt.Response, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("written") / "deep" / "ZnS"
    paths = write_response(response, home)
    assert paths[0] == home / "report.html"
    assert sorted(paths) == sorted(home.iterdir())  # and no temporary files are left
    return home


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


class TestFiles:
    def test_phonopy_finds_the_same_frequencies_there(
        self, response: voigt.Response, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """In that folder and from elsewhere: NAC is in the YAML file, and BORN beside it is not applied once more."""
        for place, name in ((folder, "phonopy_params.yaml"), (folder.parent, "ZnS/phonopy_params.yaml")):
            monkeypatch.chdir(place)
            loaded = phonopy.load(name, log_level=0)
            for along in response.phonons.phonons.along:
                theirs, _ = limit_at_gamma(loaded, along.direction)
                assert theirs[-1] > response.phonons.phonons.modes.frequencies[-1] + 1  # THz: NAC is there
                np.testing.assert_allclose(theirs[3:], along.frequencies[3:], atol=1e-6)
            theirs, _ = limit_at_gamma(loaded, None)
            np.testing.assert_allclose(theirs[3:], response.phonons.phonons.modes.frequencies[3:], atol=1e-6)

    def test_born_says_the_same(self, folder: Path) -> None:
        own = phonopy.load(folder / "phonopy_params.yaml", log_level=0).nac_params
        other = phonopy.load(folder / "phonopy_params.yaml", born_filename=folder / "BORN", log_level=0).nac_params
        for key in ("born", "dielectric"):
            np.testing.assert_allclose(other[key], own[key], atol=1e-8)
        assert other["factor"] == pytest.approx(own["factor"], rel=1e-7)  # six decimals in phonopy's file

    def test_structures(self, response: voigt.Response, folder: Path) -> None:
        for name, atoms in (("given.vasp", response.given), ("relaxed.vasp", response.atoms)):
            read = read_one(folder / name)
            np.testing.assert_allclose(read.cell.array, atoms.cell.array, atol=1e-12)
            np.testing.assert_allclose(read.positions, atoms.positions, atol=1e-12)
            assert read.get_chemical_symbols() == atoms.get_chemical_symbols()
        frame = ase.io.read(folder / "structure.extxyz")
        values = {name: quantity.value for name, quantity in response.quantities.items()}
        np.testing.assert_allclose(frame.arrays["born_charges"].reshape(-1, 3, 3), values["born_charges"], atol=1e-7)
        np.testing.assert_allclose(frame.info["eps_total"].reshape(3, 3), values["eps_total"], atol=1e-7)
        matrix = np.reshape(frame.info["elastic"], (6, 6))
        np.testing.assert_allclose(matrix, elastic_to_voigt(values["elastic"]), atol=1e-5)
        assert "model elastic" in frame.info["elastic_model"]
        assert "model born" in frame.info["eps_inf_model"]

    def test_json_holds_every_number(self, response: voigt.Response, folder: Path) -> None:
        record = json.loads((folder / "response.json").read_text(encoding="utf-8"))
        assert record["id"] == "zb-1"
        assert list(record["quantities"]) == list(response.quantities)
        assert {name: len(ways) for name, ways in record["routes"].items()} == {
            name: len(ways) for name, ways in response.routes.items()
        }
        for name, several in {name: (entry,) for name, entry in response.quantities.items()}.items():
            ways = zip(
                (record["quantities"][name], *record["routes"].get(name, ())),
                (*several, *response.routes.get(name, ())),
                strict=True,
            )
            for entry, quantity in ways:
                assert np.array_equal(entry["value"], quantity.value)
                assert (entry["route"], entry["origin"]) == (quantity.route, quantity.origin)
                known = quantity.interval is not None
                assert (entry["interval_90"] is not None) == known
                assert not known or np.array_equal(entry["interval_90"], quantity.interval)
        elastic, d = (record["quantities"][name] for name in ("elastic", "piezo_d"))
        np.testing.assert_allclose(elastic_from_voigt(np.array(elastic["voigt"])), elastic["value"], atol=1e-9)
        assert d["voigt"][0][3] == pytest.approx(2 * d["value"][0][1][2], abs=1e-12)  # doubled shears
        assert d["unit"] == "pm/V"
        assert record["quantities"]["eps_inf"]["unit"] == record["quantities"]["eps_total"]["unit"] == ""
        assert record["relaxation"]["largest_force_eV_per_A"] == response.relaxation.force
        assert record["seconds"].keys() == response.seconds.keys()
        assert [note["text"] for note in record["notes"]] == [note.sentence for note in response.notes]
        assert {"voigt", "phonopy", "ase"} <= record["versions"].keys()
        assert len(record["phonons"]["gamma"]["frequencies_THz"]) == 6
        assert record["moduli"]["bulk_hill"] == pytest.approx(float(response.moduli.bulk_hill))

    def test_csv_numbers_are_those_of_the_tensors(self, response: voigt.Response, folder: Path) -> None:
        rows = rows_of(folder / "quantities.csv")
        found = {
            (row["name"], row["atom"], row["component"]): float(row["value"])
            for row in rows
            if row["chosen"] == "1"
        }
        values = {name: quantity.value for name, quantity in response.quantities.items()}
        stiffness, e = elastic_to_voigt(values["elastic"]), values["piezo_total"]
        order = ("xx", "yy", "zz", "yz", "zx", "xy")
        for i, first in enumerate(order):
            for j in range(i, 6):
                assert found["elastic", "", f"{first} {order[j]}"] == pytest.approx(stiffness[i, j], rel=1e-7, abs=1e-9)
        for i, j, k in np.ndindex(3, 3, 3):
            pair = "".join(sorted("xyz"[j] + "xyz"[k])).replace("xz", "zx")
            assert found["piezo_total", "", f"{'xyz'[i]} {pair}"] == pytest.approx(e[i, j, k], rel=1e-7, abs=1e-9)
        assert found["piezo_d", "", "x yz"] == pytest.approx(2 * values["piezo_d"][0, 1, 2], rel=1e-7)
        for i, j in np.ndindex(3, 3):
            expected = values["born_charges"][1, i, j]
            assert found["born_charges", "1", "xyz"[i] + "xyz"[j]] == pytest.approx(expected, rel=1e-7, abs=1e-9)
        assert found["eps_total", "", "yy"] == pytest.approx(values["eps_total"][1, 1], rel=1e-7)
        assert found["bulk_hill", "", ""] == pytest.approx(float(response.moduli.bulk_hill), rel=1e-7)
        assert found["refractive_index", "", "1"] == pytest.approx(float(response.optics.indices[0]), rel=1e-7)
        network, springs = response.routes["elastic"]
        others = [row for row in rows if row["name"] == "elastic" and row["chosen"] == "0"]
        assert {row["route"] for row in others} == {"potential"}
        assert float(others[0]["value"]) == pytest.approx(springs.value[0, 0, 0, 0], rel=1e-7)
        chosen = [row for row in rows if row["name"] == "elastic" and row["chosen"] == "1"]
        assert float(chosen[0]["interval_90"]) == pytest.approx(float(network.interval), rel=1e-7)

    def test_csv_says_what_symmetry_leaves(self, folder: Path) -> None:
        """Zincblende, -43m: three stiffnesses, one e, one permittivity, isotropic charges."""
        counts = Counter(
            (row["name"], row["atom"], row["route"])
            for row in rows_of(folder / "quantities.csv")
            if row["by_symmetry"] == "independent"
        )
        assert counts["elastic", "", "potential"] == 3
        assert counts["piezo_total", "", "assembled"] == counts["piezo_d", "", "assembled"] == 1
        assert counts["eps_inf", "", "predicted"] == 1
        assert counts["born_charges", "0", "predicted"] == counts["born_charges", "1", "predicted"] == 1

    def test_modes_add_up_to_the_permittivity(self, response: voigt.Response, folder: Path) -> None:
        acoustic, optical = rows_of(folder / "modes.csv")
        assert (acoustic["kind"], acoustic["modes"]) == ("acoustic", "1 2 3")
        assert (optical["kind"], optical["irrep"], optical["infrared_active"]) == ("optical", "T2", "1")
        assert float(optical["THz"]) == pytest.approx(response.infrared.response.sets[1].frequency, rel=1e-7)
        total = float(optical["share_of_eps_ionic_xx"])
        assert total == pytest.approx(response.routes["eps_ionic"][1].value[0, 0], rel=1e-6)
        moved = rows_of(folder / "lo_to.csv")
        assert max(float(row["nac_THz"]) for row in moved) == pytest.approx(
            max(along.frequencies[-1] for along in response.phonons.phonons.along), abs=1e-6
        )
        spectrum = rows_of(folder / "infrared.csv")
        assert float(spectrum[0]["eps_real_xx"]) == pytest.approx(
            response.routes["eps_total"][1].value[0, 0], rel=1e-3
        )

    @pytest.mark.parametrize("name", ["bands.png", "infrared.png", "directions.png"])
    def test_figures_are_drawn(self, folder: Path, name: str) -> None:
        pixels = imread(folder / name)
        assert min(pixels.shape[:2]) > 400
        assert 0.01 < (pixels[..., :3].min(axis=-1) < 0.9).mean() < 0.9  # ink on paper

    def test_the_same_again(self, response: voigt.Response, folder: Path, tmp_path: Path) -> None:
        again = tmp_path / "again"
        write_response(response, again)
        for path in folder.iterdir():
            assert (again / path.name).read_bytes() == path.read_bytes(), path.name


class TestPage:
    def test_it_stands_alone(self, folder: Path, page: Page) -> None:
        tags = {tag for tag, _ in page.found}
        assert not tags & {"script", "link", "iframe", "object", "embed", "base", "form"}
        assert all(source.startswith("data:image/png;base64,") for source in page.values("img", "src"))
        assert all(target.startswith("#") for target in page.values("a", "href"))
        content = (folder / "report.html").read_text(encoding="utf-8")
        style = content[content.index("<style>") : content.index("</style>")]
        assert "url(" not in style
        assert "@import" not in style
        assert not re.search(r"\s(on\w+|style|srcset)=", re.sub(r"base64,[^\"]*", "", content))

    def test_it_serves_every_screen_and_reader(self, folder: Path, page: Page) -> None:
        assert page.values("html", "lang") == ["en"]
        assert "width=device-width, initial-scale=1" in page.values("meta", "content")
        content = (folder / "report.html").read_text(encoding="utf-8")
        assert "prefers-color-scheme:dark" in content
        assert "@media print" in content
        tags = [tag for tag, _ in page.found]
        assert tags.count("h1") == tags.count("main") == 1
        assert tags.count("table") == tags.count("caption") > 10
        assert all(len(words) > 20 for words in page.values("img", "alt"))
        assert len(page.values("img", "alt")) == tags.count("img") == 3
        heads = [attributes for tag, attributes in page.found if tag == "th"]
        assert all(attributes.get("scope") in ("row", "col") for attributes in heads)
        names = [attributes["id"] for _, attributes in page.found if "id" in attributes]
        assert len(names) == len(set(names))
        assert {target[1:] for target in page.values("a", "href")} <= set(names)

    def test_its_numbers(self, response: voigt.Response, page: Page) -> None:
        words = " ".join(page.words)
        for name in ("eps_inf", "eps_ionic", "eps_total"):
            assert f"{response.quantities[name].value[0, 0]:.3f}" in words
        assert f"{elastic_to_voigt(response.quantities['elastic'].value)[3, 3]:.1f}" in words
        assert f"{response.quantities['born_charges'].value[0, 0, 0]:.3f}" in words
        assert "F-43m (216)" in words
        assert "zb-1" in words
        relation = response.infrared.relations[0]
        assert f"{relation.longitudinal[0]:.3f}" in words
        assert f"{relation.product:.5g}" in words

    def test_warnings_stand_at_the_top_and_beside_what_they_concern(self, response: voigt.Response, page: Page) -> None:
        (doubt,) = [note for note in response.notes if note.kind == "routes_disagree" and "elastic" in note.properties]
        words = "".join(page.words)
        assert words.index(doubt.text) < words.index("Born effective charges")
        place = [note.text for note in response.notes if note.is_warning].index(doubt.text) + 1
        assert page.values("a", "href").count(f"#warning-{place}") >= 2  # bulk and shear modulus

    def test_texts_of_strangers_are_text(self, response: voigt.Response, tmp_path: Path) -> None:
        notes = (Note("far_from_training", HOSTILE, ("eps_inf", HOSTILE)), Note("processing", HOSTILE))
        odd = {name: replace(entry, origin=HOSTILE) for name, entry in response.quantities.items()}
        prediction = replace(response.prediction, id=HOSTILE, models=dict.fromkeys(response.prediction.models, HOSTILE))
        hostile = replace(
            response, id=HOSTILE, potential=HOSTILE, notes=notes, quantities=odd, prediction=prediction,
            seconds={HOSTILE: 1.0},
        )  # fmt: skip
        write_response(hostile, tmp_path)
        assert {path.name for path in tmp_path.iterdir()} <= {
            "report.html", "given.vasp", "relaxed.vasp", "structure.extxyz", "phonopy_params.yaml", "BORN",
            "response.json", "quantities.csv", "modes.csv", "lo_to.csv", "infrared.csv", "bands.png", "infrared.png",
            "directions.png",
        }  # fmt: skip
        content = (tmp_path / "report.html").read_text(encoding="utf-8")
        page = Page(content)
        assert not {tag for tag, _ in page.found} & {"script", "iframe"}
        assert all(not set(attributes) & {"onerror", "onload", "style"} for _, attributes in page.found)
        assert all(source.startswith("data:image/png") for source in page.values("img", "src"))
        assert HOSTILE.replace("\x1b", "?") in " ".join(page.words)
        assert "\x1b" not in content
        assert json.loads((tmp_path / "response.json").read_text())["id"] == HOSTILE
        assert all(row["origin"][0] not in "=+-@" for row in rows_of(tmp_path / "quantities.csv"))
        assert len(ase.io.read(tmp_path / "structure.extxyz", ":")) == 1

    def test_markup_is_made_by_us_alone(self) -> None:
        assert text("a<b>&\"'") == "a&lt;b&gt;&amp;&quot;&#x27;"
        assert text(Markup("<b>x</b>")) == "<b>x</b>"
        found = Page(table('a"b<', ["", "<i>"], [["<u>", 1.5]]))
        assert {tag for tag, _ in found.found} == {"div", "table", "caption", "thead", "tbody", "tr", "th", "td"}
        assert found.values("div", "aria-label") == ['a"b<']


class TestSummary:
    def test_a_screenful(self, response: voigt.Response) -> None:
        lines = summary_lines(response)
        assert len(lines) <= 24
        assert max(map(len, lines)) <= 120
        assert lines[0].startswith("ZnS  F-43m (216)  2 atoms  id zb-1")
        rows = {line[:20].strip(): line for line in lines}
        value = response.quantities["eps_total"].value[0, 0]
        assert f"{value:.3f}" in rows["eps_total"]
        for way in response.routes["eps_total"]:
            assert f"{way.value[0, 0]:.3f}" in rows["eps_total"]
        assert "mean of both" in rows["eps_total"]
        assert f"{float(response.moduli.bulk_hill):.2f}" in rows["bulk modulus"]
        assert "(x yz)" in rows["largest |d|"]

    def test_repeating_gives_the_same_settings(self, response: voigt.Response) -> None:
        command, lines = repetition(response)
        assert command.startswith("voigt respond given.vasp -o again --calculator MODULE:FACTORY --functional PBE")
        assert "--dim '2 2 2' --displacement 0.01" in command
        space: dict[str, Any] = {"calculator": None}
        exec("\n".join(lines[:-1]), space)
        settings = space["settings"]
        assert (settings.functional, settings.dim, settings.displacement) == ("PBE", [2, 2, 2], 0.01)
        np.testing.assert_allclose(settings.linewidths, response.infrared.linewidths, rtol=1e-8)

    def test_a_relaxed_crystal_may_be_another_cell(self) -> None:
        assert largest_shift(crystals.zincblende(), crystals.zincblende(cubic=True)) is None

    def test_what_is_absent_is_left_out(self, response: voigt.Response, tmp_path: Path) -> None:
        """As for a crystal with soft modes, whose refraction and stiffness make no sense either."""
        kept = ("born_charges", "eps_inf", "band_gap")
        bare = replace(
            response,
            quantities={name: response.quantities[name] for name in kept},
            routes={},
            optics=None,
            moduli=None,
        )
        write_response(response, tmp_path)
        write_response(bare, tmp_path)
        assert not (tmp_path / "directions.png").exists()  # that of before is not of this crystal
        assert "directions.png" not in (tmp_path / "report.html").read_text(encoding="utf-8")
        words = " ".join(Page((tmp_path / "report.html").read_text(encoding="utf-8")).words)
        assert "Not available: piezo_total" in words
        assert any(line.startswith("lowest optical mode") for line in summary_lines(bare))
        assert not any("modulus" in line for line in summary_lines(bare))


class TestFolder:
    def test_a_folder_of_this_structure_is_used_again(self, tmp_path: Path) -> None:
        home = claim_folder(tmp_path / "new" / "one", crystals.zincblende())
        (home / "something").write_text("of an interrupted run")
        assert claim_folder(home, crystals.zincblende()) == home
        shifted = crystals.zincblende()
        shifted.positions += 1e-9 + shifted.cell.array[0]
        claim_folder(home, shifted)

    def test_other_folders_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / "mine.txt").write_text("dear")
        with pytest.raises(InputError, match="--overwrite"):
            claim_folder(tmp_path, crystals.zincblende())
        assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
        claim_folder(tmp_path, crystals.zincblende(), overwrite=True)
        for other in (crystals.rocksalt(), crystals.zincblende(cubic=True), _scaled()):
            with pytest.raises(InputError, match="no results of this structure"):
                claim_folder(tmp_path, other)
        (tmp_path / "given.vasp").write_text("broken")
        with pytest.raises(InputError, match="no results of this structure"):
            claim_folder(tmp_path, crystals.zincblende())
        assert (tmp_path / "mine.txt").read_text() == "dear"


class TestDirections:
    cubic = np.diag([166.0, 166, 166, 80, 80, 80])
    cubic[:3, :3] += 64 * (1 - np.eye(3))

    def test_curves_are_youngs_modulus(self) -> None:
        """Silicon: 1/E = s11 along [100], s11 - (s11 - s12 - s44/2)/2 along [110]."""
        elastic = elastic_from_voigt(self.cubic)
        figure = direction_figure(elastic, None)
        first = figure.axes[0].lines[0].get_xydata()
        expected = youngs_modulus(elastic, [[1, 0, 0], [1, 1, 0]])
        np.testing.assert_allclose(first[[0, 45], 1], expected)
        s11, s12, s44 = 230 / (102 * 294), -64 / (102 * 294), 1 / 80
        np.testing.assert_allclose(expected, [1 / s11, 1 / (s11 - (s11 - s12 - s44 / 2) / 2)], rtol=1e-9)

    def test_the_extreme_of_zincblende_is_along_its_diagonals(self) -> None:
        figure = direction_figure(None, piezo_from_voigt(3 * np.eye(3, 6, 3)))
        (place,) = [line.get_xydata()[0] for axis in figure.axes for line in axis.lines]
        assert place[1] == pytest.approx(np.sqrt(1 - 1 / np.sqrt(3)))  # equal area: sqrt(1 - cos)
        assert np.degrees(place[0]) % 90 == pytest.approx(45)

    def test_nothing_to_draw(self) -> None:
        """Point group 422 has d14 = -d25, and no plate cut from it changes its thickness."""
        twisted = np.zeros((3, 6))
        twisted[0, 3], twisted[1, 4] = 1.0, -1.0
        assert not has_directions(None, piezo_from_voigt(twisted))
        assert not has_directions(None, np.zeros((3, 3, 3)))
        with pytest.raises(InputError):
            direction_figure(None, np.zeros((3, 3, 3)))


@pytest.mark.skipif(importlib.util.find_spec("sevenn") is None, reason="the extra 'potential' is not installed")
def test_magnesium_oxide_of_a_real_potential(examples: Path, tmp_path: Path) -> None:
    """Inversion leaves no piezoelectricity, and a cubic crystal no birefringence."""
    response = voigt.respond(examples / "MgO.vasp", voigt.ResponseSettings(dim=(2, 2, 2)))
    write_response(response, tmp_path)
    words = " ".join(Page((tmp_path / "report.html").read_text(encoding="utf-8")).words)
    assert "sevennet-l3i5, sevenn" in words
    assert "Zero by symmetry" in words
    assert "none by symmetry" in words
    assert all(float(row["value"]) == 0 for row in rows_of(tmp_path / "quantities.csv") if "piezo" in row["name"])
    assert len(quantity_rows(response)) == len(rows_of(tmp_path / "quantities.csv")) + 1
    assert "--potential sevennet-l3i5" in repetition(response)[0]
    lo = max(along.frequencies[-1] for along in response.phonons.phonons.along)
    assert 18.5 < lo < 22.5  # measured 21.5 THz
    loaded = phonopy.load(tmp_path / "phonopy_params.yaml", log_level=0)
    assert limit_at_gamma(loaded, [1, 0, 0])[0][-1] == pytest.approx(lo, abs=1e-6)
    assert [entry.by_symmetry for entry in components(response, "eps_inf", response.quantities["eps_inf"])].count(
        "independent"
    ) == 1


def _scaled() -> Any:
    atoms = crystals.zincblende()
    atoms.set_cell(1.001 * atoms.cell.array, scale_atoms=True)
    return atoms
