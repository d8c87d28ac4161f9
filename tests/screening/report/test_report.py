import csv
import json
import re
import shutil

import ase.io
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from matplotlib.figure import Figure
from PIL import Image
from tests.screening.report_stores import COMMANDS, DIGESTS, as_version_0_1, crystal_row, warn, write_store

from voigt.errors import InputError, OutputError
from voigt.notes import MEANING
from voigt.screening.query.criteria import read_criteria
from voigt.screening.report.report import write_report

PROPERTIES = ("eps_inf", "eps_total", "band_gap")
CHOICE = {"where": "eps_total > 8 and band_gap > 2", "rank": "eps_total * band_gap"}
UNSEEN = (
    "crystals.parquet, frame 300 (id bad-0): Fe, Co not among the 59 elements that model 'dielectric' was trained on; "
    "use --allow-unseen to predict all the same"
)
CLOSE = "crystals.parquet, frame {0} (id bad-{1}): atoms 0 (O) and {1} (H) are 0.1 Angstrom apart; remove one of them"
FAILURES = [
    {"id": "bad-0", "source": "crystals.parquet", "index": 300, "reason": UNSEEN, "kind": "unseen_elements",
     "elements": ["Fe", "Co"]},
    *({"id": f"bad-{k}", "source": "crystals.parquet", "index": 300 + k, "reason": CLOSE.format(300 + k, k),
       "kind": "unreadable", "elements": []}
      for k in range(1, 4)),
]  # fmt: skip


def symmetric(random: np.random.Generator, size: float) -> np.ndarray:
    """A positive definite tensor without a principal axis along x, y or z."""
    axes = np.linalg.qr(random.normal(size=(3, 3)))[0]
    return axes @ np.diag(1 + size * random.uniform(0.3, 1.5, 3)) @ axes.T


def crystals(count: int = 300) -> list[dict]:
    """Triclinic cells of either hand with random atoms; predictions with gaps, doubts and warnings."""
    random = np.random.default_rng(7)
    rows = []
    for k in range(count):
        symbols = random.choice(["Na", "Mg", "Ti", "O", "Cl", "Br", "Lu"], size=random.integers(2, 7))
        cell = random.normal(size=(3, 3)) + 4 * np.eye(3)[random.permutation(3)]  # permuted: half are left-handed
        atoms = ase.Atoms("".join(symbols), cell=cell, scaled_positions=random.uniform(0.02, 0.98, (len(symbols), 3)),
                          pbc=True)
        row = crystal_row(atoms, f"mp/{k}" if k % 10 else f"ICSD {k} | a", int(random.integers(1, 231)))
        inf = symmetric(random, 2.0)
        for name, tensor in (("eps_inf", inf), ("eps_total", inf + symmetric(random, random.lognormal(1.5)))):
            row |= {name: tensor.ravel().tolist(), f"{name}_model": "dielectric", f"{name}_functional": "PBEsol"}
            share = random.uniform(0, 0.3)  # two members, (1 ± share / sqrt(2)) times the mean
            row[f"{name}_spread"] = float(np.linalg.norm(tensor) * share)
            row[f"{name}_members"] = np.outer([1 - share / 2**0.5, 1 + share / 2**0.5], tensor).ravel().tolist()
            row[f"{name}_residual"] = float(random.choice([1e-7, 0.2], p=[0.9, 0.1]))
        row |= {"band_gap": float(random.uniform(0, 6)), "band_gap_model": "band_gap", "band_gap_spread": None}
        if k % 13 == 5:
            row |= {"eps_total": None, "eps_total_spread": None, "eps_total_model": None,
                    "eps_total_members": None}
            warn(row, "no_symmetry", f"eps_total not predicted: nothing at symprec 0.00{k}", ["eps_total"])
        if k % 7 == 2:
            row["unseen"] = ["Lu"]
        if k % 11 == 3:
            row["likely_metal"] = True
            names = ["eps_inf"] if row["eps_total"] is None else ["eps_inf", "eps_total"]
            warn(row, "likely_metal", f"a sentence on metals, number {k % 2}", names)
        rows.append(row)
    return rows


