"""The periodic table as text."""

from __future__ import annotations

import numpy as np
from ase.data import atomic_numbers, chemical_symbols

from voigt.models.elements import table_layout
from voigt.writers.elements import TABLE_WIDTH, element_lines, short_count
from voigt.writers.table import plain_text, rich_text

ALL = {z: 1000 + z for z in range(1, 119)}


def rows(counts: dict[int, int]) -> list[str]:
    return plain_text(element_lines(counts, counts)).splitlines()


def cell(line: str, group: int) -> str:
    return line[5 * (group - 1) : 5 * group].strip()


def test_elements_stand_in_groups_and_periods_with_their_counts_below() -> None:
    lines = rows({**ALL, 26: 276, 17: 3, 57: 12_345, 118: 0})
    known = {"H": (1, 1, "1.0k"), "He": (1, 18, "1.0k"), "Cl": (3, 17, "(3)"), "Fe": (4, 8, "276"),
             "Og": (7, 18, "(0)")}  # fmt: skip
    for symbol, (period, group, count) in known.items():
        assert cell(lines[2 * period - 2], group) == symbol
        assert cell(lines[2 * period - 1], group) == count
    assert lines[14] == ""
    assert lines[15].split() == ["La–Yb", *chemical_symbols[57:71]]
    assert lines[16].split()[0] == "12k"
    assert lines[17].split() == ["Ac–No", *chemical_symbols[89:103]]
    assert cell(lines[15], 3) == "La"  # below group 3, where it is taken from


def test_every_cell_is_where_the_layout_says() -> None:
    lines = rows(ALL)
    for z, (column, row) in enumerate(table_layout()[1:], start=1):
        line = 2 * int(row) + (row > 7)  # one empty line above the f block
        assert cell(lines[line], int(column) + 1) == chemical_symbols[z]


def test_elements_outside_of_training_are_dots() -> None:
    lines = rows({1: 30, 26: 19})
    assert lines[0].split() == ["H", "·"]
    assert lines[1] == "30"
    assert lines[2].split() == ["·"] * 8
    iron = next(k for k, line in enumerate(lines) if "Fe" in line)
    assert lines[iron].split() == [*"·" * 7, "Fe", *"·" * 10]
    assert lines[iron + 1].strip() == "(19)"
    assert "fewer than 20" in lines[-1]


def test_it_fits_and_a_terminal_gets_the_same_text() -> None:
    for count in (1, 999, 1234, 99_960, 999_600, 10**40):
        counts = dict.fromkeys(range(1, 119), count)
        lines = element_lines(counts, counts)
        assert max(map(len, plain_text(lines).splitlines())) <= TABLE_WIDTH
        assert rich_text(lines).plain == plain_text(lines)
    assert not any(line != line.rstrip() for line in rows(ALL))


def test_rare_and_absent_elements_have_a_style_of_their_own() -> None:
    styles = {text: style for line in element_lines([8, 26], {8: 400, 26: 3}) for text, style in line if text.strip()}
    assert styles["O"] == "bold"
    assert styles["400"] == ""
    assert "yellow" in styles["Fe"]
    assert "yellow" in styles["(3)"]
    assert styles["·"] == "dim"


def test_counts_take_four_characters_and_keep_their_size() -> None:
    for count in np.unique(np.geomspace(1, 9.9e8, 2000).astype(int)).tolist():
        text = short_count(count)
        assert len(text) <= 4
        value = float(text.rstrip("kM")) * {"k": 1e3, "M": 1e6}.get(text[-1], 1.0)
        assert abs(value - count) <= 0.05 * count
    assert short_count(atomic_numbers["Og"]) == "118"
