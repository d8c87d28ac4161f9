"""Ensembles: all members in one pass give what they give one by one, and ask the device nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from types import ModuleType

import pytest
import torch
from tests import crystals
from tests.kernels import load_kernels
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from voigt.graphs import CrystalBatch, build_graph, collate
from voigt.graphs.padding import bounded_elements, padded
from voigt.models import ensemble
from voigt.models.checkpoint import LoadedModel, ModelCard
from voigt.models.ensemble import in_one_pass, one_by_one, outputs_of
from voigt.models.equivariant import messages
from voigt.models.methods import build_network, parse_hypers
from voigt.models.network import Members, Network, functional_rows
from voigt.structures.symmetry import find_symmetry

CUTOFF = 4.0
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
TINY: dict[str, dict[str, object]] = {
    "equivar": {"channels": 8, "interactions": 2, "num_radial": 6},
    "goectp": {"width": 8, "heads": 2, "layers": 2, "hidden": 16, "num_radial": 8},
    "sen": {
        "width": 16, "edge_width": 8, "loops": 2, "num_radial": 12, "direction_width": 4, "composition_width": 8,
        "embedding": 12, "part_capsules": 6, "part_features": 4, "object_capsules": 4, "object_width": 8,
        "object_layers": 2, "average_neighbors": 4.0,
    },
}  # fmt: skip
KINDS: dict[str, tuple[str, dict[str, object]]] = {
    "equivar charges": ("equivar", {"properties": ("born_charges", "eps_inf")}),
    "equivar tensors": ("equivar", {"properties": ("elastic", "piezo_clamped", "piezo_total")}),
    "equivar scalars": ("equivar", {"properties": ("band_gap", "formation_energy"), "self_interaction": "species"}),
    "equivar shared": ("equivar", {"properties": ("born_charges", "elastic"), "weights": "shared", "init": "normal"}),
    "equivar pair": ("equivar", {"weights": "pair", "update": "gated", "self_product": True, "sum_rule": "learned"}),
    "equivar heads": ("equivar", {"properties": ("born_charges", "eps_inf", "eps_ionic"), "members": 3}),
    "equivar functionals": ("equivar", {"properties": ("eps_inf",), "functionals": ("PBE", "PBEsol")}),
    "equivar ionic": ("equivar", {"properties": ("born_charges", "eps_inf", "eps_ionic"), "ionic": "charges"}),
    "goectp equivar": ("goectp", {"properties": ("eps_inf", "piezo_total", "elastic")}),
    "goectp atoms": ("goectp", {"properties": ("born_charges", "eps_inf"), "hidden": 24}),
    "goectp corrected": ("goectp", {"properties": ("eps_inf", "elastic"), "equivariant_readout": True}),
    "goectp ecomformer": ("goectp", {"properties": ("eps_inf", "elastic"), "backbone": "ecomformer"}),
    "goectp icomformer": ("goectp", {"properties": ("eps_inf", "elastic"), "backbone": "icomformer"}),
    "goectp crystalformer": ("goectp", {"properties": ("eps_inf", "elastic"), "backbone": "crystalformer"}),
    "sen": ("sen", {"properties": ("formation_energy", "band_gap")}),
    "sen functionals": ("sen", {"properties": ("formation_energy",), "functionals": ("PBE", "PBEsol"), "heads": 2}),
    "sen competition": ("sen", {"properties": ("band_gap",), "routing": "competition"}),
}


def members_of(kind: str, count: int = 3, dtype: torch.dtype = torch.float64) -> list[Network]:
    """Parameters that start as a constant, and would be the same in all members, are made random."""
    method, options = KINDS[kind]
    hypers = parse_hypers({"method": method, "cutoff": CUTOFF, **TINY[method], **options})
    found = []
    for seed in range(count):
        torch.manual_seed(seed)
        network = build_network(hypers)
        with torch.no_grad():
            for parameter in network.parameters():
                if parameter.unique().numel() == 1:
                    parameter.add_(torch.randn_like(parameter), alpha=0.2)
        found.append(network.to(dtype).eval())
    return found


def batch_for(network: Network, dtype: torch.dtype = torch.float64, reduced: bool = True) -> CrystalBatch:
    """Crystals with much symmetry, with little and with none."""
    functionals = network.hypers.functionals
    graphs = []
    for k, atoms in enumerate((crystals.quartz(), crystals.wurtzite(), crystals.nameless(), crystals.rocksalt(True))):
        symmetry = find_symmetry(atoms) if reduced else None
        graph = build_graph(atoms, CUTOFF, symmetry=symmetry, dtype=dtype, frame=network.hypers.axes_options)
        graphs.append(dataclasses.replace(graph, functional=functionals[k % 2] if functionals else None))
    return collate(graphs)


def assert_same(found: Members, expected: Members, tolerance: float) -> None:
    assert len(found) == len(expected)
    for one, two in zip(found, expected, strict=True):
        for values, others in zip(one, two, strict=True):
            assert values.keys() == others.keys()
            for name, value in values.items():
                assert value.dtype == others[name].dtype
                atol = tolerance * float(others[name].abs().max())
                torch.testing.assert_close(value, others[name], rtol=0, atol=atol)


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_one_pass_is_one_by_one(kind: str, dtype: torch.dtype) -> None:
    members = members_of(kind, dtype=dtype)
    batch = batch_for(members[0], dtype)
    expected = one_by_one(members)(batch)
    assert len(expected) == 3 * members[0].hypers.ensemble_size
    run = in_one_pass(members)
    assert_same(run(batch), expected, TOLERANCE[dtype])
    first, last = expected[0][1], expected[-1][1]
    assert all(float((first[name] - last[name]).abs().max()) > 1e-4 * float(last[name].abs().max()) for name in first)
    alone = batch_for(members[0], dtype, reduced=False)
    assert_same(run(alone), one_by_one(members)(alone), TOLERANCE[dtype])


def test_symmetry_is_used() -> None:
    """Guards the test above: rows of several atoms come from one representative, turned."""
    batch = batch_for(members_of("equivar tensors", 1)[0])
    assert batch.rotation is not None
    assert len(batch.representative) < len(batch.numbers)


def test_order_of_members_with_several_readouts() -> None:
    """Readouts of the first network, then those of the second one."""
    members = members_of("equivar heads", 2)
    batch = batch_for(members[0])
    found = in_one_pass(members)(batch)
    assert_same(found[:3], members[0].forward_members(batch), 1e-10)
    assert_same(found[3:], members[1].forward_members(batch), 1e-10)


@pytest.mark.parametrize("kind", ["equivar charges", "equivar shared", "sen"])
def test_constants_that_differ_are_each_members_own(kind: str) -> None:
    """Centers of radial functions of a hand-made ensemble: those of one must not serve all."""
    members = members_of(kind)
    buffers = [dict(member.named_buffers()) for member in members]
    (name,) = (name for name in buffers[0] if name.endswith("centers"))
    buffers[1][name].mul_(1.1)
    batch = batch_for(members[0])
    expected = one_by_one(members)(batch)
    assert_same(in_one_pass(members)(batch), expected, 1e-10)
    buffers[1][name].div_(1.1)
    same = one_by_one(members)(batch)
    value = next(iter(same[1][1]))
    assert not torch.allclose(same[1][1][value], expected[1][1][value], rtol=1e-4)


def test_different_networks_are_no_ensemble() -> None:
    first, other = members_of("equivar charges", 1), members_of("equivar pair", 1)
    with pytest.raises(ValueError, match="differ"):
        in_one_pass([*first, *other])


def test_weights_are_copies() -> None:
    """A pass belongs to the weights that it was made with."""
    members = members_of("equivar tensors", 2)
    batch = batch_for(members[0])
    run, before = in_one_pass(members), one_by_one(members)(batch)
    for parameter in members[0].parameters():
        parameter.zero_()
    assert_same(run(batch), before, 1e-10)


def test_a_cpu_runs_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    members = members_of("equivar functionals")
    model = LoadedModel("made up", tuple(members), ModelCard(elements=(8, 14)))
    batch = batch_for(members[0])
    monkeypatch.setattr(ensemble, "in_one_pass", lambda _: pytest.fail("a CPU is slower this way"))
    assert_same(outputs_of(model, batch), one_by_one(members)(batch), 0.0)
    assert not model.passes


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_a_device_gives_what_a_cpu_gives() -> None:
    """First as it is, then recorded, then replayed."""
    for kind in ("equivar charges", "equivar functionals", "sen functionals"):
        members = members_of(kind, dtype=torch.float32)
        batch = batch_for(members[0], torch.float32)
        expected = one_by_one(members)(batch)
        model = LoadedModel("made up", tuple(member.cuda() for member in members), ModelCard(elements=(8, 14)))
        for _ in range(4):
            found = outputs_of(model, batch)
            back = [tuple({name: value.cpu() for name, value in one.items()} for one in pair) for pair in found]
            assert_same(back, expected, 1e-5)  # type: ignore[arg-type]
        assert not model.passes[torch.device("cuda", 0)].failed  # type: ignore[attr-defined]


def faked(batch: CrystalBatch, mode: FakeTensorMode) -> CrystalBatch:
    tensors = {name: mode.from_tensor(value) for name, value in vars(batch).items() if isinstance(value, Tensor)}
    return dataclasses.replace(batch, **tensors)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.startswith("goectp")])
@pytest.mark.parametrize("run", [in_one_pass, one_by_one], ids=["one pass", "one by one"])
def test_nothing_is_asked_of_the_device(kind: str, run: object) -> None:
    """Fake tensors have no values: whatever needs one cannot be recorded by a device, and raises an error here."""
    members = members_of(kind, 2, torch.float32)
    batch = batch_for(members[0], torch.float32)
    rows = functional_rows(batch, members[0].hypers.functionals)
    known = padded(dataclasses.replace(bounded_elements(batch), functional_row=rows))
    passes = run(members)  # type: ignore[operator]
    expected = passes(known)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        found = passes(faked(known, mode))
    for one, two in zip(found, expected, strict=True):
        assert {name: value.shape for name, value in one[1].items()} == {
            name: value.shape for name, value in two[1].items()
        }


def test_a_question_to_the_device_would_show() -> None:
    """Guards the test above: elements that nobody has counted."""
    members = members_of("sen", 2, torch.float32)
    batch = padded(batch_for(members[0], torch.float32))
    with FakeTensorMode(allow_non_fake_inputs=True) as mode, pytest.raises(DataDependentOutputException):
        in_one_pass(members)(faked(batch, mode))


@pytest.fixture
def fused(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The kernels by Triton's interpreter."""
    return load_kernels(monkeypatch)


