"""What GoeCTP may be asked for, and the physical bounds that its heads keep."""

from __future__ import annotations

import ase
import numpy as np
import pytest
import torch
from pydantic import ValidationError
from tests import crystals
from tests.models.goectp import hypers, network, predict, without_symmetry

from voigt.models.goectp.model import GoeCTP
from voigt.tensors.voigt import elastic_to_mandel

SYMMETRIC = (
    crystals.copper_tungstate,
    crystals.baddeleyite,
    crystals.rutile,
    crystals.quartz,
    crystals.wurtzite,
    crystals.zincblende,
    crystals.fluorite,
)

# --- hyper-parameters


@pytest.mark.parametrize(
    ("options", "message"),
    [
        *[
            (
                {"backbone": backbone, "directions": "none", "frame": frame},
                f"frame '{frame}' needs a backbone that sees",
            )
            for backbone in ("ecomformer", "crystalformer", "equivar")
            for frame in ("average", "stochastic")
        ],
        ({"backbone": "crystalformer", "width": 10, "heads": 4}, r"heads \(4\) must divide width \(10\)"),
        ({"backbone": "ecomformer", "equivariant_readout": True}, "equivariant_readout needs backbone 'equivar'"),
        ({"backbone": "crystalformer", "equivariant_readout": True}, "equivariant_readout needs backbone 'equivar'"),
        ({"neighbors": "mic"}, "neighbors 'mic' is a variant of equivar only"),
        ({"backbone": "mace"}, "ecomformer"),
        ({"widht": 8}, "Extra inputs are not permitted"),
    ],
)
def test_combinations_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValidationError, match=message):
        hypers(**options)


def test_lattice_vectors_are_directions_too():
    assert hypers(backbone="icomformer", directions="none", frame="average").axes_options.mode == "average"
    assert not hypers(backbone="icomformer", directions="none").blind


def test_atoms_need_all_frames():
    assert hypers().axes_options.cosets
    assert not hypers(properties=("eps_inf", "born_charges")).axes_options.cosets


# --- bounds of the heads

HEADS = ("eps_inf", "eps_ionic", "eps_total", "elastic", "band_gap")


@pytest.fixture(scope="module", params=["ecomformer", "equivar", "corrected"])
def bounded(request) -> GoeCTP:
    """Heads strong enough to reach the bounds."""
    more = {"backbone": "equivar", "equivariant_readout": True} if request.param == "corrected" else {}
    model = network(properties=HEADS, frame="average", **{"backbone": request.param, **more})
    with torch.no_grad():
        for name in model.readouts:
            model.readouts[name].bias.sub_(3.0)
            model.readouts[name].weight.mul_(2.0)
    return model


def assorted() -> list[ase.Atoms]:
    return without_symmetry() + [make() for make in SYMMETRIC]


def test_predictions_respect_physical_bounds(bounded):
    found = predict(bounded, assorted())
    assert set(found) == set(HEADS)
    eps, ionic = (np.linalg.eigvalsh(found[name]) for name in ("eps_inf", "eps_ionic"))
    assert 1 <= eps.min() < 1.2
    assert 0 <= ionic.min() < 0.2
    stiffness = np.linalg.eigvalsh(elastic_to_mandel(found["elastic"]))
    assert 0 < stiffness.min() < 1
    assert found["band_gap"].min() >= 0


def test_the_static_permittivity_is_the_sum_of_its_parts(bounded):
    found = predict(bounded, assorted())
    np.testing.assert_array_equal(found["eps_total"], found["eps_inf"] + found["eps_ionic"])
    assert np.linalg.eigvalsh(found["eps_total"] - found["eps_inf"]).min() > -1e-12


@pytest.mark.parametrize("backbone", ["crystalformer", "equivar"])
def test_a_sum_without_one_of_its_parts_keeps_that_part_to_itself(backbone):
    model = network(properties=("eps_total", "eps_inf"), backbone=backbone)
    found = predict(model, assorted())
    assert list(found) == ["eps_total", "eps_inf"]
    assert set(model.readouts) == {"eps_inf", "eps_ionic"}
    difference = np.linalg.eigvalsh(found["eps_total"] - found["eps_inf"])
    assert difference.min() > -1e-12
    assert difference.max() > 1e-3


def test_the_static_permittivity_alone_is_at_least_that_of_vacuum():
    model = network(properties=("eps_total",), backbone="ecomformer")
    with torch.no_grad():
        model.readouts["eps_total"].bias.sub_(5.0)
    values = np.linalg.eigvalsh(predict(model, assorted())["eps_total"])
    assert 1 <= values.min() < 1.2
