"""The benchmark for machines with a GPU: that it runs without one, and what it calculates besides times."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from ase.build import bulk
from benchmarks.speed import gpu
from benchmarks.tools.gpu import networks, tensor_products
from benchmarks.tools.gpu.floor import SENT_BY_SCALARS, TURNED, block, couplings, peaks, tensor_product
from benchmarks.tools.gpu.measuring import Table, run_sections
from benchmarks.tools.gpu.profiles import shares
from benchmarks.tools.reference import copy_weights
from e3nn import o3
from tests.kernels import load_kernels
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from voigt.graphs import build_graph, collate
from voigt.models.equivar.hypers import preset
from voigt.models.equivar.model import Equivar
from voigt.models.equivariant.frames import EdgeFrames
from voigt.models.equivariant.paths import NODE_ROWS, coupling_paths

CPU = torch.device("cpu")
HARMONICS = {"0e": slice(0, 1), "1o": slice(1, 4), "2e": slice(4, 9)}


def one_table() -> Iterator[Table]:
    yield Table("numbers", ["a", "b"], [["1", "2"]])


def failing() -> Iterator[Table]:
    yield from one_table()
    raise RuntimeError("no kernel image is available\nfor this device")


def endless() -> Iterator[Table]:
    yield from one_table()
    while True:
        with suppress(Exception):  # a section may catch what it likes
            time.sleep(5.0)


def test_sections_that_fail_leave_the_rest_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sections = {"fails": (9.0, failing), "endless": (0.3, endless), "good": (9.0, one_table)}
    missing = run_sections(sections, 60.0, "some device", tmp_path)
    assert missing == {"fails": "RuntimeError: no kernel image is available", "endless": "more than 0 s"}
    kept = json.loads((tmp_path / "gpu.json").read_text())["sections"]
    # What was measured before is kept, and printed.
    assert [len(kept[name]["tables"]) for name in sections] == [1, 1, 1]
    printed = capsys.readouterr().out
    assert printed.count("| 1 | 2 |") == 3
    assert "fails: not measured: RuntimeError: no kernel image is available\n" in printed


def test_sections_beyond_the_total_are_skipped() -> None:
    missing = run_sections({"endless": (60.0, endless), "late": (60.0, one_table)}, 1.2, "some device", None)
    assert missing == {"endless": "more than 1 s", "late": "the 1 s of all sections are used up"}


def kernel(name: str, start: float, duration: float, category: str = "kernel") -> dict[str, Any]:
    return {"ph": "X", "cat": category, "name": name, "ts": start, "dur": duration}


def test_shares_of_a_trace() -> None:
    events = [
        kernel("aten::mm", 0.0, 100.0, "cpu_op"),
        kernel("sm80_xmma_gemm_f32f32_tn", 10.0, 30.0),
        kernel("_messages_0d1d2", 50.0, 20.0),
        kernel("Memcpy DtoH", 60.0, 20.0, "gpu_memcpy"),  # half of it while the kernel before still runs
        kernel("vectorized_elementwise_kernel", 90.0, 5.0),
        kernel("vectorized_elementwise_kernel", 95.0, 5.0),
        {"ph": "s", "cat": "kernel", "name": "ac2g", "ts": 1.0},
    ]
    found = shares(events)
    assert found.busy == pytest.approx(70e-6)
    assert found.classes == pytest.approx({"matrix products": 30e-6, "messages": 20e-6, "memory": 30e-6})
    assert next(iter(found.kernels)) == "sm80_xmma_gemm_f32f32_tn"


@pytest.mark.parametrize(
    ("name", "bandwidth"),
    [("NVIDIA H200", 4.8e12), ("NVIDIA H100 80GB HBM3", 3.35e12), ("NVIDIA H100 PCIe", 2.0e12)],
)
def test_peaks_are_those_of_the_data_sheets(name: str, bandwidth: float) -> None:
    assert peaks(name).bandwidth == bandwidth


def test_turns_and_products_are_counted() -> None:
    """Against the axes themselves, and against e3nn's symbols along the pole, where one harmonic is left."""
    vectors = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    entries = EdgeFrames()(vectors).abs().amax(dim=0) > 0
    assert int(entries.sum()) == TURNED
    assert int(entries[:3].sum()) == SENT_BY_SCALARS  # rows 0e, 1o, 2e along the edge, see the first block below
    degree = {"0e": 0, "1o": 1, "1e": 1, "2e": 2}
    paths = coupling_paths(published=True)
    symbols = [o3.wigner_3j(degree[p.node], degree[p.edge], degree[p.out])[:, degree[p.edge]] for p in paths]
    products = sum(int((symbol.abs() > 1e-6).sum()) for symbol in symbols)
    scalar = sum(path.edge == "0e" for path in paths)
    assert couplings(preset("bm2")) == (len(paths), scalar, products)
    assert couplings(preset("bm2"), scalars=True) == (3, 1, 3)  # 0e x 0e, 1o, 2e


def test_operations_of_the_strengths_are_those_of_the_matrix_products() -> None:
    """Against torch's own count for e3nn's formulation with weights of each edge."""
    hypers = preset("bm2").model_copy(update={"interactions": 1})
    interaction = copy_weights(Equivar(hypers), "contracted").interactions[0]
    small, large = (networks.zirconia_batch((1, 1, repeats), 1, CPU) for repeats in (1, 2))
    counted = []
    for batch in (small, large):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            interaction.contracted_weights(torch.rand(len(batch.edge_source), hypers.num_radial), 0.28)
        counted.append(counter.get_total_flops())
    made = [
        block(hypers, b, False, False).operations - tensor_product(hypers, b, False).operations for b in (small, large)
    ]
    nodes = 24 * 32 * (32 + 1)  # of each atom: linear maps of 12 rows, and two additions
    atoms = len(large.numbers) - len(small.numbers)
    # Products of weights with weights do not grow with the edges.
    assert made[1] - made[0] - atoms * nodes == counted[1] - counted[0]