@pytest.mark.parametrize("kind", ["equivar charges", "equivar shared", "equivar pair"])
def test_kernels_serve_all_members_at_once(kind: str, fused: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    members = members_of(kind, 2)
    structures = (crystals.wurtzite(), crystals.cesium_chloride())
    graphs = [build_graph(atoms, 3.0, symmetry=find_symmetry(atoms), dtype=torch.float64) for atoms in structures]
    batch = collate(graphs)
    expected = one_by_one(members)(batch)
    calls: list[int] = []
    right = fused.fused_messages

    def counted(*given: object) -> Tensor:
        calls.append(len(given[4]))  # type: ignore[arg-type]
        return right(*given)

    monkeypatch.setattr(fused, "fused_messages", counted)
    monkeypatch.setattr(messages, "is_fused", lambda *_: True)
    assert_same(in_one_pass(members)(batch), expected, 1e-10)
    assert calls == [2 * len(batch.edge_source)] * 2  # one for each block, with the edges of both members


def test_members_are_offered_to_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """`torch.func` takes the tuple of functions apart and makes another one, which must still be known."""
    members = members_of("equivar charges", 2)
    known: list[bool] = []

    def asked(_atoms: Tensor, kernels: messages.Kernels) -> bool:
        known.append(kernels == messages.eager_kernels())
        return False

    monkeypatch.setattr(messages, "is_fused", asked)
    in_one_pass(members)(batch_for(members[0]))
    assert known
    assert all(known)
