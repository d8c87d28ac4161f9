"""What every model of this package must do, as tests to inherit.

A subclass names its cutoff and properties and makes the network:

    class TestMyModel(ModelConformance):
        cutoff = 4.5
        properties = ("born_charges", "eps_inf")

        def make_model(self) -> nn.Module: ...

Weights are random: what is tested holds for any weights, by construction of the network. Predictions are compared
relative to the largest component; expectations are index transformations written out here and forms of tensors from
Nye, Physical Properties of Crystals.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import ase
import numpy as np
import pytest
import safetensors.torch
import torch
from ase.build import bulk, make_supercell
from tests import crystals
from tests.conformance.structures import CENTROSYMMETRIC, ROTATIONS, TINY, assorted
from torch import nn

from voigt.graphs import CrystalGraph, build_graph, collate
from voigt.graphs.padding import bounded_elements, padded
from voigt.structures.symmetry import Symmetry, find_symmetry
from voigt.tensors.properties import PROPERTIES

Arrays = dict[str, np.ndarray]


def transform(value: np.ndarray, rotation: np.ndarray, rank: int) -> np.ndarray:
    """T'[i..] = R[i, a].. T[a..] over the leading axis of `value`."""
    if rank == 0:
        return value
    subscripts = {2: "ia,jb,nab->nij", 3: "ia,jb,kc,nabc->nijk", 4: "ia,jb,kc,ld,nabcd->nijkl"}[rank]
    return np.einsum(subscripts, *[rotation] * rank, value, optimize=True)


