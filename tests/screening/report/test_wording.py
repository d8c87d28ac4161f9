import numpy as np
import pytest

from voigt.screening.query.expressions import evaluate, parse
from voigt.screening.report.wording import axis_label, definitions, in_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("eps_total > 20 and band_gap > 3", "`eps_total` is above 20 and `band_gap` is above 3 eV"),
        ("3 <= band_gap", "`band_gap` is at least 3 eV"),
        ("5 < eps_total < 40", "`eps_total` is above 5 and `eps_total` is below 40"),
        ("not 5 < eps_total < 40", "`eps_total` is not above 5 or `eps_total` is not below 40"),
        ('not has("Pb")', "the crystal does not contain Pb"),
        ('has("Pb") or has("Tl") and band_gap == 1',
         "the crystal contains Pb or (the crystal contains Tl and `band_gap` is equal to 1 eV)"),
        ('not (has("Pb") or has("Tl"))', "the crystal does not contain Pb and the crystal does not contain Tl"),
        ("not not band_gap != 2", "`band_gap` is different from 2 eV"),
        ("eps_total * band_gap", "`eps_total` × `band_gap`"),
        ("eps_total - (band_gap - 1)", "`eps_total` − (`band_gap` − 1)"),
        ("(eps_total - band_gap) - 1", "`eps_total` − `band_gap` − 1"),
        ("(eps_total + 1) * band_gap / 2", "(`eps_total` + 1) × `band_gap` / 2"),
        ("(eps_total ^ 2) ^ band_gap", "(`eps_total`^2)^`band_gap`"),
        ("eps_total ^ 2 ^ band_gap", "`eps_total`^2^`band_gap`"),
        ("-eps_total ^ 2", "−`eps_total`^2"),
        ("max(sqrt(eps_total), 2)", "max(sqrt(`eps_total`), 2)"),
    ],
)  # fmt: skip
def test_words_say_what_is_meant(text, words):
    assert in_words(parse(text)) == words


@pytest.mark.parametrize(
    "text",
    ["eps_total / (band_gap / 2)", "eps_total - (band_gap + 1) - 3", "(-eps_total) ^ 2", "-(eps_total ^ 2)",
     "2 ^ (-band_gap)", "(eps_total * band_gap) ^ 2 / 7", "eps_total / band_gap * 3", "-(eps_total + band_gap)",
     "eps_total - -band_gap", "(2 ^ 3) ^ band_gap"],
)  # fmt: skip
def test_a_formula_in_words_is_the_same_formula(text):
    columns = {"eps_total": np.array([3.0, 0.5]), "band_gap": np.array([1.25, 2.0])}
    again = in_words(parse(text)).replace("`", "").replace("×", "*").replace("−", "-")
    np.testing.assert_allclose(evaluate(parse(again), columns), evaluate(parse(text), columns), rtol=1e-14)


def test_labels_carry_name_unit_and_meaning():
    assert axis_label("band_gap", 40) == "band_gap (eV)\nfundamental gap"
    assert axis_label("density", 40).startswith("density (g/cm³)\n")
    assert max(map(len, axis_label("eps_total", 20).splitlines())) <= 20
    assert definitions(["volume_per_atom"]) == ["- `volume_per_atom`: volume of the cell / atoms, in Å³"]
