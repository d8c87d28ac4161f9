"""Equivar beyond the contract: its couplings, rotations, bounds, presets and switches."""

from __future__ import annotations

import math

import ase
import numpy as np
import pytest
import torch
from ase import units
from ase.build import bulk
from e3nn import o3
from pydantic import ValidationError
from tests import crystals

from voigt.errors import DomainError
from voigt.graphs import build_graph, collate
from voigt.models.equivar.hypers import EquivarHypers, preset
from voigt.models.equivar.model import Equivar, _from_charges, _inverse
from voigt.models.equivariant.frames import EdgeFrames
from voigt.models.equivariant.messages import Edges, eager_kernels, summed_messages
from voigt.models.equivariant.paths import NODE_ROWS, NODE_TYPES, Path, coupling_paths
from voigt.models.equivariant.rotation import feature_rotation
from voigt.models.equivariant.strengths import RadialBasis, SharedStrengths, shifted_softplus
from voigt.training.start import _fill

# node . edge > out, as the specification of the method lists the complete set.
ALL_PATHS = [
    *("0e.0e>0e", "0e.1o>1o", "0e.2e>2e"),
    *("1o.0e>1o", "1o.1o>0e", "1o.1o>1e", "1o.1o>2e", "1o.2e>1o"),
    *("1e.0e>1e", "1e.1o>1o", "1e.2e>1e", "1e.2e>2e"),
    *("2e.0e>2e", "2e.1o>1o", "2e.2e>0e", "2e.2e>1e", "2e.2e>2e"),
]


def written(paths: tuple[Path, ...]) -> list[str]:
    return [f"{path.node}.{path.edge}>{path.out}" for path in paths]


def network(**options: object) -> Equivar:
    torch.manual_seed(0)
    small = {"channels": 8, "interactions": 2, "cutoff": 4.5}
    return Equivar(EquivarHypers(**{**small, **options})).double().eval()


def predict(model: Equivar, *structures, mic: bool = False, functional: str | None = None) -> dict[str, torch.Tensor]:
    graphs = [
        build_graph(atoms, model.hypers.cutoff, mic=mic, functional=functional, dtype=torch.float64)
        for atoms in structures
    ]
    with torch.no_grad():
        return model(collate(graphs))


# The paper.


def test_the_complete_set_has_the_17_couplings_of_parity_and_angular_momentum():
    found = coupling_paths()
    assert len(found) == 17
    assert sorted(written(found)) == sorted(ALL_PATHS)
    outs = [NODE_TYPES.index(path.out) for path in found]
    assert outs == sorted(outs)


def test_the_published_set_has_15_of_them():
    found = coupling_paths(published=True)
    assert len(found) == 15
    assert set(found) < set(coupling_paths())
    assert {path.out for path in found} == set(NODE_TYPES)


@pytest.mark.parametrize(
    ("name", "paths", "count"),
    [("bm1", "published", 510_081), ("bm2", "published", 139_905), ("bm1", "full", 559_233), ("bm2", "full", 152_193)],
)
def test_presets_have_the_parameters_of_the_paper(name, paths, count):
    model = Equivar(preset(name).model_copy(update={"paths": paths}))
    assert sum(parameter.numel() for parameter in model.parameters()) == count


def test_an_unknown_preset_is_an_error():
    with pytest.raises(KeyError):
        preset("bm3")


def test_radial_functions_of_the_paper():
    # exp(-gamma (r - mu_n)^2), mu_n evenly spaced from 0 to 3 Angstrom, gamma = 53.389 / Angstrom^2, no envelope.
    basis = RadialBasis(preset("bm1")).double()
    r = torch.tensor([0.4, 1.93, 2.9999], dtype=torch.float64)
    expected = torch.exp(-53.389 * (r[:, None] - torch.linspace(0, 3, 32, dtype=torch.float64)) ** 2)
    torch.testing.assert_close(basis(r), expected, rtol=1e-3, atol=1e-6)
    assert torch.equal(basis.envelope(r), torch.ones(3, 1, dtype=torch.float64))


@pytest.mark.parametrize("kind", ["cosine", "polynomial"])
def test_envelopes_fall_smoothly_from_one_to_zero(kind):
    basis = RadialBasis(EquivarHypers(cutoff=5.0, envelope=kind))
    r = torch.linspace(0, 6, 601, dtype=torch.float64, requires_grad=True)
    value = basis.envelope(r)[:, 0]
    (slope,) = torch.autograd.grad(value.sum(), r)
    assert value[0] == 1.0
    assert value[500:].abs().max() < 1e-12
    assert (slope[:501] <= 1e-9).all()
    assert slope[[0, 500]].abs().max() < 1e-9
    if kind == "cosine":
        expected = 0.5 * (1 + torch.cos(math.pi * r[:500] / 5))
        torch.testing.assert_close(value[:500], expected)
    else:
        assert (value[495] / 0.01**3) < 100  # three zeros at the cutoff


