"""Training at the speed of a device: graphs stay on it, steps do not wait for it, several members side by side.

The same networks, losses, optimizer, schedule and order of crystals as `voigt.training.run`, in a plain loop.
"""

from __future__ import annotations

import json
import logging
import math
import multiprocessing
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from voigt.errors import DomainError, RecipeError
from voigt.files import atomic_write, make_folder
from voigt.graphs import pack
from voigt.models.checkpoint import load_model, save_model
from voigt.models.network import Network
from voigt.training.callbacks import write_rows
from voigt.training.card import model_card
from voigt.training.checkpoints import checkpoint_bytes, read_checkpoint
from voigt.training.datamodule import CrystalDataModule, ShuffledBatches, TrainingData, check_parts, read_data
from voigt.training.ensemble import join_models, member_recipe
from voigt.training.module import Sums, add_validation, learning_rate, validation_figures
from voigt.training.recipe import Recipe
from voigt.training.resident import ResidentGraphs, batch_shapes, fitting
from voigt.training.run import TrainingResult, delivered, run_description
from voigt.training.start import initial_network
from voigt.training.steps import RecordedSteps, Stepper
from voigt.training.teacher import taught

log = logging.getLogger("voigt.training")

VALIDATIONS = 50
"""With a time budget there are at most about so many."""
MEASURED = 100
"""Steps after which their number is estimated from the rate; fewer on a CPU if few are expected."""
VALIDATION_EDGES = {"cpu": 8_000, "cuda": 40_000}
"""Edges of a validation batch: what fits a cache, and what fills a device."""


@dataclass(frozen=True)
class Budget:
    """Where and how long.

    Attributes
    ----------
    device
        "cpu", "cuda" or "cuda:1".
    seconds
        Wall time of the loop, validation included; None: the passes of the recipe.
    processor_time
        Count the time of this process's processor instead, on a CPU with other work to do.
    """

    device: str = "cpu"
    seconds: float | None = None
    processor_time: bool = False


@dataclass
class _Progress:
    """What is not in the stepper."""

    step: int = 0
    seconds: float = 0.0
    best: float = math.inf
    metrics: dict[str, float] = field(default_factory=dict)
    weights: list[Tensor] = field(default_factory=list)
    waiting: int = 0
    """Validations since the best one."""
    rows: list[dict[str, float]] = field(default_factory=list)
    """Figures of each validation."""


def train_on_device(
    recipe: Recipe, folder: str | Path, budget: Budget, resume: bool = False, data: TrainingData | None = None
) -> TrainingResult:
    """Train a network with its graphs resident on a device, and write `<folder>/<name>.safetensors`.

    The state goes to `<folder>/device.ckpt` and a row of figures to `<folder>/metrics.csv` after every validation.

    Parameters
    ----------
    recipe
        See `load_recipe`. With a time budget the model file states the passes that were made as `epochs`.
    folder
        Of the run.
    budget
        Device, and time if not the recipe's passes.
    resume
        Continue an interrupted run; a finished one is returned as it is.
    data
        Already read data.

    Raises
    ------
    RecipeError
        The folder holds a run and `resume` is false, or the recipe changed; the network needs canonical axes; the loss
        is no longer finite.
    DomainError
        There is no such device.
    TargetError, WeightsError, OutputError
        As `train`.
    """
    device = _device(budget.device)
    folder = Path(folder)
    checkpoint, model = folder / "device.ckpt", folder / f"{recipe.name}.safetensors"
    if resume and model.is_file():
        loaded = load_model(model)
        return TrainingResult(model, loaded.members[0], dict(loaded.card.metrics), 0.0)
    if not resume and (checkpoint.is_file() or model.is_file()):
        raise RecipeError(f"{folder} holds an earlier run; continue it with --resume or choose another -o folder")
    data = read_data(recipe) if data is None else data
    check_parts(data, recipe)
    description = run_description(recipe, data)
    stored = read_checkpoint(checkpoint) if resume and checkpoint.is_file() else None
    if stored is not None and stored["description"] != _plain(description):
        raise RecipeError(f"{folder} was started with another recipe or other data; choose another -o folder")
    threads = torch.get_num_threads()
    torch.set_num_threads(recipe.threads)
    try:
        loop = _Loop(recipe, data, device, budget)
        if stored is not None:
            loop.restore(stored)

        def save(state: dict[str, Any]) -> None:
            write_rows(make_folder(folder) / "metrics.csv", state["rows"])
            _write(checkpoint, {**state, "description": _plain(description)})

        loop.run(save)
    finally:
        torch.set_num_threads(threads)
    progress, passes = loop.progress, loop.progress.step / loop.per_pass
    made = recipe if budget.seconds is None else recipe.model_copy(update={"epochs": max(math.ceil(passes), 1)})
    network = delivered(loop.best_network(), recipe)
    save_model([network], model, model_card(made, data, progress.metrics), recipe.stored_precision == "16")
    log.info("%s: %d steps, %.1f passes, %.0f s on %s", recipe.name, progress.step, passes, progress.seconds, device)
    return TrainingResult(model, network, progress.metrics, progress.seconds)