class ModelConformance:
    """Inherit, set `cutoff` and `properties`, implement `make_model`.

    Attributes
    ----------
    cutoff
        Radius of the graph, Angstrom.
    properties
        What the model predicts.
    neutral
        Whether the model promises that its Born charges add up to zero.
    smooth
        Whether predictions are continuous when an atom crosses the cutoff; if not, they must visibly jump.
    reduces
        Whether the network works on graphs reduced to the asymmetric unit.
    tolerance
        Largest error relative to the largest component.
    """

    cutoff: ClassVar[float]
    properties: ClassVar[tuple[str, ...]]
    neutral: ClassVar[bool] = True
    smooth: ClassVar[bool] = True
    reduces: ClassVar[bool] = True
    tolerance: ClassVar[dict[torch.dtype, float]] = {torch.float32: 1e-4, torch.float64: 1e-8}

    # What a subclass provides or may replace.

    def make_model(self) -> nn.Module:
        """The network under test: abstract, every subclass gives its own."""
        raise NotImplementedError  # abstract, see above

    def make_graph(self, atoms: ase.Atoms, dtype: torch.dtype, symmetry: Symmetry | None = None) -> CrystalGraph:
        return build_graph(atoms, self.cutoff, symmetry=symmetry, dtype=dtype)

    def save_and_load(self, model: nn.Module, tmp_path: Path) -> nn.Module:
        """The model written to a file and read into a network that was initialized differently."""
        safetensors.torch.save_file(model.state_dict(), tmp_path / "model.safetensors")
        state = safetensors.torch.load_file(tmp_path / "model.safetensors")
        other = self.random_model(seed=2).to(_dtype(model))
        other.load_state_dict(state)
        return other.eval()

    # Tools of the tests.

    @pytest.fixture(params=[torch.float32, torch.float64], ids=["float32", "float64"])
    def model(self, request: pytest.FixtureRequest) -> nn.Module:
        return self.random_model(seed=1).to(request.param).eval()

    def random_model(self, seed: int) -> nn.Module:
        """Parameters that start as a constant (biases, references) are made random too, lest they hide a fault."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = self.make_model()
            with torch.no_grad():
                for parameter in model.parameters():
                    if parameter.unique().numel() == 1:
                        parameter.add_(torch.randn_like(parameter), alpha=0.2)
        return model

    def predict(self, model: nn.Module, structures: Sequence[ase.Atoms], reduced: bool = False) -> Arrays:
        """Predictions in float64: (atoms of all crystals, ...) or (crystals, ...)."""
        dtype = _dtype(model)
        graphs = [self.make_graph(atoms, dtype, find_symmetry(atoms) if reduced else None) for atoms in structures]
        with torch.no_grad():
            output = model(collate(graphs))
        return {name: value.double().numpy() for name, value in output.items()}

    def scale(self, model: nn.Module) -> dict[str, float]:
        """Typical largest component of each property, in crystals that are free to have one."""
        free = (crystals.wurtzite(), crystals.quartz(), crystals.lead_titanate(), crystals.nameless())
        starts = np.cumsum([0, *map(len, free[:-1])])
        result = {}
        for name, value in self.predict(model, free).items():
            rows = starts if PROPERTIES[name].per == "atom" else np.arange(len(free))
            largest = np.abs(value).reshape(len(value), -1).max(axis=1)
            result[name] = float(np.median(np.maximum.reduceat(largest, rows)))
        return result

    def assert_agree(self, model: nn.Module, actual: Arrays, expected: Arrays) -> None:
        scale = self.scale(model)
        for name in self.properties:
            assert actual[name].shape == expected[name].shape, name
            error = np.abs(actual[name] - expected[name]).max()
            largest = max(scale[name], np.abs(expected[name]).max())
            assert error <= self.tolerance[_dtype(model)] * largest, f"{name}: {error:.3g} of {largest:.3g}"

    def assert_zero(self, model: nn.Module, name: str, value: np.ndarray) -> None:
        assert np.abs(value).max() <= self.tolerance[_dtype(model)] * max(self.scale(model)[name], 1e-6), name

    def of_rank(self, rank: int) -> list[str]:
        """Predicted properties of crystals with this many indices; without any, the test has nothing to test."""
        declared = [PROPERTIES[name] for name in self.properties]
        names = [entry.name for entry in declared if entry.per == "crystal" and entry.rank == rank]
        if not names:
            pytest.skip(f"the model predicts no property of rank {rank}")
        return names

    def needs_born_charges(self) -> None:
        if "born_charges" not in self.properties:
            pytest.skip("the model predicts no Born charges")

    # Form of the output.

    def test_output_is_what_the_declarations_say(self, model):
        structures = assorted()
        dtype = _dtype(model)
        output = model(collate([self.make_graph(atoms, dtype) for atoms in structures]))
        assert set(output) == set(self.properties)
        for name, value in output.items():
            count = sum(map(len, structures)) if PROPERTIES[name].per == "atom" else len(structures)
            assert value.shape == (count, *PROPERTIES[name].shape)
            assert value.dtype == dtype
            assert torch.isfinite(value).all()

    def test_predictions_use_the_freedom_they_have(self, model):
        # Guards the other tests: a network that returns a constant or an isotropic tensor would pass most of them.
        two = self.predict(model, [crystals.nameless(), crystals.quartz()])
        scale = self.scale(model)
        for name in self.properties:
            value, rank = two[name], PROPERTIES[name].rank
            assert np.abs(value[0] - value[-1]).max() > 1e-4 * scale[name], name
            turned = transform(value[:1], ROTATIONS["proper"], rank)
            assert rank == 0 or np.abs(turned - value[:1]).max() > 1e-4 * np.abs(value).max(), name
        if "born_charges" in self.properties:
            first = two["born_charges"][0]
            assert np.abs(first - first.T).max() > 1e-4 * np.abs(first).max()

    def test_same_input_same_output(self, model):
        first, second = self.predict(model, assorted()), self.predict(model, assorted())
        assert all(np.array_equal(first[name], second[name]) for name in self.properties)

    def test_single_and_double_precision_agree(self):
        single = self.random_model(seed=1).eval()
        expected = self.predict(single.double(), assorted())
        self.assert_agree(single.float(), self.predict(single, assorted()), expected)

    def test_every_gradient_is_finite(self, model):
        # High symmetry (degenerate eigenvalues, vanishing features) and atoms without neighbors are the hard cases.
        structures = [crystals.rocksalt(), bulk("Po", "sc", a=30.0), crystals.nameless()]
        output = model(collate([self.make_graph(atoms, _dtype(model)) for atoms in structures]))
        sum(value.square().sum() for value in output.values()).backward()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        assert gradients
        assert all(torch.isfinite(gradient).all() for gradient in gradients)

    def test_atoms_without_neighbors(self, model):
        lonely = bulk("Po", "sc", a=30.0)
        alone = self.predict(model, [lonely])
        assert all(np.isfinite(value).all() for value in alone.values())
        joined = self.predict(model, [lonely, crystals.nameless()])
        self.assert_agree(model, {name: value[:1] for name, value in joined.items()}, alone)

    def test_saved_and_loaded_predicts_the_same(self, model, tmp_path):
        loaded = self.save_and_load(model, tmp_path)
        expected, actual = self.predict(model, assorted()), self.predict(loaded, assorted())
        assert all(np.array_equal(actual[name], expected[name]) for name in self.properties)

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
    def test_a_device_gives_what_the_cpu_gives(self):
        model = self.random_model(seed=1).eval()
        batch = collate([self.make_graph(atoms, torch.float32, find_symmetry(atoms)) for atoms in assorted()])
        with torch.no_grad():
            expected = {name: value.double().numpy() for name, value in model(batch).items()}
            found = model.cuda()(batch.to("cuda"))
        model.cpu()
        scale = self.scale(model)
        for name in self.properties:
            error = np.abs(found[name].cpu().double().numpy() - expected[name]).max()
            assert error <= 1e-5 * max(scale[name], np.abs(expected[name]).max()), name

    # One crystal, many descriptions.

    @pytest.mark.parametrize("kind", sorted(ROTATIONS))
    def test_rotation(self, model, kind):
        rotation = ROTATIONS[kind]
        expected = self.predict(model, assorted())
        turned = self.predict(model, [crystals.rotated(atoms, rotation) for atoms in assorted()])
        expected = {name: transform(value, rotation, PROPERTIES[name].rank) for name, value in expected.items()}
        self.assert_agree(model, turned, expected)

    def test_translation(self, model):
        random = np.random.default_rng(4)
        moved = assorted()
        for atoms in moved:
            atoms.positions += random.normal(size=3)
            atoms.positions += random.integers(-3, 4, size=(len(atoms), 3)) @ atoms.cell.array
        self.assert_agree(model, self.predict(model, moved), self.predict(model, assorted()))

    def test_permutation(self, model):
        random = np.random.default_rng(5)
        structures = assorted()
        orders = [random.permutation(len(atoms)) for atoms in structures]
        shuffled = self.predict(model, [atoms[order] for atoms, order in zip(structures, orders, strict=True)])
        starts = np.cumsum([0, *map(len, structures[:-1])])
        everyone = np.concatenate([start + order for start, order in zip(starts, orders, strict=True)])
        expected = {
            name: value[everyone] if PROPERTIES[name].per == "atom" else value
            for name, value in self.predict(model, structures).items()
        }
        self.assert_agree(model, shuffled, expected)

    @pytest.mark.parametrize("repeat", [(2, 1, 1), (1, 1, 3), (2, 2, 2)])
    def test_supercell(self, model, repeat):
        structures = [crystals.nameless(), crystals.wurtzite(), crystals.rocksalt(), crystals.perovskite()]
        for atoms in structures:
            expected = tile(self.predict(model, [atoms]), int(np.prod(repeat)))
            self.assert_agree(model, self.predict(model, [atoms.repeat(repeat)]), expected)

    @pytest.mark.parametrize("name", sorted(TINY))
    def test_tiny_cell(self, model, name):
        # In a supercell wider than two cutoffs no atom meets itself, nor one neighbor twice: nothing can be missed.
        atoms = TINY[name]()
        heights = 1.0 / np.linalg.norm(np.linalg.inv(atoms.cell.array), axis=0)
        repeat = np.ceil(2 * self.cutoff / heights).astype(int)
        expected = self.predict(model, [atoms.repeat(repeat)])
        self.assert_agree(model, tile(self.predict(model, [atoms]), int(np.prod(repeat))), expected)

    @pytest.mark.parametrize("make", [crystals.rocksalt, crystals.zincblende], ids=["NaCl", "ZnS"])
    def test_primitive_and_conventional_cell(self, model, make):
        primitive, conventional = make(), make(cubic=True)
        assert (len(primitive), len(conventional)) == (2, 8)
        expected = by_species(self.predict(model, [primitive]), primitive, conventional)
        self.assert_agree(model, self.predict(model, [conventional]), expected)

    @pytest.mark.parametrize(
        "matrix",
        [
            [[0, 1, 0], [1, 0, 0], [0, 0, 1]],  # left-handed
            [[-1, 0, 0], [0, -1, 0], [0, 0, -1]],  # left-handed
            [[1, 0, 0], [2, 1, 0], [-1, 3, 1]],  # skewed
            [[0, 1, 1], [1, 0, 1], [1, 1, 0]],  # twice as large, body-centered
        ],
        ids=["exchanged", "reversed", "skewed", "centered"],
    )
    def test_choice_of_lattice_vectors(self, model, matrix):
        atoms = crystals.nameless()
        if np.linalg.det(matrix) > 0:
            other = make_supercell(atoms, matrix)
        else:
            other = atoms.copy()
            other.set_cell(np.array(matrix) @ atoms.cell.array)
        assert np.sign(np.linalg.det(other.cell)) == np.sign(np.linalg.det(matrix))
        expected = by_species(self.predict(model, [atoms]), atoms, other)
        self.assert_agree(model, self.predict(model, [other]), expected)

    def test_batch_is_its_crystals(self, model):
        single = [self.predict(model, [atoms]) for atoms in assorted()]
        expected = {name: np.concatenate([one[name] for one in single]) for name in self.properties}
        self.assert_agree(model, self.predict(model, assorted()), expected)

    @pytest.mark.parametrize("reduced", [False, True], ids=["all atoms", "asymmetric unit"])
    def test_idle_crystals_change_nothing(self, model, reduced):
        structures, dtype = assorted(), _dtype(model)
        graphs = [self.make_graph(atoms, dtype, find_symmetry(atoms) if reduced else None) for atoms in structures]
        batch = collate(graphs)
        if len(batch.frames):
            pytest.skip("batches with canonical axes are not padded")
        filled = padded(bounded_elements(batch))
        assert filled.num_crystals > len(structures)
        with torch.no_grad():
            found = {name: value.double().numpy() for name, value in model(filled).items()}
        counts = {"atom": len(batch.numbers), "crystal": len(structures)}
        found = {name: value[: counts[PROPERTIES[name].per]] for name, value in found.items()}
        self.assert_agree(model, found, self.predict(model, structures, reduced))

    def test_symmetry_reduced_graph_is_the_full_one(self, model):
        structures = [
            crystals.rocksalt(cubic=True),
            crystals.wurtzite(),
            crystals.nameless(),
            crystals.quartz(),
            crystals.left_handed(crystals.quartz()),
            crystals.perovskite().repeat((2, 1, 1)),
            crystals.rotated(crystals.rutile(), ROTATIONS["improper"]),
            crystals.calcium_titanate(),
        ]
        dtype = _dtype(model)
        reduced, full = (
            sum(self.make_graph(atoms, dtype, symmetry).num_edges for atoms, symmetry in pairs)
            for pairs in ([(a, find_symmetry(a)) for a in structures], [(a, None) for a in structures])
        )
        assert reduced < full / 2 if self.reduces else reduced == full
        self.assert_agree(model, self.predict(model, structures, reduced=True), self.predict(model, structures))

    # Physics.

    def test_born_charges_add_up_to_zero(self, model):
        self.needs_born_charges()
        small = {torch.float32: 1e-6, torch.float64: 1e-12}[_dtype(model)]
        for atoms in assorted():
            charges = self.predict(model, [atoms])["born_charges"]
            drift = np.abs(charges.sum(axis=0)).max()
            if self.neutral:
                assert drift < small * max(1.0, np.abs(charges).sum())
            elif len(set(atoms.numbers)) > 1:
                assert drift > small * np.abs(charges).sum(), "the model is neutral: declare it"

    @pytest.mark.parametrize(
        "make", [crystals.rocksalt, crystals.cesium_chloride, crystals.zincblende, crystals.fluorite]
    )
    def test_born_charge_of_a_cubic_site_is_a_number(self, model, make):
        self.needs_born_charges()
        rotation = ROTATIONS["proper"]
        for atoms in (make(), crystals.rotated(make(), rotation)):
            charges = self.predict(model, [atoms])["born_charges"]
            mean = np.trace(charges, axis1=1, axis2=2) / 3
            self.assert_zero(model, "born_charges", charges - mean[:, None, None] * np.eye(3))
            assert np.abs(mean).max() > 1e-3 * self.scale(model)["born_charges"]

    def test_born_charges_of_a_perovskite(self, model):
        # Sr, Ti: numbers. O, whose Ti neighbors lie along one axis: diagonal, that axis apart (4/mm.m).
        self.needs_born_charges()
        charges = self.predict(model, [crystals.perovskite()])["born_charges"]
        for site in charges[:2]:
            self.assert_zero(model, "born_charges", site - site[0, 0] * np.eye(3))
        along, across = charges[2, 2, 2], charges[2, 0, 0]
        for oxygen, axis in zip(charges[2:], (2, 1, 0), strict=True):
            expected = np.diag(np.where(np.arange(3) == axis, along, across))
            self.assert_zero(model, "born_charges", oxygen - expected)
        assert abs(along - across) > 1e-4 * np.abs(charges).max()

    @pytest.mark.parametrize("name", sorted(CENTROSYMMETRIC))
    def test_no_piezoelectricity_with_an_inversion_center(self, model, name):
        for prop in self.of_rank(3):
            self.assert_zero(model, prop, self.predict(model, [CENTROSYMMETRIC[name]()])[prop])

    def test_piezoelectricity_of_zincblende_is_e14_alone(self, model):
        for prop in self.of_rank(3):
            tensor = self.predict(model, [crystals.zincblende(cubic=True)])[prop][0]
            e14 = tensor[0, 1, 2]
            assert abs(e14) > 1e-3 * self.scale(model)[prop], "cubic piezoelectrics would be predicted to have none"
            self.assert_zero(model, prop, tensor - e14 * _LEVI_CIVITA**2)

    def test_piezoelectricity_of_wurtzite(self, model):
        # 6mm: e31 = e32, e33, e15 = e24, nothing else.
        for prop in self.of_rank(3):
            tensor = self.predict(model, [crystals.wurtzite()])[prop][0]
            expected = np.zeros((3, 3, 3))
            expected[2] = np.diag([tensor[2, 0, 0], tensor[2, 0, 0], tensor[2, 2, 2]])
            for axis in range(2):
                expected[axis, axis, 2] = expected[axis, 2, axis] = tensor[0, 0, 2]
            self.assert_zero(model, prop, tensor - expected)
            assert min(abs(tensor[2, 0, 0]), abs(tensor[2, 2, 2]), abs(tensor[0, 0, 2])) > 0

    def test_permittivity_has_the_form_of_the_crystal(self, model):
        for prop in self.of_rank(2):
            for make in (crystals.rocksalt, crystals.zincblende, crystals.perovskite):
                tensor = self.predict(model, [make()])[prop][0]
                self.assert_zero(model, prop, tensor - tensor[0, 0] * np.eye(3))
            tensor = self.predict(model, [crystals.rutile()])[prop][0]
            self.assert_zero(model, prop, tensor - np.diag([tensor[0, 0], tensor[0, 0], tensor[2, 2]]))
            assert abs(tensor[0, 0] - tensor[2, 2]) > 1e-4 * abs(tensor[0, 0])

    @pytest.mark.parametrize("make", [crystals.rocksalt, crystals.zincblende, crystals.fluorite])
    def test_stiffness_of_a_cubic_crystal_has_three_constants(self, model, make):
        for prop in self.of_rank(4):
            tensor = self.predict(model, [make()])[prop][0]
            c11, c12, c44 = tensor[0, 0, 0, 0], tensor[0, 0, 1, 1], tensor[1, 2, 1, 2]
            delta = np.eye(3)
            expected = c12 * np.einsum("ij,kl->ijkl", delta, delta) + c44 * (
                np.einsum("ik,jl->ijkl", delta, delta) + np.einsum("il,jk->ijkl", delta, delta)
            )
            anisotropy = c11 - c12 - 2 * c44
            expected[range(3), range(3), range(3), range(3)] += anisotropy
            self.assert_zero(model, prop, tensor - expected)
            assert abs(anisotropy) > 1e-4 * c11, "cubic crystals would be predicted to be elastically isotropic"

    def test_stiffness_of_a_hexagonal_crystal_is_isotropic_around_its_axis(self, model):
        angle = 0.3
        turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        for prop in self.of_rank(4):
            tensor = self.predict(model, [crystals.wurtzite()])[prop]
            self.assert_zero(model, prop, transform(tensor, turn, 4) - tensor)
            assert abs(tensor[0, 0, 0, 0, 0] - tensor[0, 2, 2, 2, 2]) > 1e-5 * np.abs(tensor).max()

    def test_an_atom_that_crosses_the_cutoff(self, model):
        # Two dimers: only the pair across (0, 2) meets the cutoff.
        def dimers(distance: float) -> ase.Atoms:
            direction = np.array([2.0, 1.0, 0.5]) / np.sqrt(5.25)
            positions = np.outer([0.0, -1.6, distance, distance + 1.7], direction)
            positions[[1, 3], 1] += 0.5
            return ase.Atoms(["Sr", "O", "Ti", "F"], positions, cell=4 * self.cutoff * np.eye(3), pbc=True)

        step = 1e-5
        inside, outside = dimers(self.cutoff - step), dimers(self.cutoff + step)
        edges = [self.make_graph(atoms, torch.float64).num_edges for atoms in (inside, outside)]
        assert edges[0] == edges[1] + 2
        first, second = self.predict(model, [inside]), self.predict(model, [outside])
        if self.smooth:
            self.assert_agree(model, first, second)
            return
        scale = self.scale(model)
        jumps = [np.abs(first[name] - second[name]).max() / scale[name] for name in self.properties]
        assert max(jumps) > 10 * self.tolerance[torch.float32], "the model is smooth: declare it"


_LEVI_CIVITA = np.zeros((3, 3, 3))
_LEVI_CIVITA[[0, 1, 2], [1, 2, 0], [2, 0, 1]] = 1.0
_LEVI_CIVITA[[0, 2, 1], [2, 1, 0], [1, 0, 2]] = -1.0


def _dtype(model: nn.Module) -> torch.dtype:
    return next(model.parameters()).dtype


def tile(predictions: Arrays, copies: int) -> Arrays:
    """What a supercell must give, its atoms ordered copy by copy as ASE's repeat() does."""
    return {
        name: np.tile(value, (copies, *[1] * (value.ndim - 1))) if PROPERTIES[name].per == "atom" else value
        for name, value in predictions.items()
    }


def by_species(predictions: Arrays, source: ase.Atoms, other: ase.Atoms) -> Arrays:
    """Predictions for the atoms of `other`, where each species of `source` has one atom."""
    rows = [list(source.numbers).index(number) for number in other.numbers]
    return {name: value[rows] if PROPERTIES[name].per == "atom" else value for name, value in predictions.items()}
