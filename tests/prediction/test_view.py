"""`Prediction.view()`."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from ase.build import bulk

import voigt


@pytest.fixture(scope="module")
def prediction():
    atoms = bulk("MgO", "rocksalt", a=4.21)
    atoms.info["id"] = "</script>"
    return voigt.predict(atoms)[0]


def test_the_view_holds_the_values_of_the_prediction(prediction):
    page = prediction.view().html
    content = re.search(r'id="voigt-scenes">(.*?)</script>', page)
    assert content is not None
    (scene,) = json.loads(content[1])["scenes"]
    assert scene["id"] == prediction.id
    values = {entry["name"]: entry["values"] for entry in scene["properties"]}
    np.testing.assert_allclose(values["born_charges"], prediction.values["born_charges"])
    np.testing.assert_allclose(values["eps_inf"], prediction.values["eps_inf"])
    np.testing.assert_allclose(scene["structure"]["positions"], prediction.atoms.positions)


def test_tables_and_view_are_both_there_for_notebooks(prediction):
    assert "<table>" in prediction._repr_html_()
    assert prediction.view()._repr_html_().startswith("<iframe ")
    assert "MgO" in prediction.view().title