def plain_product(channels: int) -> tensor_products.Product:
    """Gathered, coupled by e3nn's symbols, summed; components outside."""
    paths = coupling_paths(published=True)

    def run(features: Tensor, weights: Tensor, graph: tensor_products.Graph) -> Tensor:
        given = features.view(len(features), 12, channels)[graph.source]
        total = torch.zeros(len(features), 12, channels)
        for path, weight in zip(paths, weights.unflatten(1, (-1, channels)).unbind(1), strict=True):
            symbol = o3.wigner_3j(int(path.node[0]), int(path.edge[0]), int(path.out[0]))
            scale = math.sqrt(symbol.shape[2] / sum(other.out == path.out for other in paths))
            sent, harmonics = given[:, NODE_ROWS[path.node]], graph.harmonics[:, HARMONICS[path.edge]]
            message = torch.einsum("ijk,eiu,ej,eu->eku", symbol * scale, sent, harmonics, weight)
            total[:, NODE_ROWS[path.out]] += torch.zeros(len(total), *message.shape[1:]).index_add(
                0, graph.target, message
            )
        return total.flatten(1)

    return tensor_products.Product(run)


def test_a_network_with_another_product_gives_the_same() -> None:
    """The path that the kernels of other libraries take, by sums that are written out here."""
    batch = tensor_products.sorted_batch(networks.zirconia_batch((1, 1, 1), 2, CPU))
    graph = tensor_products.make_graph(batch)
    pairs = torch.stack([graph.source, graph.target])[:, graph.transposed].T.tolist()
    assert pairs == sorted(pairs)
    model = Equivar(preset("bm2").model_copy(update={"interactions": 2}))
    reference = copy_weights(model, "contracted")
    with torch.no_grad():
        expected = reference(batch)
        found = tensor_products.KernelEquivar(reference, plain_product(32))(batch, graph)
    assert float((found - expected).abs().max()) < 1e-5 * float(expected.abs().max())


def test_only_what_agrees_is_timed() -> None:
    batch = tensor_products.sorted_batch(networks.zirconia_batch((1, 1, 1), 1, CPU))
    right = plain_product(32)
    wrong = tensor_products.Product(lambda *given: 1.01 * right.run(*given))
    products = {
        "absent": "ImportError: not installed",
        "e3nn": tensor_products.by_e3nn(coupling_paths(published=True), 32, CPU),
        "right": right,
        "wrong": wrong,
    }
    rows = networks.tensor_products(products, batch, tensor_products.make_graph(batch), True).rows
    assert rows[0][1] == "not measured: ImportError: not installed"
    assert [row[2] == "-" for row in rows] == [True, False, False, True]
    assert rows[3][1] == "not measured: differs from e3nn by 1e-02"


def test_kernels_of_voigt_agree_with_e3nn(monkeypatch: pytest.MonkeyPatch) -> None:
    """By Triton's interpreter, gradients too."""
    load_kernels(monkeypatch)
    crystal = bulk("MgO", "rocksalt", a=4.2)
    crystal.rattle(0.05, seed=0)
    batch = tensor_products.sorted_batch(collate([build_graph(crystal, 2.5)]))
    graph, channels = tensor_products.make_graph(batch), 4
    rows, weights = torch.randn(2, 12, channels), torch.randn(len(graph.source), 15 * channels)
    results = []
    for make in (tensor_products.by_e3nn, tensor_products.by_voigt):
        product = make(coupling_paths(published=True), channels, CPU)
        features, given = product.features(rows).requires_grad_(), weights.clone().requires_grad_()
        result = product.run(features, given, graph)
        of_features, of_weights = torch.autograd.grad(result.square().sum(), (features, given))
        results.append([product.rows(result), product.rows(of_features), of_weights])
    assert networks.relative(results[1], results[0]) < 1e-5


def test_layouts_go_back_and_forth() -> None:
    rows = torch.randn(3, 12, 5)
    flat = tensor_products.components_inside(rows)
    assert torch.equal(tensor_products.components_outside(flat), rows)
    # e3nn: channel by channel, the components of a type side by side.
    assert flat[0, 5:8].tolist() == rows[0, 1:4, 0].tolist()


def run_quickly(folder: Path, only: list[str]) -> dict[str, Any]:
    gpu.main(["--device", "cpu", "--quick", "-o", str(folder), *only])
    sections: dict[str, Any] = json.loads((folder / "gpu.json").read_text())["sections"]
    return sections


def test_it_runs_without_a_device(tmp_path: Path) -> None:
    sections = run_quickly(tmp_path, ["--only", "agreement,presets,training,profile"])
    assert {name: entry["problem"] for name, entry in sections.items()} == {
        "agreement": "",
        "presets": "",
        "training": "",
        "profile": "ValueError: only a CUDA device has a trace of kernels",
    }
    cells = [cell for entry in sections.values() for one in entry["tables"] for row in one["rows"] for cell in row]
    assert not [cell for cell in cells if "not measured" in cell]


@pytest.mark.slow
def test_all_of_it_runs_without_a_device(tmp_path: Path) -> None:
    sections = run_quickly(tmp_path, [])
    assert [name for name, entry in sections.items() if entry["problem"]] == ["profile"]
    assert len(sections) == 9