ROWS = crystals()
MEAN = np.array([np.nan if row["eps_total"] is None else np.trace(np.reshape(row["eps_total"], (3, 3))) / 3
                 for row in ROWS])  # fmt: skip
GAP = np.array([row["band_gap"] for row in ROWS])


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("screening") / "run", ROWS, PROPERTIES, FAILURES)


def report(store, output, where=CHOICE["where"], rank=CHOICE["rank"], top=20, pareto=None, ascending=False):
    return write_report(store, read_criteria(where, rank, ascending), top=top, pareto=pareto, output=output)


@pytest.fixture(scope="module")
def written(store, tmp_path_factory):
    output = tmp_path_factory.mktemp("reports") / "report"
    return report(store, output), output


@pytest.fixture
def blank(monkeypatch):
    """Figures are drawn as white sheets: most of the time of a report goes into them."""
    for name in ("pareto_figure", "distribution_figure", "elements_figure"):
        monkeypatch.setattr(f"voigt.screening.report.report.{name}", lambda *_: Figure(figsize=(1, 1)))


def table(path) -> list[dict]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def best(count=20):
    """Indices of the best crystals, by numpy alone."""
    passed = np.flatnonzero((MEAN > 8) & (GAP > 2))
    return passed[np.argsort(-(MEAN * GAP)[passed], kind="stable")][:count], len(passed)


def test_the_table_is_that_of_an_independent_ranking(written):
    result, output = written
    order, passed = best()
    rows = table(output / "top.csv")
    assert [row["id"] for row in rows] == [ROWS[k]["id"] for k in order]
    assert [int(row["place"]) for row in rows] == list(range(1, 21))
    assert [row["formula"] for row in rows] == [ROWS[k]["formula"] for k in order]
    assert [int(row["spacegroup"]) for row in rows] == [ROWS[k]["spacegroup"] for k in order]
    np.testing.assert_allclose([float(row["eps_total"]) for row in rows], MEAN[order], rtol=1e-7)
    np.testing.assert_allclose([float(row["rank"]) for row in rows], (MEAN * GAP)[order], rtol=1e-7)
    assert (result.crystals, result.failed, result.passed, result.top) == (300, 4, passed, 20)
    assert passed > 20


def test_deviations_are_those_among_the_members(written):
    order, _ = best()
    rows = table(written[1] / "top.csv")
    shares = np.array([ROWS[k]["eps_total_spread"] / np.linalg.norm(ROWS[k]["eps_total"]) for k in order])
    np.testing.assert_allclose([float(row["eps_total_std"]) for row in rows], shares * MEAN[order], rtol=1e-6)
    assert {row["band_gap_std"] for row in rows} == {""}  # one network says nothing of its doubts
    np.testing.assert_allclose([float(row["rank_std"]) for row in rows], shares * (MEAN * GAP)[order], rtol=1e-6)
    text = written[0].page.read_text(encoding="utf-8")
    assert "± counts only models that are ensembles: `dielectric`; what others predict is taken as exact." in text


@pytest.mark.usefixtures("blank")
def test_nothing_is_said_of_members_that_nobody_knows(tmp_path):
    rows = [{key: value for key, value in row.items() if not key.endswith("_members")} for row in ROWS[:40]]
    store = write_store(tmp_path / "run", rows, PROPERTIES)
    for path in (store / "parts").iterdir():  # as earlier versions wrote them
        old = pq.read_table(path)
        pq.write_table(old.drop_columns([name for name in old.column_names if name.endswith("_members")]), path)
    text = report(store, tmp_path / "report").page.read_text()
    assert "±" not in text
    assert {row["eps_total_std"] + row["rank_std"] for row in table(tmp_path / "report" / "top.csv")} == {""}


