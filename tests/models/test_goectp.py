"""GoeCTP: axes turn with the crystal, means over frames have its symmetry, heads keep physical bounds.

Weights are random and strong: what is tested follows from the construction of the network. Expected forms of tensors
come from generators of the point groups written out here, and the numbers of constants from Nye, Physical Properties
of Crystals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import ase
import numpy as np
import pytest
import scipy.linalg
import torch
from ase.build import make_supercell
from ase.spacegroup import crystal
from numpy.typing import NDArray
from tests import crystals
from tests.models.goectp import CUTOFF, PROPERTY_OF_RANK, Arrays, hypers, network, predict, turn, without_symmetry

from voigt.graphs import build_graph, collate
from voigt.models.goectp.model import GoeCTP
from voigt.models.readout import Readout
from voigt.structures.symmetry import find_symmetry
from voigt.tensors.pattern import find_pattern
from voigt.tensors.projection import project_crystal
from voigt.tensors.properties import PROPERTIES, Property
from voigt.tensors.voigt import elastic_to_voigt, piezo_to_voigt
from voigt.training.losses import tensor_loss
from voigt.training.recipe import TargetSettings


def redescribed(atoms: ase.Atoms, combination: Sequence[Sequence[int]]) -> ase.Atoms:
    """The same atoms in other vectors of the same lattice."""
    result = atoms.copy()
    result.set_cell(np.array(combination) @ atoms.cell.array)
    result.wrap()
    return result


# --- turning the crystal turns the prediction


def with_symmetry() -> list[ase.Atoms]:
    return [crystals.left_handed(crystals.quartz()), crystals.wurtzite(), crystals.left_handed(crystals.zincblende())]


CONFIGURATIONS = [
    {"backbone": backbone, "directions": directions, "frame": frame, **more}
    for backbone in ("ecomformer", "icomformer", "crystalformer", "equivar")
    for directions in ("harmonics", "components", "none")
    for frame in ("single", "average")
    for more in ([{}, {"equivariant_readout": True}] if backbone == "equivar" else [{}])
    if frame == "single" or directions != "none" or backbone == "icomformer"
]
ROTATIONS = {"proper": crystals.random_rotation(1), "improper": crystals.random_rotation(2, -1)}


def name_of(options: dict[str, object]) -> str:
    return "-".join(key if value is True else str(value) for key, value in options.items())


@cache
def turned_structures(kind: str | None) -> list[ase.Atoms]:
    structures = without_symmetry() + with_symmetry()
    return structures if kind is None else [crystals.rotated(atoms, ROTATIONS[kind]) for atoms in structures]


def errors_after_turning(model: GoeCTP, scale: Arrays | None = None) -> list[tuple[str, NDArray[np.float64]]]:
    """|f(R X) - R f(X)| per crystal; `scale` holds predictions whose size it is relative to, by default f(X)."""
    before = predict(model, turned_structures(None))
    result = []
    for kind, rotation in ROTATIONS.items():
        after = predict(model, turned_structures(kind))
        for rank, name in PROPERTY_OF_RANK.items():
            size = np.abs((before if scale is None else scale)[name][: len(without_symmetry())]).max()
            difference = np.abs(after[name] - turn(before[name], rotation, rank)).reshape(len(after[name]), -1)
            result.append((f"{name}, {kind}", difference.max(axis=1) / size))
    return result


@pytest.mark.parametrize("options", CONFIGURATIONS, ids=name_of)
def test_the_prediction_turns_and_mirrors_with_the_crystal(options):
    double = network(**options)
    for name, error in errors_after_turning(double):
        assert error.max() <= 1e-10, name
    # In a mean, what single frames differ in cancels: rounding is relative to one of them.
    one = predict(network(**{**options, "frame": "single"}), without_symmetry())
    for name, error in errors_after_turning(double.float(), one):
        assert error.max() <= 1e-5, name


@pytest.mark.parametrize("options", [o for o in CONFIGURATIONS if o["frame"] == "average"], ids=name_of)
def test_stochastic_frames_are_averaged_at_evaluation(options):
    average, stochastic = network(**options), network(**{**options, "frame": "stochastic"})
    for kind in (None, "improper"):
        expected, found = (predict(model, turned_structures(kind)) for model in (average, stochastic))
        assert all(np.array_equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("cell", ["none", "niggli"])
@pytest.mark.parametrize("frame", ["single", "average"])
def test_so_it_does_with_every_standard_of_the_cell(frame, cell):
    for name, error in errors_after_turning(network(backbone="ecomformer", frame=frame, cell=cell)):
        assert error.max() <= 1e-10, name


@pytest.mark.parametrize("directions", ["harmonics", "none"])
@pytest.mark.parametrize("backbone", ["ecomformer", "icomformer", "crystalformer", "equivar"])
def test_without_a_frame_the_axes_of_the_file_matter(backbone, directions):
    for name, error in errors_after_turning(network(backbone=backbone, directions=directions, frame="none")):
        assert error.max() > 1e-2, name




@pytest.mark.parametrize("make", [crystals.quartz, crystals.rutile])
@pytest.mark.parametrize(
    ("backbone", "directions"),
    [
        ("ecomformer", "harmonics"),
        ("icomformer", "none"),
        ("equivar", "harmonics"),
        ("ecomformer", "none"),
        ("crystalformer", "none"),
        ("equivar", "none"),
    ],
)
def test_tensors_of_atoms_turn_too_whether_symmetry_is_given_or_not(backbone, directions, make):
    """With one frame; the graph of the asymmetric unit is a way to save time and no other model."""
    model = network(properties=("born_charges",), backbone=backbone, directions=directions, frame="single")
    rotation = ROTATIONS["improper"]
    expected = predict(model, [make()], symmetry=False)["born_charges"]
    assert np.abs(expected).max() > 1e-2
    for symmetry in (True, False):
        found = predict(model, [make()], symmetry)["born_charges"]
        turned = predict(model, [crystals.rotated(make(), rotation)], symmetry)["born_charges"]
        np.testing.assert_allclose(found, expected, atol=1e-9)
        np.testing.assert_allclose(turned, turn(found, rotation, 2), atol=1e-9)


# --- the rule that takes canonical components back


class Fixed(Readout):
    """The same components in every frame."""

    def __init__(self, prop: Property, tensor: NDArray[np.float64]) -> None:
        super().__init__(prop, False)
        self.tensor = torch.tensor(tensor)

    def forward(self, features: torch.Tensor, _reference: torch.Tensor | None) -> torch.Tensor:
        return self.tensor.expand(len(features), *self.shape)


CANONICAL = {
    "eps_inf": np.array([[0.3, 0.4, -0.2], [0.4, 1.0, 0.7], [-0.2, 0.7, 2.0]]),
    "piezo_total": np.random.default_rng(0).normal(size=(3, 3, 3)),
    "born_charges": np.array([[1.0, 0.5, 0.0], [-0.3, 2.0, 0.8], [0.1, 0.0, 4.0]]),
}


def fixed_network(*names: str, **options: object) -> GoeCTP:
    names = names or tuple(CANONICAL)
    model = network(properties=names, sum_rule="none", **options)
    for name in names:
        model.readouts[name] = Fixed(PROPERTIES[name], CANONICAL[name])
    return model


@pytest.mark.parametrize("hand", [1, -1])
@pytest.mark.parametrize("backbone", ["ecomformer", "equivar"])
def test_canonical_components_go_back_by_the_rotation_and_not_by_its_inverse(backbone, hand):
    """With L = Q H, columns of L being lattice vectors, vectors are Q times their canonical components.

    The code released with the first paper takes labels and predictions by the inverse, Q.T t Q.
    """
    atoms = crystals.nameless() if hand > 0 else crystals.left_handed(crystals.nameless())
    atoms = crystals.rotated(atoms, crystals.random_rotation(5))
    q, _ = scipy.linalg.polar(atoms.cell.array.T)
    assert np.linalg.det(q) * hand > 0
    assert np.abs(q - q.T).max() > 0.3  # not its own inverse
    found = predict(fixed_network(backbone=backbone, frame="single", cell="none"), [atoms])
    charge, piezo = CANONICAL["born_charges"], CANONICAL["piezo_total"]
    allowed = np.eye(3) + scipy.linalg.expm(CANONICAL["eps_inf"])  # eigenvalues above one
    np.testing.assert_allclose(found["eps_inf"][0], q @ allowed @ q.T, atol=1e-12)
    np.testing.assert_allclose(found["piezo_total"][0], np.einsum("ia,jb,kc,abc", q, q, q, piezo), atol=1e-12)
    np.testing.assert_allclose(found["born_charges"], np.tile(q @ charge @ q.T, (4, 1, 1)), atol=1e-12)
    assert np.abs(found["eps_inf"][0] - q.T @ allowed @ q).max() > 0.3
    assert np.abs(found["born_charges"][0] - q.T @ charge @ q).max() > 0.3


def test_turned_copies_of_a_labeled_crystal_ask_for_the_same_canonical_tensor():
    """What one copy teaches is right for all others: with the inverse rule, no canonical tensor would fit two."""
    model = fixed_network("eps_inf", backbone="crystalformer", frame="single")
    first = crystals.nameless()
    label = predict(model, [first])["eps_inf"]
    losses, inverse = [], []
    allowed = np.eye(3) + scipy.linalg.expm(CANONICAL["eps_inf"])
    for seed in range(4):
        rotation = crystals.random_rotation(seed, (-1) ** seed)
        copy = crystals.rotated(first, rotation)
        turned = torch.tensor(turn(label, rotation, 2))
        loss = tensor_loss(torch.tensor(predict(model, [copy])["eps_inf"]), turned, TargetSettings(loss="relative"))
        losses.append(float(loss))
        q, _ = scipy.linalg.polar(copy.cell.array.T)
        wrong = torch.tensor(q.T @ allowed @ q)[None]
        inverse.append(float(tensor_loss(wrong, turned, TargetSettings(loss="relative"))))
    assert max(losses) < 1e-12
    assert max(inverse) > 0.1


@pytest.mark.parametrize("make", [crystals.perovskite, crystals.zincblende], ids=["primitive", "face-centered"])
def test_what_knows_no_directions_averages_to_the_symmetry_of_the_lattice(make):
    """Constant components leave of eps the mean of its diagonal, and nothing of e: the lattice has an inversion."""
    model = fixed_network("eps_inf", "piezo_total", backbone="ecomformer", frame="average")
    for symmetry in (True, False):
        found = predict(model, [crystals.rotated(make(), ROTATIONS["proper"])], symmetry)
        mean = 1 + np.trace(scipy.linalg.expm(CANONICAL["eps_inf"])) / 3
        np.testing.assert_allclose(found["eps_inf"][0], mean * np.eye(3), atol=1e-12)
        np.testing.assert_allclose(found["piezo_total"], 0, atol=1e-12)


# --- symmetry of the crystal


@dataclass(frozen=True)
class Example:
    """A crystal, generators of its point group in the axes of its cell, and its numbers of constants (eps, e, C)."""

    make: Callable[[], ase.Atoms]
    generators: tuple[NDArray[np.float64], ...]
    order: int
    constants: tuple[int, int, int]


def about_z(degrees: float) -> NDArray[np.float64]:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


THREEFOLD_111 = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])
TWOFOLD_X, TWOFOLD_Y = np.diag([1.0, -1, -1]), np.diag([-1.0, 1, -1])
MIRROR_X, MIRROR_Y = np.diag([-1.0, 1, 1]), np.diag([1.0, -1, 1])
INVERSION = -np.eye(3)


def made(spacegroup: int, cellpar: Sequence[float], **atoms: tuple[float, float, float]) -> ase.Atoms:
    return crystal(list(atoms), list(atoms.values()), spacegroup=spacegroup, cellpar=cellpar)


EXAMPLES = {
    "triclinic 1": Example(crystals.nameless, (), 1, (6, 18, 21)),
    "triclinic -1": Example(crystals.copper_tungstate, (INVERSION,), 2, (6, 0, 21)),
    "monoclinic 2": Example(
        lambda: made(3, [4.1, 3.7, 4.6, 90, 103, 90], Ti=(0, 0, 0), O=(0.31, 0.43, 0.22), F=(0.5, 0.3, 0.5)),
        (TWOFOLD_Y,),
        2,
        (4, 8, 13),
    ),
    "monoclinic 2/m": Example(crystals.baddeleyite, (TWOFOLD_Y, INVERSION), 4, (4, 0, 13)),
    "orthorhombic mm2": Example(
        lambda: made(25, [3.6, 4.1, 4.7, 90, 90, 90], Ti=(0, 0, 0), O=(0.5, 0.5, 0.23), F=(0, 0.5, 0.61)),
        (MIRROR_X, MIRROR_Y),
        4,
        (3, 5, 9),
    ),
    "orthorhombic 222": Example(
        lambda: made(16, [3.9, 4.4, 5.1, 90, 90, 90], Ti=(0, 0, 0), O=(0.21, 0.33, 0.18)),
        (TWOFOLD_X, TWOFOLD_Y),
        4,
        (3, 3, 9),
    ),
    "tetragonal 4mm": Example(crystals.lead_titanate, (about_z(90), MIRROR_X), 8, (2, 3, 6)),
    "tetragonal 4/mmm": Example(crystals.rutile, (about_z(90), MIRROR_X, INVERSION), 16, (2, 0, 6)),
    "trigonal 32": Example(crystals.quartz, (about_z(120), TWOFOLD_X), 6, (2, 2, 6)),
    "trigonal 3m, rhombohedral": Example(
        lambda: made(160, [5.4, 5.4, 6.6, 90, 90, 120], Ti=(0, 0, 0.02), O=(0.15, -0.15, 0.3)),
        (about_z(120), MIRROR_X),
        6,
        (2, 4, 6),
    ),
    "hexagonal 6mm": Example(crystals.wurtzite, (about_z(60), MIRROR_X), 12, (2, 3, 5)),
    "cubic -43m": Example(crystals.zincblende, (-about_z(90), THREEFOLD_111), 24, (1, 1, 3)),
    "cubic m-3m": Example(crystals.fluorite, (about_z(90), THREEFOLD_111, INVERSION), 48, (1, 0, 3)),
}


def closed(generators: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """All products of the generators, (G, 3, 3)."""
    group = [np.eye(3)]
    for element in group:  # grows on the way
        for generator in generators:
            product = generator @ element
            if min(np.abs(product - other).max() for other in group) > 0.1:
                group.append(product)
    return np.array(group)


def in_files(tensor: NDArray[np.float64], rank: int) -> NDArray[np.float64]:
    """Layout of files: 3x3, 3x6, 6x6."""
    return {2: lambda t: t, 3: piezo_to_voigt, 4: elastic_to_voigt}[rank](tensor)


@pytest.fixture(scope="module", params=["ecomformer", "icomformer", "crystalformer", "equivar", "corrected"])
def averaged(request) -> tuple[Arrays, Arrays, dict[str, float]]:
    """Predictions for EXAMPLES over cosets and over all frames, and the scale of each property."""
    backbone = {"backbone": request.param}
    if request.param == "corrected":
        backbone = {"backbone": "equivar", "equivariant_readout": True}
    model = network(frame="average", **backbone)
    structures = [example.make() for example in EXAMPLES.values()]
    cosets, everything = predict(model, structures), predict(model, structures, symmetry=False)
    return cosets, everything, {name: float(np.abs(value[0]).max()) for name, value in everything.items()}


@pytest.mark.parametrize("rank", PROPERTY_OF_RANK)
@pytest.mark.parametrize("name", EXAMPLES)
def test_the_mean_over_frames_has_the_symmetry_of_the_crystal(averaged, name, rank):
    prop, example = PROPERTIES[PROPERTY_OF_RANK[rank]], EXAMPLES[name]
    group = closed(example.generators)
    assert len(group) == example.order
    form = find_pattern(group, prop)
    assert form.count == example.constants[rank - 2]
    for found in averaged[:2]:
        value, scale = found[prop.name][list(EXAMPLES).index(name)], averaged[2][prop.name]
        projected = project_crystal(torch.tensor(value), torch.tensor(group), rank).numpy()
        np.testing.assert_allclose(value, projected, rtol=0, atol=1e-6 * scale)
        entries = in_files(value, rank)
        assert np.abs(entries[form.zero]).max(initial=0) <= 1e-6 * scale
        if form.count:
            assert np.abs(entries[form.independent]).min() > 1e-6 * scale  # nothing is zero for another reason
        else:
            assert np.abs(entries).max() <= 1e-12 * scale


@pytest.mark.parametrize("rank", PROPERTY_OF_RANK)
def test_one_frame_of_each_coset_gives_the_mean_over_all(averaged, rank):
    name = PROPERTY_OF_RANK[rank]
    cosets, everything, scale = averaged
    for k in range(len(EXAMPLES)):
        size = max(scale[name], np.abs(everything[name][k]).max())
        np.testing.assert_allclose(cosets[name][k], everything[name][k], rtol=0, atol=1e-12 * size)


def test_cosets_save_frames():
    options = hypers(backbone="ecomformer").axes_options
    for name, lattice in (("cubic m-3m", 48), ("trigonal 32", 24), ("triclinic 1", 2)):
        atoms = EXAMPLES[name].make()
        few = build_graph(atoms, CUTOFF, symmetry=find_symmetry(atoms), frame=options)
        assert len(few.frames) * EXAMPLES[name].order == lattice
        assert len(build_graph(atoms, CUTOFF, frame=options).frames) == lattice


def test_a_single_frame_has_not():
    model = network(backbone="ecomformer", frame="single")
    value = predict(model, [crystals.zincblende()])["eps_inf"][0]
    assert np.abs(value - np.trace(value) / 3 * np.eye(3)).max() > 1e-2 * np.abs(value).max()


# --- one crystal, many descriptions

SHEARED = [[1, 2, -1], [0, 1, 3], [0, 0, 1]]


def descriptions() -> dict[str, list[ase.Atoms]]:
    zincblende, quartz, nameless = crystals.zincblende(), crystals.quartz(), crystals.nameless()
    centered = make_supercell(nameless, [[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    return {
        "ZnS": [zincblende, crystals.zincblende(cubic=True), redescribed(zincblende, SHEARED), zincblende * (2, 1, 1)],
        "quartz": [quartz, redescribed(quartz, SHEARED), crystals.left_handed(quartz), quartz * (1, 1, 2)],
        "nameless": [nameless, redescribed(nameless, SHEARED), crystals.left_handed(nameless), centered],
    }


@pytest.mark.parametrize("name", descriptions())
@pytest.mark.parametrize("backbone", ["ecomformer", "icomformer", "crystalformer", "equivar"])
def test_every_description_of_a_crystal_gives_the_same(backbone, name):
    model = network(backbone=backbone, frame="average", cell="primitive")
    scale = predict(model, [crystals.nameless()])
    for symmetry in (True, False):
        for prop, value in predict(model, descriptions()[name], symmetry).items():
            np.testing.assert_allclose(
                value, np.broadcast_to(value[0], value.shape), atol=1e-9 * np.abs(scale[prop]).max()
            )


@pytest.mark.parametrize("name", descriptions())
@pytest.mark.parametrize("backbone", ["ecomformer", "equivar"])
def test_one_frame_of_the_cell_as_given_depends_on_the_description(backbone, name):
    """A limit of the published method, and the reason for the mean over frames of a standard cell."""
    model = network(backbone=backbone, frame="single", cell="none")
    for prop, value in predict(model, descriptions()[name]).items():
        assert np.ptp(value, axis=0).max() > 1e-2 * np.abs(value).max(), prop


# --- frames at random


def test_stochastic_training_takes_one_of_the_frames_whose_mean_is_predicted():
    """The mean over many draws is the prediction; no single draw is."""
    atoms = crystals.lead_titanate()
    atoms.rattle(0.05, seed=1)  # 16 frames
    model = network(properties=("piezo_total",), backbone="ecomformer", frame="stochastic")
    expected = predict(model, [atoms])["piezo_total"][0]
    batch = collate([build_graph(atoms, CUTOFF, dtype=torch.float64, frame=model.hypers.axes_options)])
    model.train()
    torch.manual_seed(0)
    with torch.no_grad():
        draws = torch.stack([model(batch)["piezo_total"][0] for _ in range(200)]).numpy()
    distinct = np.unique(draws.round(9).reshape(200, -1), axis=0)
    assert len(distinct) == 16
    np.testing.assert_allclose(distinct.mean(axis=0).reshape(3, 3, 3), expected, atol=1e-8)
    assert np.abs(distinct.reshape(-1, 3, 3, 3) - expected).max(axis=(1, 2, 3)).min() > 1e-2 * np.abs(expected).max()


@pytest.mark.parametrize("frame", ["single", "average", "stochastic"])
def test_evaluation_draws_nothing(frame):
    model = network(backbone="ecomformer", frame=frame)
    state = torch.get_rng_state()
    first, second = (predict(model, without_symmetry()) for _ in range(2))
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert torch.equal(torch.get_rng_state(), state)
