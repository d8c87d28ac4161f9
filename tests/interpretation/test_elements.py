"""Elements against the tables of pymatgen."""

from __future__ import annotations

import math
import warnings
from itertools import pairwise

import pytest
from ase.data import chemical_symbols

from voigt.interpretation.elements import ELECTRONEGATIVITY, by_electronegativity, group

SYMBOLS = chemical_symbols[1:104]


def test_electronegativities_are_those_of_pymatgen() -> None:
    element = pytest.importorskip("pymatgen.core", reason="the extra 'pymatgen' is not installed").Element
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of those that have none
        expected = {symbol: element(symbol).X for symbol in SYMBOLS}
    assert {symbol: value for symbol, value in expected.items() if not math.isnan(value)} == ELECTRONEGATIVITY


def test_groups_are_columns_of_the_periodic_table() -> None:
    element = pytest.importorskip("pymatgen.core", reason="the extra 'pymatgen' is not installed").Element
    alone = {"H", "O"}
    assert {symbol for symbol in SYMBOLS if group(symbol) == symbol} == alone
    # Rare earths and actinides are one column each; they and those that stand alone are left out.
    plain = [symbol for symbol in SYMBOLS if group(symbol) not in ("rare earth", "actinide") and symbol not in alone]
    columns = {symbol: element(symbol).group for symbol in plain}
    for symbol in plain:
        assert {other for other in plain if group(other) == group(symbol)} == {
            other for other in plain if columns[other] == columns[symbol]
        }
    rare = {symbol for symbol in SYMBOLS if group(symbol) == "rare earth"}
    assert rare == {symbol for symbol in SYMBOLS if element(symbol).is_rare_earth and not element(symbol).is_actinoid}


def test_order_of_formulas() -> None:
    assert sorted(["O", "Ti", "Ba"], key=by_electronegativity) == ["Ba", "Ti", "O"]
    noble = sorted(["Xe", "He", "F"], key=by_electronegativity)
    assert all(a != b for a, b in pairwise(noble))
    assert noble[0] == "He"
