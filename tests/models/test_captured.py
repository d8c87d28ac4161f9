"""Passes that are recorded and replayed: what a recorder on the CPU shows, and on a CUDA device the real one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from ase.build import bulk
from tests import crystals

from voigt.graphs import AxesOptions, CrystalBatch, CrystalGraph, build_graph, collate
from voigt.graphs.padding import bounded_elements, padded
from voigt.models import captured as room
from voigt.models.captured import Captured, record_on_cuda
from voigt.models.equivar.hypers import EquivarHypers
from voigt.models.equivar.model import Equivar
from voigt.models.network import Members, functional_rows
from voigt.structures.symmetry import find_symmetry

CUTOFF = 4.0
FUNCTIONALS = ("PBE", "PBEsol")
MAKERS = (crystals.nameless, crystals.quartz, crystals.wurtzite, crystals.perovskite, crystals.rocksalt)


class Runs:
    """A small network that counts how often it is run, and on how many atoms."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        torch.manual_seed(0)
        names = ("born_charges", "eps_inf")
        hypers = EquivarHypers(channels=8, cutoff=CUTOFF, properties=names, functionals=FUNCTIONALS, num_radial=6)
        self.network = Equivar(hypers).to(dtype).eval()
        with torch.no_grad():
            for parameter in self.network.parameters():
                if parameter.unique().numel() == 1:
                    parameter.add_(torch.randn_like(parameter), alpha=0.2)
        self.atoms: list[int] = []

    def __call__(self, batch: CrystalBatch) -> Members:
        self.atoms.append(len(batch.numbers))
        return self.network.forward_members(batch)


class Recorder:
    """What a CUDA graph does, as far as it can be seen: a replay writes into the tensors of the first run."""

    def __init__(self) -> None:
        self.recorded = self.replayed = 0

    def __call__(self, run: Callable[[], Members]) -> tuple[Members, Callable[[], None]]:
        self.recorded += 1
        outputs = [tuple({name: value.clone() for name, value in one.items()} for one in pair) for pair in run()]
        for pair in outputs:
            for one in pair:
                for value in one.values():
                    value.fill_(torch.nan)  # recording computes nothing

        def replay() -> None:
            self.replayed += 1
            for pair, found in zip(outputs, run(), strict=True):
                for one, values in zip(pair, found, strict=True):
                    for name, value in values.items():
                        one[name].copy_(value)

        return outputs, replay  # type: ignore[return-value]


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def graphs() -> list[CrystalGraph]:
    """Crystals of 1 to 9 atoms with and without symmetry, at several volumes."""
    found = []
    for k, make in enumerate(MAKERS * 3):
        atoms = make()
        atoms.set_cell(atoms.cell * (1 + 0.02 * k), scale_atoms=True)
        symmetry = find_symmetry(atoms) if k % 2 else None
        graph = build_graph(atoms, CUTOFF, symmetry=symmetry, dtype=torch.float64)
        found.append(dataclasses.replace(graph, functional=FUNCTIONALS[k % 2]))
    return found


def known(graphs: list[CrystalGraph]) -> CrystalBatch:
    """As `outputs_of` asks for it."""
    batch = collate(graphs)
    return dataclasses.replace(bounded_elements(batch), functional_row=functional_rows(batch, FUNCTIONALS))


def assert_same(found: Members, expected: Members, tolerance: float = 1e-10) -> None:
    assert len(found) == len(expected)
    for one, two in zip(found, expected, strict=True):
        for values, others in zip(one, two, strict=True):
            assert values.keys() == others.keys()
            for name, value in values.items():
                atol = tolerance * float(others[name].abs().max())
                torch.testing.assert_close(value, others[name], rtol=0, atol=atol)


def test_a_stream_of_batches_gets_its_own_answers(graphs: list[CrystalGraph]) -> None:
    """Sizes vary, some come again with other crystals, and nothing is left of those that had the size before."""
    run, recorder = Runs(), Recorder()
    passes = Captured(run, recorder)
    rng = np.random.default_rng(0)
    batches = [known([graphs[k] for k in rng.integers(len(graphs), size=rng.integers(1, 5))]) for _ in range(8)]
    numbers = torch.tensor([3, 8, 9, 14, 17, 22])
    for _ in range(80):
        batch = batches[int(rng.integers(len(batches)))]
        kinds = numbers[torch.as_tensor(rng.integers(6, size=len(batch.representative)))]
        batch = dataclasses.replace(
            batch,
            numbers=kinds[batch.orbit],
            edge_vector=batch.edge_vector * rng.uniform(0.9, 1.1),
            functional_row=batch.functional_row[torch.as_tensor(rng.permutation(batch.num_crystals))],
        )
        assert_same(passes(batch), run(batch))
    assert not passes.failed
    assert recorder.recorded >= 6
    assert recorder.replayed - recorder.recorded > 40  # each recording is replayed once more to check it


