"""Views of a batch: the same as copying every crystal by hand for each of its frames, one after the other."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests import crystals

from voigt.graphs import AxesOptions, CrystalBatch, CrystalGraph, build_graph, collate
from voigt.models.goectp.hypers import GoeCTPHypers
from voigt.models.goectp.model import GoeCTP
from voigt.models.goectp.views import canonical, ranges, views_of
from voigt.structures.symmetry import find_symmetry

CUTOFF = 3.5
FUNCTIONALS = ("PBE", None, "PBEsol", "SCAN")
INDICES = ("numbers", "atom_crystal", "orbit_crystal", "num_atoms", "representative", "orbit", "edge_source")
INDICES = (*INDICES, "edge_target")


def mixed(mode: str = "average", reduce: bool = False, cosets: bool = True) -> list[CrystalGraph]:
    """Lattices of 2, 24, 16 and 48 operations; the third crystal has lost its symmetry, the others keep theirs."""
    shaken = crystals.lead_titanate()
    shaken.rattle(0.05, seed=2)
    structures = [crystals.nameless(), crystals.wurtzite(), shaken, crystals.zincblende()]
    options = AxesOptions(mode, "primitive", reduce, cosets)
    return [
        build_graph(atoms, CUTOFF, symmetry=find_symmetry(atoms), functional=name, dtype=torch.float64, frame=options)
        for atoms, name in zip(structures, FUNCTIONALS, strict=True)
    ]


def copied(graphs: list[CrystalGraph]) -> CrystalBatch:
    """A plain loop: a graph for each frame of each crystal, its vectors projected on the columns of the frame."""
    copies = []
    for graph in graphs:
        for frame in graph.frames:
            vectors = [torch.stack([axis @ vector for axis in frame.T]) for vector in graph.edge_vector]
            copies.append(replace(graph, edge_vector=torch.stack(vectors)))
    return collate(copies)


def assert_same(actual: CrystalBatch, expected: CrystalBatch) -> None:
    for name in INDICES:
        assert torch.equal(getattr(actual, name), getattr(expected, name)), name
    assert torch.equal(actual.cell, expected.cell)
    assert torch.equal(actual.lattice, expected.lattice)
    assert actual.functional == expected.functional
    torch.testing.assert_close(actual.edge_vector, expected.edge_vector, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("reduce", "cosets"), [(False, True), (False, False), (True, False)])
def test_all_frames_of_a_mixed_batch(reduce, cosets):
    graphs = mixed(reduce=reduce, cosets=cosets)
    batch = collate(graphs)
    assert (batch.rotation is not None) == reduce
    views = views_of(batch, random=False)
    counts = [len(graph.frames) for graph in graphs]
    assert counts == ([2, 2, 16, 2] if cosets else [2, 24, 16, 48])
    assert views.count == sum(counts)
    assert not views.single
    assert torch.equal(views.frame, torch.cat([graph.frames for graph in graphs]))
    assert views.crystal.tolist() == [k for k, count in enumerate(counts) for _ in range(count)]
    first = [0, 4, 8, 13]
    atoms = [list(range(first[k], first[k] + graphs[k].num_atoms)) for k in views.crystal.tolist()]
    assert views.atom.tolist() == [atom for view in atoms for atom in view]
    assert views.atom_view.tolist() == [k for k, view in enumerate(atoms) for _ in view]
    assert_same(canonical(batch, views), copied(graphs))
    rows = canonical(replace(batch, functional_row=torch.arange(len(graphs))), views).functional_row
    assert rows is not None
    assert torch.equal(rows, views.crystal)


@pytest.mark.parametrize("reduce", [False, True])
def test_one_frame_for_each_crystal(reduce):
    graphs = mixed("single", reduce)
    batch = collate(graphs)
    views = views_of(batch, random=False)
    assert views.single
    assert torch.equal(views.atom, torch.arange(len(batch.numbers)))
    assert torch.equal(views.atom_view, batch.atom_crystal)
    assert_same(canonical(batch, views), copied(graphs))


def test_without_frames_views_are_the_axes_of_the_file():
    batch = collate(mixed("none"))
    views = views_of(batch, random=False)
    assert views.single
    assert torch.equal(views.frame, torch.eye(3, dtype=torch.float64).expand(4, 3, 3))
    assert torch.equal(canonical(batch, views).edge_vector, batch.edge_vector)


def test_canonical_axes_are_those_in_which_the_lattice_is_symmetric():
    """Edges are differences of fractional coordinates times H, the rows of `lattice`."""
    graphs = mixed(cosets=False)
    batch = canonical(collate(graphs), views_of(collate(graphs), random=False))
    torch.testing.assert_close(batch.lattice, batch.lattice.mT)
    assert bool((torch.linalg.eigvalsh(batch.lattice) > 0).all())
    # The lattice vectors themselves, looked at from each frame, are some vectors of the lattice H.
    for graph in graphs:
        seen = graph.cell @ graph.frames
        integer = seen @ torch.linalg.inv(graph.lattice)
        torch.testing.assert_close(integer, integer.round(), rtol=0, atol=1e-9)


class TestRandom:
    def test_each_crystal_gets_one_of_its_frames(self):
        graphs = mixed(cosets=False)
        batch = collate(graphs)
        torch.manual_seed(0)
        seen: list[set[int]] = [set() for _ in graphs]
        for _ in range(400):
            views = views_of(batch, random=True)
            assert views.single
            assert views.crystal.tolist() == [0, 1, 2, 3]
            assert torch.equal(views.atom, torch.arange(len(batch.numbers)))
            for k, graph in enumerate(graphs):
                (place,) = torch.nonzero((graph.frames == views.frame[k]).all(dim=(1, 2))).flatten().tolist()
                seen[k].add(place)
        assert [len(places) for places in seen] == [2, 24, 16, 48]  # none is left out

    def test_the_seed_decides(self):
        batch = collate(mixed(cosets=False))
        chosen = []
        for seed in (1, 1, 2):
            torch.manual_seed(seed)
            chosen.append(torch.stack([views_of(batch, random=True).frame for _ in range(3)]))
        assert torch.equal(chosen[0], chosen[1])
        assert not torch.equal(chosen[0], chosen[2])
        assert not torch.equal(chosen[0][0], chosen[0][1])

    def test_vectors_are_seen_from_the_frame_that_was_drawn(self):
        graphs = mixed(cosets=False)
        batch = collate(graphs)
        torch.manual_seed(5)
        views = views_of(batch, random=True)
        drawn = [replace(graph, frames=frame[None]) for graph, frame in zip(graphs, views.frame, strict=True)]
        assert_same(canonical(batch, views), copied(drawn))

    def test_nothing_is_drawn_otherwise(self):
        state = torch.get_rng_state()
        views_of(collate(mixed()), random=False)
        assert torch.equal(torch.get_rng_state(), state)


def test_ranges():
    assert ranges(torch.tensor([7, 0, 3]), torch.tensor([2, 4, 1])).tolist() == [7, 8, 0, 1, 2, 3, 3]
    assert ranges(torch.tensor([5, 9, 2]), torch.tensor([1, 0, 2])).tolist() == [5, 2, 3]
    assert ranges(torch.tensor([], dtype=torch.int64), torch.tensor([], dtype=torch.int64)).tolist() == []


@pytest.mark.parametrize(
    "options",
    [
        {"backbone": "ecomformer", "directions": "none", "frame": "single"},
        {"backbone": "crystalformer", "directions": "none", "frame": "single"},
        {"backbone": "equivar", "directions": "none", "frame": "single"},
        {"backbone": "equivar", "frame": "average"},
        {"backbone": "equivar", "frame": "average", "properties": ("born_charges", "eps_inf")},
    ],
    ids=lambda options: "-".join(str(value) for value in options.values()),
)
def test_the_asymmetric_unit_gives_the_features_of_all_atoms(options):
    """Views of reduced graphs and of full ones; with conditions on functionals, which are per crystal."""
    small = {"properties": ("eps_inf", "piezo_total"), "width": 8, "layers": 2, "heads": 2, "cutoff": CUTOFF}
    torch.manual_seed(0)
    model = GoeCTP(GoeCTPHypers(**{**small, "functionals": ("PBE", "SCAN", "PBEsol"), **options})).double()
    frames = model.hypers.axes_options
    assert frames.reduce
    reduced, full = [], []
    for atoms, name in zip((crystals.quartz(), crystals.nameless(), crystals.rutile()), FUNCTIONALS[1:], strict=True):
        symmetry = find_symmetry(atoms)
        more = {"functional": name, "dtype": torch.float64}
        reduced.append(build_graph(atoms, CUTOFF, symmetry=symmetry, frame=frames, **more))
        full.append(build_graph(atoms, CUTOFF, symmetry=symmetry, frame=replace(frames, reduce=False), **more))
    batches = [collate(graphs) for graphs in (reduced, full)]
    assert batches[0].orbit_crystal.shape < batches[1].orbit_crystal.shape
    with torch.no_grad():
        first, second = (model.backbone(batch, views_of(batch, random=False)) for batch in batches)
        torch.testing.assert_close(first, second, rtol=0, atol=1e-10)
        first, second = (model(batch) for batch in batches)
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], rtol=0, atol=1e-10)