def test_shifted_softplus():
    x = torch.tensor([-1.0, 0.0, 2.0], dtype=torch.float64)
    torch.testing.assert_close(shifted_softplus(x), torch.log((1 + torch.exp(x)) / 2), atol=1e-15, rtol=1e-12)


@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize("normalization", ["integral", "component"])
def test_shared_messages_are_an_e3nn_tensor_product(published, normalization):
    # Node x edge features with weights shared by all edges: 'uvu' couplings, 'component' and 'element' normalized.
    torch.manual_seed(1)
    f, n, edges, atoms = 5, 7, 11, 4
    hypers = EquivarHypers(
        channels=f, num_radial=n, weights="shared", paths="published" if published else "full",
        normalization=normalization, envelope="none",
    )  # fmt: skip
    paths = coupling_paths(published)
    strengths = SharedStrengths(hypers).double()
    torch.nn.init.normal_(strengths.edge_bias)
    x = torch.randn(atoms, 12, f, dtype=torch.float64)
    radial, vector = torch.rand(edges, n, dtype=torch.float64), torch.randn(edges, 3, dtype=torch.float64)
    source, target = torch.randint(atoms, (2, edges))
    harmonics = o3.spherical_harmonics("0e+1o+2e", vector, True, normalization)
    one = torch.ones(edges, 1, dtype=torch.float64)
    edges = Edges(source, target, EdgeFrames()(vector))
    factors = strengths(radial, one, x, x, edges)
    ours = summed_messages(x, factors, edges, atoms, strengths.terms, eager_kernels())

    product = o3.TensorProduct(
        " + ".join(f"{f}x{kind}" for kind in NODE_TYPES),
        f"{f}x0e + {f}x1o + {f}x2e",
        " + ".join(f"{f}x{kind}" for kind in NODE_TYPES),
        [
            (NODE_TYPES.index(p.node), ("0e", "1o", "2e").index(p.edge), NODE_TYPES.index(p.out), "uvu", True)
            for p in paths
        ],
        irrep_normalization="component",
        path_normalization="element",
    ).double()
    mixed = {kind: radial @ weight / math.sqrt(n) for kind, weight in strengths.edge.items()}
    scalars = shifted_softplus(mixed["0e"] * harmonics[:, :1] + strengths.edge_bias)
    blocks = [scalars] + [
        torch.einsum("ev,em->evm", mixed[kind], harmonics[:, rows]).flatten(1)
        for kind, rows in (("1o", slice(1, 4)), ("2e", slice(4, 9)))
    ]
    flat = torch.cat([x[:, NODE_ROWS[kind]].transpose(1, 2).flatten(1) for kind in NODE_TYPES], dim=1)
    theirs = product(flat[source], torch.cat(blocks, dim=1), strengths.coupling.flatten())
    expected = torch.zeros(atoms, 12 * f, dtype=torch.float64).index_add(0, target, theirs)
    result = torch.cat([ours[:, NODE_ROWS[kind]].transpose(1, 2).flatten(1) for kind in NODE_TYPES], dim=1)
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-6)


# Rotations of features.