def test_structures_are_those_of_the_store_up_to_a_rotation(written):
    output = written[1]
    order, _ = best()
    hands = set()
    for k, row in zip(order, table(output / "top.csv"), strict=True):
        read = ase.io.read(output / row["structure"])
        assert re.fullmatch(r"structures/[0-9]{3}-[A-Za-z0-9._-]+\.cif", row["structure"])
        cell = np.reshape(ROWS[k]["cell"], (3, 3))
        stored = ase.Atoms(ROWS[k]["numbers"], cell=cell, scaled_positions=np.reshape(ROWS[k]["frac"], (-1, 3)),
                           pbc=True)
        assert read.numbers.tolist() == stored.numbers.tolist()
        assert read.get_volume() == pytest.approx(stored.get_volume(), rel=1e-9)
        # A rotation R turns one into the other, so that no mirror image was written: L_read = L_stored R.
        swap = [1, 0, 2] if np.linalg.det(cell) < 0 else [0, 1, 2]
        rotation = np.linalg.solve(cell[swap], read.cell.array)
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
        assert np.linalg.det(rotation) == pytest.approx(1)
        moved = stored.positions @ rotation - read.positions
        steps = moved @ np.linalg.inv(read.cell.array)
        np.testing.assert_allclose(steps, np.round(steps), atol=1e-8)
        hands.add(np.sign(np.linalg.det(cell)))
    assert hands == {-1, 1}


def test_names_of_files_are_safe_whatever_an_id_holds(written):
    files = sorted(path.name for path in (written[1] / "structures").iterdir())
    assert len(files) == 20
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", name) for name in files)
    assert any(name.startswith("001-") and name.endswith(f"-{table(written[1] / 'top.csv')[0]['formula']}.cif")
               for name in files)


def test_the_front_is_that_of_the_crystals_that_match(written):
    result, output = written
    matched = np.flatnonzero((MEAN > 8) & (GAP > 2))
    front = {ROWS[k]["id"] for k in matched
             if not any(MEAN[m] >= MEAN[k] and GAP[m] >= GAP[k] and (MEAN[m], GAP[m]) != (MEAN[k], GAP[k])
                        for m in matched)}  # fmt: skip
    rows = table(output / "pareto.csv")
    assert {row["id"] for row in rows} == front
    values = [float(row["eps_total"]) for row in rows]
    assert values == sorted(values, reverse=True)
    assert result.front == len(front) > 2


@pytest.mark.usefixtures("blank")
def test_a_minus_makes_an_objective_a_cost(store, tmp_path):
    report(store, tmp_path, where=None, pareto=("-num_atoms", "eps_total"))
    atoms = np.array([row["num_atoms"] for row in ROWS])
    known = np.flatnonzero(~np.isnan(MEAN))
    front = {ROWS[k]["id"] for k in known
             if not any(atoms[m] <= atoms[k] and MEAN[m] >= MEAN[k] and (atoms[m], MEAN[m]) != (atoms[k], MEAN[k])
                        for m in known)}  # fmt: skip
    assert {row["id"] for row in table(tmp_path / "pareto.csv")} == front
    assert "smallest `num_atoms` and largest `eps_total`" in (tmp_path / "report.md").read_text()


def test_the_page_names_models_digests_commands_and_the_collection(written):
    text = written[0].page.read_text(encoding="utf-8")
    for expected in (*DIGESTS.values(), *COMMANDS, "f00d" * 16, "crystals.parquet", "voigt models band_gap", "304",
                     CHOICE["where"], "`eps_total` is above 8 and `band_gap` is above 2 eV", CHOICE["rank"]):
        assert expected in text, expected
    for name in re.findall(r"!\[[^]]*\]\(([^)]*)\)", text):
        assert (written[1] / name).is_file()
    assert len(re.findall(r"!\[", text)) == 3


