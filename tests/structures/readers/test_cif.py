"""CIFs of databases and programs: all atoms, or a sentence that names the item at fault; never another crystal."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from tests.structures.inputs import good, is_sound, only, trouble
from tests.structures.readers.cif_texts import COLUMNS, CUBIC, FM3M, ROCK_SALT, cell_items, cif, operations

from voigt.structures import Input, read
from voigt.structures.intake import check
from voigt.structures.readers.cif import read_cif


def one(text: str) -> Input:
    return check(only(read_cif(text)))


def formula(text: str) -> str:
    return str(good(one(text)).symbols.formula.format("hill"))


# ---- magnetic structures


CENTERINGS = ("x,y,z,+1", "x,y+1/2,z+1/2,+1", "x+1/2,y,z+1/2,-1", "x+1/2,y+1/2,z,-1")


@pytest.mark.parametrize(
    ("operation", "centering"),
    [
        ("_space_group_symop_magn_operation.xyz", "_space_group_symop_magn_centering.xyz"),
        ("_space_group_symop_magn_operation_xyz", "_space_group_symop_magn_centering_xyz"),
        ("_space_group_symop.magn_operation_xyz", "_space_group_symop.magn_centering_xyz"),
    ],
)
@pytest.mark.parametrize("suffix", [".cif", ".mcif"])
def test_magnetic_operations_and_centerings(tmp_path: Path, operation: str, centering: str, suffix: str) -> None:
    symmetry = operations(["x,y,z,+1", "-x,-y,z,-1"], operation) + operations(CENTERINGS, centering)
    symmetry += "_space_group_magn.number_BNS 15.90\n_parent_space_group.name_H-M_alt 'F m -3 m'"
    path = tmp_path / f"oxide{suffix}"
    path.write_text(cif("Mg1 Mg 0.1 0.2 0.3\nO1 O 0.5 0.5 0.5", symmetry))
    assert good(only(read(path))).get_chemical_formula() == "Mg8O4"


def test_magnetic_structures_without_operations_and_modulated_ones() -> None:
    assert "magnetic CIF without operations" in trouble(one(cif(symmetry="_space_group_magn.number_BNS 225.116")))
    modulated = "_cell_modulation_dimension 1\n" + FM3M
    assert "modulated" in trouble(one(cif(symmetry=modulated)))
    algebraic = operations(["x1,x2,x3,x4,+1"], "_space_group_symop.magn_ssg_operation_algebraic")
    assert "modulated" in trouble(one(cif(symmetry=algebraic)))
    assert formula(cif(symmetry="_cell_modulation_dimension 0\n" + FM3M)) == "Mg4O4"


# ---- mixtures and groups of atoms


@pytest.mark.parametrize(
    ("symbol", "shown"),
    [
        ("0.6Mg + 0.4Ca", "Mg 0.6, Ca 0.4"),
        ("0.6Mg+0.4Ca", "Mg 0.6, Ca 0.4"),
        ("Mg0.6Ca0.4", "Mg 0.6, Ca 0.4"),
        ("(Mg0.6Ca0.4)", "Mg 0.6, Ca 0.4"),
        ("0.6Mg2+ + 0.4Ca2+", "Mg 0.6, Ca 0.4"),
        ("0.6(2)Mg + 0.4(2)Ca", "Mg 0.6, Ca 0.4"),
        (".6Mg + .3Ca + .1Sr", "Mg 0.6, Ca 0.3, Sr 0.1"),
        ("Mg,Ca", "Mg ?, Ca ?"),
        ("Mg/Ca", "Mg ?, Ca ?"),
        ("0.706OH + 0.294F", "OH 0.706, F 0.294"),
        ("0.8Mg", "Mg 0.8"),
    ],
)
def test_mixed_symbols(symbol: str, shown: str) -> None:
    text = cif(f"M1 '{symbol}' 0 0 0 1\nO1 O 0.5 0.5 0.5 1", columns=(*COLUMNS, "occupancy"))
    assert f"is partially occupied at site M1 ({shown})" in trouble(one(text))


@pytest.mark.parametrize("symbol", ["NH3", "NH4", "OH", "OH2", "H2O", "CO3", "CN", "CH3", "NO3", "SO4"])
def test_groups_of_atoms_on_one_site(symbol: str) -> None:
    problem = trouble(one(cif(f"N1 '{symbol}' 0 0 0\nO1 O 0.5 0.5 0.5")))
    assert symbol in problem
    assert "group of" in problem


@pytest.mark.parametrize(
    ("sites", "shown"),
    [
        ("A1 Na 0 0 0 0.6\nA2 K 0 0 0 0.4\nB1 Cl 0.5 0.5 0.5 1", "site A1 (Na 0.6, K 0.4)"),
        ("A1 Na 0 0 0 0.6\nA1 K 0 0 0 0.4\nB1 Cl 0.5 0.5 0.5 1", "site A1 (Na 0.6, K 0.4)"),
        ("A1 Na 0 0 0 1\nB1 Cl 0.5 0.5 0.5 0.98", "site B1 (Cl 0.98)"),
        ("A1 Na 0 0 0 1\nA2 K 1 1 0 1\nB1 Cl 0.5 0.5 0.5 1", "site A1 (Na 1.0, K 1.0)"),
    ],
)
def test_occupancies(sites: str, shown: str) -> None:
    assert shown in trouble(one(cif(sites, columns=(*COLUMNS, "occupancy"))))


@pytest.mark.parametrize("share", ["1", "1.0", "1.0(0)", "0.9999", "1.00(2)", "?", ".", "+1.0E0"])
def test_whole_occupancies(share: str) -> None:
    text = cif(f"A1 Mg 0 0 0 {share}\nB1 O 0.5 0.5 0.5 {share}", columns=(*COLUMNS, "occupancy"))
    assert formula(text) == "Mg4O4"


def test_halves_of_one_element_and_empty_sites() -> None:
    sites = "A1 Mg 0 0 0 0.5\nA2 Mg 0 0 0 0.5\nB1 O 0.5 0.5 0.5 1\nC1 Li 0.25 0.25 0.25 0"
    assert formula(cif(sites, columns=(*COLUMNS, "occupancy"))) == "Mg4O4"


def test_alternative_sets_of_sites() -> None:
    columns = (*COLUMNS, "disorder_group")
    text = cif("A1 Mg 0 0 0 1\nB1 O 0.5 0.5 0.5 2", columns=columns)
    assert "_atom_site_disorder_group" in trouble(one(text))
    assert formula(cif("A1 Mg 0 0 0 .\nB1 O 0.5 0.5 0.5 1", columns=columns)) == "Mg4O4"


# ---- elements


@pytest.mark.parametrize(
    ("symbol", "element"),
    [
        ("Mg2+", "Mg"), ("Mg+2", "Mg"), ("MG", "Mg"), ("mg", "Mg"), ("Mg1", "Mg"), ("O2-", "O"), ("O-2", "O"),
        ("O1-", "O"),
        ("D", "H"), ("T", "H"), ("D1+", "H"), ("H-1", "H"), ("Cval", "C"), ("Siva", "Si"), ("CL1-", "Cl"), ("W6+", "W"),
        ("U4.5+", "U"), ("Fe2.667+", "Fe"), ("7Li", "Li"), ("18O", "O"), ("235U", "U"),
    ],
)  # fmt: skip
def test_type_symbols(symbol: str, element: str) -> None:
    (atoms,) = (good(one(cif(f"Q1 {symbol} 0 0 0"))),)
    assert set(atoms.symbols) == {element}


@pytest.mark.parametrize(
    ("label", "stated", "element"),
    [
        ("Ca1", "", "Ca"), ("Fe2A", "", "Fe"), ("O1W", "", "O"), ("C13", "", "C"), ("Cs", "", "Cs"),
        ("Ca(2)", "", "Ca"),
        ("D1", "", "H"), ("MG1", "", "Mg"), ("CA1", "Ca", "Ca"), ("CA1", "C", "C"), ("Ow", "O", "O"), ("Obm", "O", "O"),
        ("HO1", "Ho", "Ho"), ("HO1", "H", "H"), ("N_2", "", "N"),
    ],
)  # fmt: skip
def test_labels_without_type_symbols(label: str, stated: str, element: str) -> None:
    more = f"_chemical_formula_sum '{stated}'" if stated else ""
    text = cif(f"{label} 0 0 0", more=more, columns=("label", "fract_x", "fract_y", "fract_z"))
    assert set(good(one(text)).symbols) == {element}


@pytest.mark.parametrize(
    ("label", "stated", "shown"),
    [
        ("Wq1", "", "unknown element 'Wq'"),
        ("CA1", "", "'CA1' may be Ca or C"),
        ("T1", "", "unknown element 'T1'"),
        ("M1", "", "unknown element 'M'"),
        ("Wat", "Al2 O8 P", "'Wat' is no element of the formula"),
        ("Zn,Ga", "", "partially occupied at site Zn,Ga (Zn ?, Ga ?)"),
        ("17", "", "17"),
    ],
)
def test_labels_that_do_not_tell(label: str, stated: str, shown: str) -> None:
    more = f"_chemical_formula_sum '{stated}'" if stated else ""
    text = cif(f"'{label}' 0 0 0", more=more, columns=("label", "fract_x", "fract_y", "fract_z"))
    assert shown in trouble(one(text))


@pytest.mark.parametrize("symbol", ["X", "Wq", "CO", "NO", "HO", "Dum", "?x"])
def test_symbols_that_are_no_single_element(symbol: str) -> None:
    assert symbol in trouble(one(cif(f"A1 {symbol} 0 0 0")))


# ---- formula, formula units, density


def test_hydrogens_without_positions() -> None:
    columns = (*COLUMNS, "attached_hydrogens")
    sites = "N1 N3- 0 0 0 4\nCl1 Cl1- 0.5 0.5 0.5 0"
    name = "_symmetry_space_group_name_H-M 'P m -3 m'"
    stated = "_chemical_formula_sum 'Cl H4 N'"
    problem = trouble(one(cif(sites, name, more=stated, columns=columns)))
    assert "(Cl H4 N) and the atoms (Cl N) disagree: 4 H are declared but have no position" in problem
    assert "_atom_site_attached_hydrogens" in trouble(one(cif(sites, name, columns=columns)))
    assert formula(cif(sites.replace(" 4\n", " 0\n"), name, columns=columns)) == "ClN"
    unplaced = cif("N1 N 0 0 0\nCl1 Cl 0.5 0.5 0.5\nH1 H ? ? ?\nH2 H . . .", name)
    problem = trouble(one(unplaced))
    assert "H1 (H) has no position" in problem
    assert "H2 (H) has no position" in problem


@pytest.mark.parametrize(
    ("stated", "units"),
    [
        ("Mg O", "4"), ("'Mg O'", "4"), ("'O Mg'", "?"), ("MgO", "4"), ("'Mg4 O4'", "4"), ("'Mg4 O4'", "1"),
        ("'Mg1 O1'", "."),
        ("'Mg1.0 O1.00'", "4"), ("'Mg 2+ O 2-'", "4"), ("?", "4"), ("?", "2"), ("?", "1"),
    ],
)  # fmt: skip
def test_formulas_that_agree(stated: str, units: str) -> None:
    assert formula(cif(more=f"_chemical_formula_sum {stated}\n_cell_formula_units_Z {units}")) == "Mg4O4"


@pytest.mark.parametrize(
    ("more", "shown"),
    [
        ("_chemical_formula_sum 'Mg O2'", "(Mg O2) and the atoms (Mg O) disagree"),
        ("_chemical_formula_sum 'Ca O'", "(Ca O) and the atoms (Mg O) disagree"),
        (
            "_chemical_formula_sum 'Mg O'\n_cell_formula_units_Z 8",
            "_cell_formula_units_Z is 8, but the cell has Mg4 O4",
        ),
        ("_cell_formula_units_Z 8", "_cell_formula_units_Z is 8"),
        (
            "_exptl_crystal_density_diffrn 7.0",
            "_exptl_crystal_density_diffrn is 7, but cell and atoms (Mg4 O4) give 3.47",
        ),
        ("_exptl_crystal_density_meas 7.0", "_exptl_crystal_density_meas is 7"),
    ],
)
def test_statements_that_contradict_the_atoms(more: str, shown: str) -> None:
    assert shown in trouble(one(cif(more=more)))


@pytest.mark.parametrize(
    "more",
    [
        "_exptl_crystal_density_diffrn 3.47",
        "_exptl_crystal_density_diffrn 3470",  # kg/m^3
        "_exptl_crystal_density_meas 3.2\n_cell_formula_units_Z 4",
        "_exptl_crystal_density_diffrn 3.47\n_cell_formula_units_Z 1\n_chemical_formula_sum 'Mg O'",  # a wrong Z alone
        "_chemical_formula_structural 'Mg O2'\n_chemical_formula_moiety 'Ca O'",
        "_chemical_formula_sum 'Mg O (SO4)0.0'",
    ],
)
def test_statements_that_do_not_contradict(more: str) -> None:
    assert formula(cif(more=more)) == "Mg4O4"


def test_deuterium_counts_as_hydrogen() -> None:
    for written in ("Li D", "Li H", "D Li"):
        more = f"_chemical_formula_sum '{written}'\n_cell_formula_units_Z 4\n_exptl_crystal_density_diffrn 0.88"
        text = cif("Li1 Li 0 0 0\nD1 D 0.5 0.5 0.5", cell=(4.07, 4.07, 4.07, 90, 90, 90), more=more)
        assert formula(text) == "H4Li4"


# ---- numbers and coordinates


@pytest.mark.parametrize(
    "half", ["0.5", ".5", "0.5(12)", "0.5000(3)", "'0.5'", '"0.5"', "1/2", "5.0E-1", "0.5(", "\n;0.5\n;", "-0.5"]
)
@pytest.mark.parametrize("zero", ["0", ".", "0.", "-0", "0.0(1)", "1.0"])
def test_spellings_of_numbers(half: str, zero: str) -> None:
    assert formula(cif(f"Mg1 Mg {zero} 0 {zero}\nO1 O {half} {half} {half}")) == "Mg4O4"


def test_a_lone_row_of_points_is_the_origin() -> None:
    assert formula(cif("Mg1 Mg . . .\nO1 O 0.5 0.5 0.5")) == "Mg4O4"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (cif("Mg1 Mg 0 0 ?\nO1 O 0.5 0.5 0.5"), "_atom_site_fract_z is '?', which is no number"),
        (cif("Mg1 Mg 0 0 a\nO1 O 0.5 0.5 0.5"), "_atom_site_fract_z is 'a', which is no number"),
        (cif("Mg1 Mg 0 0,1 0\nO1 O 0.5 0.5 0.5"), "_atom_site_fract_y is '0,1'"),
        (cif("Mg1 Mg 0 0 1e300\nO1 O 0.5 0.5 0.5"), "far too large (_atom_site_fract_x"),
        (cif("Mg1 Mg 0 0 0\nO1 O 0.5 0.5"), "in a loop of 5 items with 9 values"),
        (cif("Mg1 Mg 0 0", columns=COLUMNS[:4]), "has no _atom_site_fract_z"),
        (cif("0 0 0", columns=COLUMNS[2:]), "neither _atom_site_type_symbol nor _atom_site_label"),
        (cif("Mg1 Mg 0 0 0 x", columns=(*COLUMNS, "occupancy")), "_atom_site_occupancy of Mg1 is 'x'"),
        (cif(cell=("4.2", "?", "4.2", 90, 90, 90)), "has no single value of _cell_length_b"),
        (cif(cell=("4.2", "4.2 A", "4.2", 90, 90, 90)), "_cell_length_b is '4.2 A', which is no number"),
        (cif(cell=(4.2, 0, 4.2, 90, 90, 90)), "_cell_length_b is 0, no length"),
        (cif(cell=(4.2, 4.2, 4.2, 90, 180, 90)), "_cell_angle_beta is 180, no angle"),
        (cif(cell=(4.2, 4.2, 4.2, 20, 80, 60)), "which no cell can have"),
        (cif(cell=("nan", 4.2, 4.2, 90, 90, 90)), "_cell_length_a is 'nan'"),
        (cif(more="_cell_length_a 5.1"), "_cell_length_a is given twice"),
    ],
)
def test_what_is_refused_names_its_item(text: str, shown: str) -> None:
    assert shown in trouble(one(text))


def test_the_faults_of_sites_and_symmetry_are_told_together() -> None:
    problem = trouble(one(cif("Q1 Qq 0 0 0\nO1 O 0.5 0.5 ?", "_symmetry_space_group_name_H-M 'P 9'")))
    assert "no number" in problem
    assert "no known space group" in problem


def test_cartesian_coordinates() -> None:
    cell = (4, 5, 6, 90, 100, 90)
    columns = ("label", "type_symbol", "Cartn_x", "Cartn_y", "Cartn_z")
    text = cif("Mg1 Mg 0 0 0\nO1 O 2.0 2.5 0.0", "_symmetry_space_group_name_H-M 'P 1'", cell, columns=columns)
    assert good(one(text)).get_scaled_positions()[1] == pytest.approx([0.5, 0.5, 0])
    assert "axes of their own" in trouble(one(text + "_atom_sites_Cartn_tran_matrix_11 1.0\n"))


@pytest.mark.parametrize(
    ("third", "tolerance"), [("0.333333", 1e-6), ("0.3333", 1e-4), ("0.333", 1e-3), ("0.33", 1e-2)]
)
def test_special_positions_with_few_digits(third: str, tolerance: float) -> None:
    """Magnesium: two atoms in the cell, brought onto the axis."""
    two = f"{1 - float(third):.6g}"
    text = cif(
        f"Mg1 Mg {third} {two} 0.25", "_symmetry_space_group_name_H-M 'P 63/m m c'", (3.21, 3.21, 5.21, 90, 90, 120)
    )
    places = good(one(text)).get_scaled_positions()
    assert len(places) == 2
    assert places[places[:, 2].argsort()] == pytest.approx(
        np.array([[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]]), abs=tolerance / 9
    )


def test_sites_given_twice_are_one() -> None:
    assert formula(cif(ROCK_SALT + "\nMg2 Mg 0.5 0.5 0\nO2 O 0.5 1 1")) == "Mg4O4"
    heap = "\n".join(["Mg1 Mg 0 0 0"] * 3000)
    assert formula(cif(heap + "\nO1 O 0.5 0.5 0.5")) == "Mg4O4"


def test_dummy_sites_are_left_out() -> None:
    sites = "Mg1 Mg 0 0 0 d\nO1 O 0.5 0.5 0.5 .\nX1 X 0.25 0.25 0.25 dum"
    assert formula(cif(sites, columns=(*COLUMNS, "calc_flag"))) == "Mg4O4"


# ---- syntax


def test_items_in_and_out_of_loops() -> None:
    looped = f"data_x\nloop_\n_cell_angle_alpha\n90.0\n{FM3M}\n"
    looped += "".join(f"_cell_length_{axis} 4.2\n" for axis in "abc") + "_cell_angle_beta 90\n_cell_angle_gamma 90\n"
    looped += "loop_ _cell_formula_units_Z _chemical_formula_sum 4 'Mg O'\n"
    single = "_atom_site_label Mg1 _atom_site_fract_x 0 _atom_site_fract_y 0 _atom_site_fract_z 0\n"
    assert formula(looped.replace("'Mg O'", "Mg") + single) == "Mg4"


EXTRA = "data_x\nloop_\n_publ_author_name\n'A' 'B' extra\nloop_\n_refln_h\n_refln_k\n1 2 3"
LISTS = "data_x\n_a [1 [2 '3']\n4]\n_b '''x\n'y' '''\n_c {'k':1}"


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "\r"),
        lambda text: "\ufeff" + text,
        lambda text: text.upper().replace("'F M -3 M'", "'F m -3 m'").replace("MG", "Mg"),
        lambda text: text.replace("data_x\n", ""),
        lambda text: text.replace("_cell_length_", "_cell.length_").replace("_atom_site_", "_atom_site."),
        lambda text: text.replace("'F m -3 m'", "F m -3 m"),
        lambda text: text.replace("'F m -3 m'", '"F m -3 m"  # comment'),
        lambda text: text.replace("'F m -3 m'", "\n;F m -3 m\n;"),
        lambda text: text.replace("data_x", EXTRA),
        lambda text: text.replace("data_x", "data_x\n_publ_title 'O'Neill's crystal'\n_empty\n_name 'not closed"),
        lambda text: text.replace("data_x", "data_x\n_text\n;\n loop_ _cell_length_a 7\n 'x\n;\n"),
        lambda text: text + "\nloop_\n_geom_bond_distance\n",
        lambda text: text + "\n# end\n_last",
        lambda text: "#\\#CIF_2.0\n" + text.replace("data_x", LISTS),
        lambda text: text.replace("Mg1 Mg", "'Mg1' \"Mg\""),
        lambda text: text.replace("\n", "\n\t  \n"),
    ],
)  # fmt: skip
def test_syntax_of_programs(change: object, tmp_path: Path) -> None:
    path = tmp_path / "salt.cif"
    path.write_text(change(cif()), encoding="utf-8", newline="")  # type: ignore[operator]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message="Set OLD_ERROR_HANDLING")
        assert good(only(read(path))).get_chemical_formula() == "Mg4O4"


def test_letters_of_old_code_pages(tmp_path: Path) -> None:
    path = tmp_path / "salt.cif"
    path.write_bytes(cif(more="_publ_author_name 'M\u00fcller, \u00c5.'").encode("latin-1"))
    assert good(only(read(path))).get_chemical_formula() == "Mg4O4"


@pytest.mark.parametrize(
    "broken",
    [
        cif(name="b").replace("O1 O 0.5 0.5 0.5", "O1 O 0.5"),
        cif(name="b", cell=(4, 4, 4, 90, 90, "x")),
        cif(name="b") + "_publ_text\n;\nnever closed\n",
        cif(name="b").replace("'F m -3 m'", "'F m -3 m"),
        "data_b\n_publ_text\n;\nopen from here\n" + cif(name="b").replace("data_b\n", ""),
        cif(name="b").replace("loop_", "loop_\nloop_"),
        "data_b\n" + cell_items(CUBIC) + "loop_\n_atom_site_fract_x\n",
    ],
)
def test_a_broken_block_spoils_no_other(broken: str) -> None:
    entries = [check(entry) for entry in read_cif(cif(name="a") + broken + cif(name="c") + cif(name="d"))]
    sound = [good(entry).get_chemical_formula() for entry in entries if is_sound(entry)]
    assert sound.count("Mg4O4") >= 3
    assert set(sound) == {"Mg4O4"}


def test_a_quoted_cif_in_a_text_is_no_structure() -> None:
    text = cif(name="a") + "_details\n;\n" + cif(name="quoted", cell=(7, 7, 7, 90, 90, 90)) + ";\n" + cif(name="b")
    assert [good(check(entry)).cell.lengths()[0] for entry in read_cif(text)] == pytest.approx([4.2553, 4.2553])


def test_blocks_without_a_structure_are_passed_over() -> None:
    empty = cif("? ? ? ? ?", "_symmetry_space_group_name_H-M ''", ("?",) * 6, name="published")
    text = "data_global\n_journal_year 1913\n" + cif(name="a") + empty + "data_end\n_atom_site_note x\n"
    assert [good(entry).get_chemical_formula() for entry in read_cif(text)] == ["Mg4O4"]


# ---- sizes


def test_large_files_are_quick() -> None:
    """Five thousand sites; each site was compared with all before, for minutes."""
    import time

    grid = np.stack(np.meshgrid(*[np.arange(18) / 18] * 3), -1).reshape(-1, 3)[:5000]
    sites = "\n".join(f"Mg{k} Mg {x:.5f} {y:.5f} {z:.5f}" for k, (x, y, z) in enumerate(grid))
    start = time.process_time()
    assert len(good(one(cif(sites, "_symmetry_space_group_name_H-M 'P 1'", (50, 50, 50, 90, 90, 90))))) == 5000
    assert time.process_time() - start < 10


@pytest.mark.parametrize(
    "text",
    [
        "data_x\n" + "'a " * 100_000,
        "data_x\n" + ";a\n" * 100_000,
        "data_x\n" * 100_000,
        "data_x\n_atom_site " + "loop_ _a " * 100_000,
        "#\\#CIF_2.0\ndata_x\n_atom_site " + "_a '''" * 50_000 + "[" * 50_000,
        cif(ROCK_SALT, operations([f"x+{k}/9999,y,z" for k in range(9999)])),
        cif("\n".join(["Mg1 Mg 0.1 0.2 0.3"] * 6000)),
    ],
)
def test_hostile_texts_end_soon(text: str) -> None:
    import time

    start = time.process_time()
    for entry in read_cif(text):
        check(entry)
    assert time.process_time() - start < 10
