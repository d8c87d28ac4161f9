"""Cells of the periodic table."""

from __future__ import annotations

import numpy as np
import pytest

from voigt.models.elements import nearest_elements, table_layout


def test_the_periodic_table_has_its_usual_shape() -> None:
    places = table_layout()
    columns, rows = places[1:].T
    assert len({tuple(place) for place in places[1:].tolist()}) == 118
    assert ((columns >= 0) & (columns < 18)).all()
    # Group and row of IUPAC's table, counted from one: H, He, B, Sc, Fe, Ag, Hf, Lu, Tl, Lr, Og.
    known = {1: (1, 1), 2: (18, 1), 5: (13, 2), 21: (3, 4), 26: (8, 4), 47: (11, 5), 72: (4, 6), 71: (3, 6),
             81: (13, 6), 103: (3, 7), 118: (18, 7)}  # fmt: skip
    for number, (group, period) in known.items():
        assert places[number].tolist() == [group - 1, period - 1]
    below = rows > 6
    assert (np.flatnonzero(below) + 1).tolist() == [*range(57, 71), *range(89, 103)]
    assert np.isnan(places[0]).all()


@pytest.mark.parametrize(
    ("z", "known", "nearest"),
    [
        (37, (19, 55, 8), (19, 55)),  # Rb: K and Cs, one period away both
        (38, (12, 20), (20,)),  # Sr: Ca before Mg
        (61, (60, 62, 93), (60, 62)),  # Pm: Nd and Sm, its neighbors in the series
        (93, (61, 39), (61,)),  # Np: Pm above it, not Y
        (2, (1, 3, 18), (18,)),  # He: a noble gas
        (9, (7, 8), (8,)),  # F without any halogen: the next element
        (8, (8, 16), (8,)),
    ],
)
def test_nearest_elements_are_those_of_the_group(z: int, known: tuple[int, ...], nearest: tuple[int, ...]) -> None:
    assert nearest_elements(z, known) == nearest