def row_of(text: str, start: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {start}")]
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_the_page_counts_results_failures_and_what_is_lacking(written):
    text = written[0].page.read_text(encoding="utf-8")
    lacking = sum(row["eps_total"] is None for row in ROWS)
    assert row_of(text, "crystals with results")[1] == "300"
    assert row_of(text, "with `eps_total`")[1] == str(300 - lacking)
    assert row_of(text, "without `eps_total`")[1] == str(lacking)
    first = next(text for row in ROWS for text in row["warnings"] if row["eps_total"] is None)
    assert row_of(text, "`eps_total` | ")[1:] == [MEANING["no_symmetry"], first, str(lacking)]
    assert row_of(text, MEANING["unreadable"])[1:] == [CLOSE.format(301, 1), "3"]
    assert row_of(text, MEANING["unseen_elements"])[1:] == [UNSEEN, "1"]
    # One kind, whatever its sentences are; what explains a missing property is no warning about a prediction.
    metals = sum(row["likely_metal"] for row in ROWS)
    assert row_of(text, MEANING["likely_metal"])[1:] == ["a sentence on metals, number 1", str(metals)]
    assert text.count(MEANING["no_symmetry"]) == 1
    assert row_of(text, "probably metals")[1] == str(metals)
    assert "not recorded" not in text
    # With a gap of 2 eV at most the condition is false, whatever the permittivity.
    assert f"{sum(np.isnan(MEAN) & (GAP > 2))} cannot be judged" in text


def test_flags_are_those_of_the_diagnostics(written):
    order, _ = best()
    for k, row in zip(order, table(written[1] / "top.csv"), strict=True):
        size = np.linalg.norm(ROWS[k]["eps_total"])
        expected = "U" * bool(ROWS[k]["unseen"]) + "M" * ROWS[k]["likely_metal"]
        expected += "S" * bool(ROWS[k]["eps_total_spread"] / size > 0.25) + "R" * (ROWS[k]["eps_total_residual"] > 0.05)
        assert row["flags"] == expected
    text = written[0].page.read_text(encoding="utf-8")
    flags = [row["flags"] for row in table(written[1] / "top.csv")]
    assert {flag: int(row_of(text, f"{flag} |")[2]) for flag in "UMSR"} == {
        flag: sum(flag in cell for cell in flags) for flag in "UMSR"
    }
    assert int(row_of(text, "U |")[4]) == sum(bool(row["unseen"]) for row in ROWS)
    assert any(flags)


def test_coverage_counts_a_crystal_once_for_each_of_its_elements(store):
    from voigt.screening.report.survey import read_failures, read_survey

    found = read_survey(sorted((store / "parts").iterdir()), PROPERTIES, (), None)
    for number in (8, 71, 26):
        holding = [row for row in ROWS if number in row["numbers"]]
        assert found.held[number] == len(holding)
        assert found.trusted[number] == sum(not row["unseen"] for row in holding)
    refused = read_failures(store).refused
    assert refused[[26, 27]].tolist() == [1, 1]
    assert refused.sum() == 2


def test_figures_show_something(written):
    for name in ("pareto.png", "distributions.png", "elements.png"):
        with Image.open(written[1] / name) as image:
            assert min(image.size) > 500
            assert len(image.convert("RGB").getcolors(2**24)) > 50


def test_twice_gives_the_same_files(written, store, tmp_path):
    report(store, tmp_path / "again")
    names = sorted(path.relative_to(written[1]) for path in written[1].rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(tmp_path / "again") for path in (tmp_path / "again").rglob("*.*"))
    for name in names:
        assert (written[1] / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name


@pytest.mark.usefixtures("blank")
def test_a_new_report_replaces_the_old_one_and_nothing_else(store, tmp_path):
    report(store, tmp_path, top=9)
    (tmp_path / "structures" / "mine.cif").write_text("")
    report(store, tmp_path, rank="band_gap", top=3)
    assert len(list((tmp_path / "structures").glob("0*.cif"))) == 3
    assert (tmp_path / "structures" / "mine.cif").exists()


@pytest.mark.usefixtures("blank")
def test_nothing_that_fits_gives_a_report_that_says_so(store, tmp_path):
    result = report(store, tmp_path, where="band_gap > 1000")
    assert (result.passed, result.top, result.front) == (0, 0, 0)
    assert table(tmp_path / "top.csv") == table(tmp_path / "pareto.csv") == []
    assert "No crystal satisfies the condition" in result.page.read_text()


@pytest.mark.usefixtures("blank")
def test_without_failures_condition_ranking_or_a_second_property(tmp_path):
    rows = [{key: value for key, value in row.items() if not key.startswith("eps")} for row in ROWS[:12]]
    rows = [{**row, "warnings": [], "notes": [], "unseen": []} for row in rows]
    store = write_store(tmp_path / "run", rows, ["band_gap"], parts=1)
    result = report(store, tmp_path / "report", where=None, rank=None, top=5)
    assert [row["id"] for row in table(tmp_path / "report" / "top.csv")] == [row["id"] for row in rows[:5]]
    text = result.page.read_text()
    assert "Why inputs failed" not in text
    assert "Pareto" not in text
    assert not (tmp_path / "report" / "pareto.png").exists()
    assert result.failed == 0


@pytest.mark.usefixtures("blank")
def test_the_smallest_can_come_first(store, tmp_path):
    report(store, tmp_path, where=None, rank="eps_total", top=4, ascending=True)
    smallest = np.argsort(np.where(np.isnan(MEAN), np.inf, MEAN))[:4]
    assert [row["id"] for row in table(tmp_path / "top.csv")] == [ROWS[k]["id"] for k in smallest]


@pytest.mark.usefixtures("blank")
def test_what_a_prefilter_left_out_is_not_called_lacking(tmp_path):
    rows = [dict(row, prefilter=k % 2 == 0) for k, row in enumerate(ROWS[:40])]
    for row in rows[1::2]:
        row |= {"eps_total": None, "eps_inf": None}
    rows = [{**row, "warnings": [], "notes": []} for row in rows]
    store = write_store(tmp_path / "run", rows, PROPERTIES)
    text = report(store, tmp_path / "report").page.read_text()
    assert row_of(text, "kept from some models by the prefilter")[1] == "20"
    assert row_of(text, "with `eps_inf`")[1] == "20"
    assert "without `eps_inf`" not in text
    missing = sum(ROWS[k]["eps_total"] is None for k in range(0, 40, 2))
    assert row_of(text, "`eps_total` | not recorded")[2:] == ["–", str(missing)]


@pytest.mark.usefixtures("blank")
def test_a_store_of_version_0_1_is_reported_by_its_sentences(store, tmp_path):
    """Kinds were not stored then: sentences are counted as they are, and one line says so. Flags are as ever."""
    copy = shutil.copytree(store, tmp_path / "run")
    for path in copy.rglob("*.parquet"):
        as_version_0_1(path)
    text = report(copy, tmp_path / "report").page.read_text()
    note = "Of 300 crystals and 4 failures the kinds of warnings and failures are not recorded"
    assert len([line for line in text.splitlines() if line.startswith(note)]) == 1
    assert row_of(text, f"not recorded | {UNSEEN}")[2] == "1"
    assert row_of(text, f"not recorded | {CLOSE.format(302, 2)}")[2] == "1"
    lacking = sum(row["eps_total"] is None for row in ROWS)
    assert row_of(text, "`eps_total` | not recorded")[2:] == ["–", str(lacking)]
    odd = sum(row["likely_metal"] for row in ROWS[1::2])
    assert row_of(text, "not recorded | a sentence on metals, number 1 ")[2] == str(odd)
    report(store, tmp_path / "new")
    for name in ("top.csv", "pareto.csv"):
        assert (tmp_path / "report" / name).read_bytes() == (tmp_path / "new" / name).read_bytes()
    # The elements of failures are recorded since: they are not read from sentences.
    from voigt.screening.report.survey import read_failures

    assert read_failures(copy).refused.sum() == 0


@pytest.mark.usefixtures("blank")
def test_a_store_of_both_versions_is_one_store(store, tmp_path):
    """Begun with version 0.1 and resumed: parts differ by columns."""
    copy = shutil.copytree(store, tmp_path / "run")
    as_version_0_1(copy / "parts" / "part-000000.parquet")
    text = report(copy, tmp_path / "report").page.read_text()
    assert "Of 100 crystals the kinds of warnings and failures are not recorded" in text
    metals = [row["likely_metal"] for row in ROWS]
    assert row_of(text, MEANING["likely_metal"])[2] == str(sum(metals[100:]))
    assert row_of(text, "probably metals")[1] == str(sum(metals))
    assert row_of(text, "not recorded | a sentence on metals, number 1 ")[2] == str(sum(metals[1:100:2]))


@pytest.mark.usefixtures("blank")
def test_without_criteria_those_of_the_last_screening_are_used(store, tmp_path):
    copy = shutil.copytree(store, tmp_path / "run")
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["selection"] = {"where": CHOICE["where"], "rank": "band_gap", "ascending": True}
    (copy / "manifest.json").write_text(json.dumps(manifest))
    written = write_report(copy, top=5)
    assert written.page == copy / "report" / "report.md"
    report(store, tmp_path / "same", rank="band_gap", top=5, ascending=True)
    assert table(copy / "report" / "top.csv") == table(tmp_path / "same" / "top.csv")


@pytest.mark.usefixtures("blank")
def test_failures_whose_part_was_lost_in_a_kill_do_not_count(store, tmp_path):
    copy = shutil.copytree(store, tmp_path / "run")
    orphan = {**FAILURES[1], "id": "left by a kill", "input_digest": "00" * 8, "readable": True}
    pq.write_table(pa.Table.from_pylist([orphan]), copy / "failed" / "part-000099.parquet")
    assert report(copy, tmp_path / "report").failed == 4


@pytest.mark.usefixtures("blank")
def test_a_screening_that_still_runs_is_called_so(store, tmp_path):
    copy = shutil.copytree(store, tmp_path / "run")
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest |= {"state": "running", "crystals": 0}
    manifest["sessions"][-1]["ended"] = None
    (copy / "manifest.json").write_text(json.dumps(manifest))
    text = report(copy, tmp_path / "report").page.read_text()
    assert "not complete" in text
    assert row_of(text, "crystals with results")[1] == "300"


@pytest.mark.usefixtures("blank")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pareto": ("eps_total", "band_gapp")}, "unknown objective 'band_gapp'.*band_gap"),
        ({"pareto": ("band_gap", "-band_gap")}, "two different objectives"),
        ({"pareto": ("bulk_modulus", "band_gap")}, "elastic"),
        ({"rank": "bulk_modulus"}, "elastic"),
    ],
)
def test_what_the_screening_lacks_is_named(store, tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        report(store, tmp_path / "report", **change)
    assert not (tmp_path / "report").exists()


@pytest.mark.usefixtures("blank")
def test_no_screening_no_results_and_no_room_are_one_sentence(store, tmp_path):
    with pytest.raises(InputError, match="holds no screening"):
        report(tmp_path, tmp_path / "report")
    empty = write_store(tmp_path / "empty", [], PROPERTIES, parts=1)
    with pytest.raises(InputError, match="why all inputs failed"):
        report(empty, tmp_path / "report")
    shutil.rmtree(empty / "parts")
    with pytest.raises(InputError, match="no results"):
        report(empty, tmp_path / "report")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        report(store, tmp_path / "file")
