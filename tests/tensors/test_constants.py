"""The tabulated constants are e3nn's, entry by entry, and complete."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import torch
from benchmarks.tools import constants
from e3nn import o3

from voigt.tensors.irreps import CONSTANTS, cartesian_basis, couples, degree, dimension, wigner_3j
from voigt.tensors.properties import PROPERTIES

FORMULAS = sorted({prop.formula for prop in PROPERTIES.values()} - {""})
FACTORS = ("0e", "1o", "1e", "2o", "2e")
PRODUCTS = [*itertools.product(FACTORS, FACTORS), ("3o", "1o")]


@pytest.fixture
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("formula", FORMULAS)
def test_cartesian_bases(double, formula):
    indices = dict.fromkeys(formula.partition("=")[0], "1o")
    expected = o3.ReducedTensorProducts(formula, **indices)
    basis = cartesian_basis(formula)
    assert o3.Irreps(basis.irreps).simplify() == expected.irreps_out.simplify()
    np.testing.assert_allclose(basis.matrix, expected.change_of_basis.flatten(1).numpy(), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("first", "second"), PRODUCTS)
def test_wigner_3j_of_every_product(first, second):
    for product in o3.Irrep(first) * o3.Irrep(second):
        out = str(product)
        expected = o3.wigner_3j(degree(first), degree(second), degree(out), dtype=torch.float64)
        np.testing.assert_allclose(wigner_3j(first, second, out), expected.numpy(), rtol=0, atol=1e-12)


def test_irreps_have_the_dimensions_and_products_of_e3nn():
    irreps = [f"{ell}{parity}" for ell in range(5) for parity in "eo"]
    for name in irreps:
        assert (degree(name), dimension(name)) == (o3.Irrep(name).l, o3.Irrep(name).dim)
    for first, second, out in itertools.product(irreps, irreps, irreps):
        assert couples(first, second, out) == (o3.Irrep(out) in list(o3.Irrep(first) * o3.Irrep(second)))


def test_the_file_is_what_the_tool_writes(double):
    def dense(entries: list[list[float]]) -> dict[tuple[int, ...], float]:
        return {tuple(map(int, place)): value for *place, value in entries}

    stored, fresh = json.loads(CONSTANTS.read_text(encoding="utf-8")), constants.tables()
    assert constants.CONSTANTS == CONSTANTS
    assert stored["wigner_3j"].keys() == fresh["wigner_3j"].keys()
    assert stored["bases"].keys() == fresh["bases"].keys() == {"", *FORMULAS}
    for name, entries in fresh["wigner_3j"].items():
        assert dense(stored["wigner_3j"][name]) == pytest.approx(dense(entries), abs=1e-12)
    for formula, basis in fresh["bases"].items():
        assert stored["bases"][formula]["irreps"] == basis["irreps"]
        assert dense(stored["bases"][formula]["entries"]) == pytest.approx(dense(basis["entries"]), abs=1e-12)