def test_once_as_it_is_then_recorded_then_replayed(graphs: list[CrystalGraph]) -> None:
    run, recorder = Runs(), Recorder()
    passes, batch = Captured(run, recorder), known(graphs[:2])
    plain, filled = len(batch.numbers), len(padded(batch).numbers)
    expected = run(batch)
    counts = [(1, 0, 0), (5, 1, 1), (6, 1, 2), (7, 1, 3)]  # recorded: as it is, before, while recording, to compare
    for runs, recorded, replayed in counts:
        assert_same(passes(batch), expected)
        assert (len(run.atoms) - 1, recorder.recorded, recorder.replayed) == (runs, recorded, replayed)
    assert run.atoms[1:] == [plain, plain, *[filled] * 5]


def test_batches_of_other_sizes_share_a_recording() -> None:
    """What padding is for: sizes that differ become one."""
    atoms = bulk("Al", "fcc", a=4.05).repeat((24, 1, 1))
    batches = []
    for count in (22, 23, 24):
        few = atoms[:count].copy()
        few.set_cell(100 * np.eye(3))  # each with its nearest neighbors along the row alone
        batches.append(known([build_graph(few, CUTOFF, dtype=torch.float64)]))
    assert len({len(batch.numbers) for batch in batches}) == 3
    assert len({room._size(padded(batch)) for batch in batches}) == 1
    run, recorder = Runs(), Recorder()
    passes = Captured(run, recorder)
    for batch in batches * 3:
        assert_same(passes(batch), run(batch))
    assert (recorder.recorded, recorder.replayed) == (1, 8)


def test_answers_are_copies(graphs: list[CrystalGraph]) -> None:
    """A later replay writes into the same memory; neither that nor the batch of others is handed out."""
    run = Runs()
    passes = Captured(run, Recorder())
    one = known([graphs[0]])
    other = dataclasses.replace(one, edge_vector=one.edge_vector * 1.1, numbers=one.numbers.flip(0))
    given = one.edge_vector.clone()
    for batch in (one, one):
        passes(batch)
    first = passes(one)
    kept = [tuple({name: value.clone() for name, value in values.items()} for values in pair) for pair in first]
    assert_same(passes(other), run(other))
    assert_same(first, kept, 0.0)  # type: ignore[arg-type]
    assert torch.equal(one.edge_vector, given)
    for pair in first:
        for values in pair:
            for value in values.values():
                value.zero_()
    assert_same(passes(one), run(one))


def refusing(_: Callable[[], Members]) -> tuple[Members, Callable[[], None]]:
    raise RuntimeError("CUDA error: operation not permitted when stream is capturing")


def wrong(run: Callable[[], Members]) -> tuple[Members, Callable[[], None]]:
    outputs, replay = Recorder()(run)

    def slightly_off() -> None:
        replay()
        outputs[0][1]["eps_inf"].mul_(1.01)

    return outputs, slightly_off


def forgetful(run: Callable[[], Members]) -> tuple[Members, Callable[[], None]]:
    outputs, _ = Recorder()(run)
    return outputs, lambda: None


@pytest.mark.parametrize("record", [refusing, wrong, forgetful])
def test_recordings_that_fail_are_given_up(record: room.Record, graphs: list[CrystalGraph]) -> None:
    """The answers stay right, and no other size is tried."""
    run, tries = Runs(), 0

    def counted(given: Callable[[], Members]) -> tuple[Members, Callable[[], None]]:
        nonlocal tries
        tries += 1
        return record(given)

    passes = Captured(run, counted)
    for batch in [known(graphs[:2])] * 4 + [known(graphs[:5])] * 3:
        assert_same(passes(batch), run(batch))
    assert passes.failed
    assert tries == 1
    count = len(run.atoms)
    passes(known(graphs[:2]))
    assert len(run.atoms) == count + 1