class _Loop:
    """One network, its graphs on the device, and how far it has come."""

    def __init__(self, recipe: Recipe, data: TrainingData, device: torch.device, budget: Budget) -> None:
        module = CrystalDataModule(recipe, data)
        log.info("%d training, %d validation crystals", len(module.train_graphs), len(module.val_graphs))
        network = initial_network(recipe, module.train_graphs).to(device).train()
        train_graphs = taught(module.train_graphs, recipe, device)
        if recipe.compile:
            network.compile_products()
        functionals = recipe.model.functionals
        self.recipe, self.network, self.device, self.seconds = recipe, network, device, budget.seconds
        self.now = time.process_time if budget.processor_time else time.monotonic
        self.train = ResidentGraphs(train_graphs, functionals, device)
        self.val = ResidentGraphs(module.val_graphs, functionals, device)
        self.stepper = Stepper(recipe, network)
        self.progress = _Progress()
        size = min(recipe.batch_size, len(self.train))
        self.per_pass = len(self.train) // size
        self.total = recipe.epochs * self.per_pass
        """Steps of the schedule; with a time budget an estimate, renewed at every validation."""
        shapes = batch_shapes(self.train, size, recipe.seed) if device.type == "cuda" else []
        self.steps = RecordedSteps(self.train, self.stepper, shapes, size)
        self.order: NDArray[np.int64] | None = None
        """Batches of the current pass, here and on the device."""
        self.order_there = torch.empty(0, dtype=torch.int64)

    def restore(self, stored: Mapping[str, Any]) -> None:
        """Continue from the content of a checkpoint."""
        self.stepper.restore(stored["stepper"])
        weights = [tensor.to(self.device) for tensor in stored["best_weights"]]
        self.total = stored["total"]
        told = dict(stored["metrics"]), weights, stored["waiting"], list(stored["rows"])
        self.progress = _Progress(stored["step"], stored["seconds"], stored["best"], *told)

    def run(self, save: Callable[[dict[str, Any]], None]) -> None:
        """Steps until the passes are made or the time is over; `save` is called with the state after validations."""
        cuda = self.device.type == "cuda"
        if cuda:
            torch.cuda.synchronize(self.device)  # what made weights and averages ran on another stream
        with torch.cuda.stream(torch.cuda.Stream(self.device)) if cuda else nullcontext():
            clock = _Clock(self.seconds, self.progress.seconds, self.now)
            every, validated = self.recipe.steps_per_checkpoint or self.per_pass, clock.elapsed()
            # Where a step takes seconds, a hundred of them may be more than there is time for.
            measured = MEASURED if cuda else min(MEASURED, max(self.total // 10, 1))
            while self.progress.step < self.total and not self._idle():
                self._step()
                step = self.progress.step
                if self.seconds is not None and step % measured == 0:
                    self._wait()
                    self.total = clock.estimate(step, self.total)
                rare = self.seconds is not None and clock.elapsed() - validated < self.seconds / VALIDATIONS
                if step < self.total and (rare or step % every):
                    continue
                begun = clock.elapsed()
                self._validate(begun)
                validated = self.progress.seconds = clock.elapsed()
                clock.reserve = validated - begun
                save(self._state())

    def _idle(self) -> bool:
        """Whether validation has not improved for as long as the recipe waits."""
        return self.recipe.patience is not None and self.progress.waiting >= self.recipe.patience

    def _step(self) -> None:
        """The next step of the stream of batches."""
        turn, place = divmod(self.progress.step, self.per_pass)
        if place == 0 or self.order is None:
            batches = ShuffledBatches(len(self.train), self.recipe.batch_size, self.recipe.seed, None)
            batches.set_epoch(turn)
            self.order = np.array(list(batches))
            self.order_there = torch.as_tensor(self.order).to(self.device)
        settings, step = self.recipe.optimizer, self.progress.step
        self.stepper.set_rates(step, settings.lr * learning_rate(step, self.total, settings))
        need = self.train.need(self.order[place])
        self.steps(self.order_there[place], fitting(self.steps.shapes, need) or need)
        self.progress.step += 1

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _validate(self, seconds: float) -> None:
        """Figures of the running average, `seconds` after the start; the best so far is kept."""
        loss, sums = self.stepper.mean_loss(), Sums()
        kept = self._exchange(self.stepper.average if self.recipe.optimizer.ema else None)
        self.network.eval()
        edges = self.val.sizes["edges"]
        order = np.argsort(edges, kind="stable")
        with torch.set_grad_enabled(self.device.type == "cuda"):  # else a compiled network would be compiled again
            for rows in pack(edges[order].tolist(), VALIDATION_EDGES[self.device.type]):
                chosen = order[rows]
                batch = self.val.batch(torch.as_tensor(chosen).to(self.device), self.val.need(chosen))
                predicted = {name: value.detach() for name, value in self.network(batch).items()}
                add_validation(sums, predicted, batch, self.recipe)
        figures = validation_figures(sums, self.recipe)
        self.progress.waiting += 1
        if figures["val/loss"] < self.progress.best:
            self.progress.waiting = 0
            self.progress.best = figures["val/loss"]
            self.progress.weights = [parameter.detach().clone() for parameter in self.stepper.parameters]
            self.progress.metrics = {**figures, "epoch": self.progress.step / self.per_pass}
        self._exchange(kept)
        self.network.train()
        text = " ".join(f"{key}={value:.4f}" for key, value in figures.items())
        rate = self.recipe.optimizer.lr * learning_rate(self.progress.step, self.total, self.recipe.optimizer)
        place = {"epoch": self.progress.step / self.per_pass, "step": self.progress.step}
        self.progress.rows.append({**place, "seconds": round(seconds, 1), "lr": rate, "train/loss": loss, **figures})
        done = f"step {self.progress.step}/{self.total} pass {self.progress.step / self.per_pass:.1f}"
        log.info("%s train/loss=%.4f %s", done, loss, text)

    def _exchange(self, weights: Sequence[Tensor] | None) -> list[Tensor] | None:
        """Put other weights in the place of the network's, which are returned; None: leave them."""
        if weights is None:
            return None
        kept = [parameter.detach().clone() for parameter in self.stepper.parameters]
        with torch.no_grad():
            for parameter, value in zip(self.stepper.parameters, weights, strict=True):
                parameter.copy_(value)
        return kept

    def _state(self) -> dict[str, Any]:
        progress = self.progress
        return {
            "stepper": self.stepper.state(),
            "step": progress.step,
            "total": self.total,
            "seconds": progress.seconds,
            "best": progress.best,
            "metrics": progress.metrics,
            "best_weights": progress.weights,
            "waiting": progress.waiting,
            "rows": progress.rows,
        }

    def best_network(self) -> Network:
        """The network with the weights of the best validation, on the CPU."""
        self._exchange(self.progress.weights)
        return self.network.eval().cpu()


class _Clock:
    """How many steps there is time for."""

    def __init__(self, seconds: float | None, spent: float, now: Callable[[], float]) -> None:
        self.now, self.seconds, self.started = now, seconds, now() - spent
        self.marks: deque[tuple[float, int]] = deque(maxlen=8)
        self.reserve = 0.0
        """Seconds of the last validation, kept for the one at the end."""

    def elapsed(self) -> float:
        return self.now() - self.started

    def estimate(self, step: int, total: int) -> int:
        """Steps of the whole schedule, from those since some calls ago, validations included; `total` at first."""
        if self.seconds is None:
            return total
        now = self.elapsed()
        left = self.seconds - now - self.reserve
        self.marks.append((now, step))
        (then, past) = self.marks[0]
        if left <= 0:
            return step
        # Before the first call compilers were at work.
        return total if past == step else step + math.ceil(left * (step - past) / (now - then))


def train_members_on_device(
    recipe: Recipe, members: int, folder: str | Path, budget: Budget, resume: bool = False
) -> Path:
    """Train the members of an ensemble side by side, one process each, and join them; see `train_ensemble`.

    Returns
    -------
    Path of `<folder>/<name>.safetensors`.

    Raises
    ------
    RecipeError, DomainError, TargetError, WeightsError, OutputError
        As `train_on_device`, of the first member that failed.
    """
    _device(budget.device)
    folder = Path(folder)
    data = read_data(recipe)
    if recipe.graph_store is not None:
        CrystalDataModule(recipe, data)  # by all processors, before the members look for it
    places = [folder / f"member-{k}" for k in range(members)]
    # A forked process cannot use CUDA.
    with ProcessPoolExecutor(members, mp_context=multiprocessing.get_context("spawn")) as pool:
        jobs = [
            pool.submit(_member, member_recipe(recipe, k), place, budget, resume, data)
            for k, place in enumerate(places)
        ]
        files = [job.result() for job in jobs]
    return join_models(files, folder / f"{recipe.name}.safetensors")


def _member(recipe: Recipe, place: Path, budget: Budget, resume: bool, data: TrainingData) -> Path:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(f"{place.name}: %(message)s"))
    log.handlers, log.propagate = [handler], False
    log.setLevel(logging.INFO)
    return train_on_device(recipe, place, budget, resume, data).model


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DomainError(f"no device '{name}'; choose cpu, cuda or cuda:N") from error
    if device.type not in VALIDATION_EDGES:
        raise DomainError(f"training does not run on device '{name}'; choose cpu, cuda or cuda:N")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise DomainError("this installation of torch sees no CUDA device; train with --device cpu")
    return device


def _write(path: Path, state: Mapping[str, Any]) -> None:
    with atomic_write(path, "wb") as stream:
        stream.write(checkpoint_bytes(state))


def _plain(description: Mapping[str, Any]) -> dict[str, Any]:
    """As it comes back from a file."""
    plain: dict[str, Any] = json.loads(json.dumps(description))
    return plain