@pytest.mark.parametrize("determinant", [1, -1])
@pytest.mark.parametrize("seed", range(5))
def test_features_rotate_as_e3nn_says(seed, determinant):
    rotation = torch.as_tensor(crystals.random_rotation(seed, determinant))
    expected = o3.Irreps("0e+1o+1e+2e").D_from_matrix(rotation)
    # e3nn goes through Euler angles, which costs half of the digits.
    torch.testing.assert_close(feature_rotation(rotation[None])[0], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("determinant", [1, -1])
def test_feature_rotations_turn_harmonics_to_the_last_digit(determinant):
    rotations = torch.stack([torch.as_tensor(crystals.random_rotation(seed, determinant)) for seed in range(8)])
    vectors = torch.randn(50, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    before = o3.spherical_harmonics("0e+1o+2e", vectors, True)
    turned = o3.spherical_harmonics("0e+1o+2e", torch.einsum("gij,nj->gni", rotations, vectors), True)
    wigner = feature_rotation(rotations)
    rows = [*range(0, 4), *range(7, 12)]
    expected = torch.einsum("gij,nj->gni", wigner[:, rows][:, :, rows], before)
    torch.testing.assert_close(turned, expected, rtol=0, atol=1e-12)


def test_feature_rotations_are_a_representation():
    first, second = (torch.as_tensor(crystals.random_rotation(seed, (-1) ** seed))[None] for seed in (1, 2))
    product = feature_rotation(first) @ feature_rotation(second)
    torch.testing.assert_close(product, feature_rotation(first @ second), rtol=0, atol=1e-12)
    parity = torch.diagonal(feature_rotation(-torch.eye(3, dtype=torch.float64)[None])[0])
    expected = torch.tensor([1.0, -1, -1, -1, *[1] * 8], dtype=torch.float64)
    torch.testing.assert_close(parity, expected, rtol=0, atol=1e-12)


# Neighbors, products.


def test_nearest_image_edges_break_supercell_invariance():
    # In the two-atom cell of CsCl an atom sees one of its eight neighbors, in a supercell more of them.
    atoms = crystals.cesium_chloride()
    model = network(properties=("born_charges", "formation_energy"))
    small, large = (predict(model, a, mic=True)["formation_energy"] for a in (atoms, atoms.repeat(3)))
    assert (small - large).abs() > 1e-2 * large.abs()
    # Which image is kept is arbitrary, so that even a cubic site loses its symmetry.
    kept, cubic = (predict(model, atoms, mic=mic)["born_charges"][0] for mic in (True, False))
    assert kept[0, 1].abs() > 1e-4 * kept.abs().max()
    assert cubic[0, 1].abs() < 1e-7 * cubic.abs().max()
    small, large = (predict(model, a)["formation_energy"] for a in (atoms, atoms.repeat(3)))
    torch.testing.assert_close(small, large)


# Functionals.


def test_the_functional_asked_for_changes_the_prediction():
    model = network(functionals=("PBE", "PBEsol"))
    unlabeled, pbe, pbesol = (
        predict(model, crystals.quartz(), functional=name)["born_charges"] for name in (None, "PBE", "PBEsol")
    )
    assert torch.equal(unlabeled, pbe)
    assert (pbe - pbesol).abs().max() > 1e-3 * pbe.abs().max()


def test_each_crystal_of_a_batch_has_its_own_functional():
    model = network(functionals=("PBE", "PBEsol"))
    mixed = [
        build_graph(crystals.quartz(), model.hypers.cutoff, functional=name, dtype=torch.float64)
        for name in ("PBEsol", "PBE")
    ]
    with torch.no_grad():
        both = model(collate(mixed))["born_charges"]
    expected = [predict(model, crystals.quartz(), functional=name)["born_charges"] for name in ("PBEsol", "PBE")]
    torch.testing.assert_close(both, torch.cat(expected))


def test_an_unknown_functional_is_outside_the_domain():
    with pytest.raises(DomainError, match=r"SCAN.*PBE, PBEsol"):
        predict(network(functionals=("PBE", "PBEsol")), crystals.rocksalt(), functional="SCAN")


def test_a_model_without_functionals_ignores_the_label():
    model = network()
    first, second = (predict(model, crystals.rocksalt(), functional=name)["born_charges"] for name in (None, "SCAN"))
    assert torch.equal(first, second)


# Hyper-parameters.


def test_every_hyper_parameter_is_described():
    undescribed = [name for name, field in EquivarHypers.model_fields.items() if not field.description]
    assert not undescribed
    assert len(EquivarHypers.model_fields) > 10


@pytest.mark.parametrize(
    "wrong",
    [
        {"chanels": 8},
        {"channels": 0},
        {"cutoff": -1.0},
        {"envelope": "gaussian"},
        {"properties": ()},
        {"neighbors": "some"},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_wrong_hyper_parameters_are_rejected(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        EquivarHypers(**wrong)


def test_hyper_parameters_survive_json_and_cannot_be_changed():
    hypers = preset("bm1")
    assert EquivarHypers.model_validate_json(hypers.model_dump_json()) == hypers
    with pytest.raises(ValidationError):
        hypers.channels = 3


# Physical bounds.


@pytest.mark.parametrize("seed", range(4))
def test_crystal_tensors_are_those_of_stable_insulators(seed):
    model = network(properties=("eps_inf", "eps_ionic", "eps_total", "elastic", "band_gap"))
    with torch.no_grad():
        generator = torch.Generator().manual_seed(seed)
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64), alpha=0.1)
    output = predict(model, crystals.nameless(), crystals.rutile(), crystals.quartz(), crystals.rocksalt())
    for name, bound in {"eps_inf": 1.0, "eps_ionic": 0.0, "eps_total": 1.0}.items():
        torch.testing.assert_close(output[name], output[name].mT)
        assert torch.linalg.eigvalsh(output[name]).min() >= bound
    # The energy e:C:e of every strain is positive: C as a matrix on an orthonormal basis of symmetric tensors.
    basis = [np.outer(np.eye(3)[i], np.eye(3)[i]) for i in range(3)]
    basis += [
        (np.outer(np.eye(3)[i], np.eye(3)[j]) + np.outer(np.eye(3)[j], np.eye(3)[i])) / np.sqrt(2)
        for i, j in ((1, 2), (2, 0), (0, 1))
    ]
    stiffness = np.einsum("aij,nijkl,bkl->nab", basis, output["elastic"].numpy(), basis)
    np.testing.assert_allclose(stiffness, stiffness.transpose(0, 2, 1), atol=1e-6 * np.abs(stiffness).max())
    assert np.linalg.eigvalsh(stiffness).min() > 0
    assert (output["band_gap"] > 0).all()


RESPONSE = ("born_charges", "eps_inf", "eps_ionic", "eps_total")


class TestMembers:
    """A network that stands for an ensemble."""

    def batch(self):
        graphs = [build_graph(make(), 4.5, dtype=torch.float64) for make in (crystals.rocksalt, crystals.quartz)]
        return collate(graphs)

    def test_mean_of_the_members_is_the_prediction(self):
        model, batch = network(properties=RESPONSE, members=3, ionic="charges"), self.batch()
        with torch.no_grad():
            members, together = model.forward_members(batch), model.forward_raw(batch)
        assert len(members) == model.hypers.ensemble_size == 3
        for which in (0, 1):
            for name in RESPONSE:
                values = torch.stack([member[which][name] for member in members])
                torch.testing.assert_close(values.mean(dim=0), together[which][name])
                assert float(values.std(dim=0).max()) > 0

    @pytest.mark.parametrize("ionic", ["mean", "charges", "inverse"])
    def test_alike_members_are_one_network(self, ionic):
        one, batch = network(properties=RESPONSE, ionic=ionic), self.batch()
        several = network(properties=RESPONSE, ionic=ionic, members=2)
        single = dict(one.named_parameters())
        with torch.no_grad():
            for name, parameter in several.named_parameters():
                _fill(parameter, single[name])
            alone, members = one.forward_raw(batch), several.forward_members(batch)
        for member in members:
            for which in (0, 1):
                for name in RESPONSE:
                    torch.testing.assert_close(member[which][name], alone[which][name])

    def test_one_member_is_the_network_itself(self):
        model, batch = network(properties=RESPONSE), self.batch()
        with torch.no_grad():
            (member,), together = model.forward_members(batch), model.forward_raw(batch)
        for name in RESPONSE:
            assert torch.equal(member[0][name], together[0][name])


class TestIonic:
    """eps_ionic = sum of Z K Z^T / (eps_0 V)."""

    def test_closed_form(self):
        """One pair of opposite charges q on springs: eps_ionic = (e^2 / eps_0) 2 q^2 K / V, with K alike for both."""
        volume, charge, compliance = 64.0, 1.7, 0.2
        atoms = ase.Atoms("MgO", scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], cell=4.0 * np.eye(3), pbc=True)
        batch = collate([build_graph(atoms, 4.0, dtype=torch.float64)])
        charges = torch.stack([charge * torch.eye(3), -charge * torch.eye(3)]).double()
        given = compliance * torch.eye(3).expand(2, 3, 3).double()
        expected = (units._e / units._eps0) * 1e10 * 2 * charge**2 * compliance / volume
        (found,) = _from_charges(charges, given, batch)
        torch.testing.assert_close(found, expected * torch.eye(3).double(), rtol=1e-6, atol=0)

    def test_no_charges_no_response(self):
        """Atoms of an element alone are neutral by the sum rule: diamond has no ionic permittivity."""
        model = network(properties=RESPONSE, ionic="charges")
        values = predict(model, bulk("C", "diamond", a=3.57))
        assert float(values["eps_ionic"].abs().max()) < 1e-10
        torch.testing.assert_close(values["eps_total"], values["eps_inf"])

    def test_inverse(self):
        matrix = torch.randn(4, 2, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(_inverse(matrix), torch.linalg.inv(matrix))

    def test_charges_are_needed(self):
        with pytest.raises(ValidationError, match="needs born_charges"):
            EquivarHypers(properties=("eps_inf", "eps_ionic"), ionic="charges")