def test_batches_that_cannot_be_padded_are_computed_as_they_are(graphs: list[CrystalGraph]) -> None:
    run = Runs()
    passes = Captured(run, lambda _: pytest.fail("nothing may be recorded"))
    labeled = dataclasses.replace(known(graphs[:2]), targets={"band_gap": torch.ones(2)})
    framed = known([build_graph(crystals.quartz(), CUTOFF, dtype=torch.float64, frame=AxesOptions("single", "niggli"))])
    assert len(framed.frames)
    for batch in (labeled, framed):
        for _ in range(4):
            assert_same(passes(batch), run(batch))
    assert not passes.recordings


def test_large_batches_are_computed_as_they_are(graphs: list[CrystalGraph], monkeypatch: pytest.MonkeyPatch) -> None:
    run, recorder, batch = Runs(), Recorder(), known(graphs[:3])
    passes = Captured(run, recorder)
    monkeypatch.setattr(room, "LARGEST", len(batch.edge_source) - 1)
    for _ in range(4):
        assert_same(passes(batch), run(batch))
    assert not recorder.recorded
    monkeypatch.setattr(room, "LARGEST", len(batch.edge_source))
    for _ in range(2):
        passes(batch)
    assert recorder.recorded == 1


def test_what_was_not_used_for_longest_goes_first(graphs: list[CrystalGraph], monkeypatch: pytest.MonkeyPatch) -> None:
    """Three recordings in room for two; a recording counts as a use, and so does a replay."""
    monkeypatch.setattr(room, "RECORDINGS", 2)
    run, recorder = Runs(), Recorder()
    passes = Captured(run, recorder)
    one, two, three = (known(graphs[:count]) for count in (1, 3, 7))
    assert len({room._size(padded(batch)) for batch in (one, two, three)}) == 3

    def recorded(batch: CrystalBatch) -> bool:
        return passes.recordings.get(room._size(padded(batch))) is not None

    for batch in (one, two, two, one):  # the recording of one is the last that was made
        passes(batch)
    assert recorded(one)
    assert recorded(two)
    passes(three)  # seen once: nothing goes yet
    assert recorded(one)
    assert recorded(two)
    passes(three)
    assert recorded(one)
    assert not recorded(two)
    assert recorded(three)
    passes(one)  # replayed
    passes(two)
    assert recorded(two)
    assert recorded(one)
    assert not recorded(three)
    assert len(passes.recordings) == 2
    for batch in (one, two, three):
        assert_same(passes(batch), run(batch))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_a_device_replays_what_it_recorded(graphs: list[CrystalGraph]) -> None:
    run = Runs(torch.float32)
    run.network.cuda()
    passes = Captured(run, record_on_cuda())
    rng = np.random.default_rng(0)
    for _ in range(60):
        batch = known([graphs[k] for k in rng.integers(len(graphs), size=rng.integers(1, 5))])
        batch = batch.to("cuda", torch.float32)
        assert_same(passes(batch), run(batch), 1e-5)
    assert not passes.failed
    assert sum(recording is not None for recording in passes.recordings.values()) >= 3


def test_rounding_of_what_symmetry_forbids_is_no_failure(graphs: list[CrystalGraph]) -> None:
    """Charges of a crystal without any are noise, other noise each time."""
    recorder, noise = Recorder(), torch.Generator().manual_seed(0)

    def run(batch: CrystalBatch) -> Members:
        values = {"born_charges": 1e-7 * torch.randn(len(batch.numbers), 3, 3, generator=noise)}
        return [(values, dict(values))]

    passes, batch = Captured(run, recorder), known(graphs[:2])
    for _ in range(3):
        passes(batch)
    assert not passes.failed
    assert recorder.replayed == 2


def test_a_size_that_does_not_fit_into_memory_is_not_recorded(graphs: list[CrystalGraph]) -> None:
    run, tried = Runs(), []

    def record(_run: Callable[[], Members]) -> tuple[Members, Callable[[], None]]:
        tried.append(1)
        raise torch.OutOfMemoryError("CUDA out of memory")

    passes, batch = Captured(run, record), known(graphs[:2])
    for _ in range(4):
        assert_same(passes(batch), run(batch))
    assert len(tried) == 1
    assert not passes.failed
