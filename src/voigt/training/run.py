"""Training a recipe from data to a model file."""

from __future__ import annotations

import hashlib
import json
import logging
import signal
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor
from lightning.pytorch.loggers import TensorBoardLogger

from voigt.errors import OutputError, RecipeError, VoigtError, WeightsError
from voigt.models.checkpoint import load_model, save_model
from voigt.models.methods import build_network
from voigt.models.network import Network
from voigt.training.callbacks import (
    AtomicCheckpoints,
    Checkpoints,
    ProgressLines,
    RunningAverage,
    RunRecord,
    progress_callbacks,
)
from voigt.training.card import model_card
from voigt.training.checkpoints import read_checkpoint
from voigt.training.datamodule import CrystalDataModule, TrainingData, check_parts, read_data
from voigt.training.module import TrainingModule
from voigt.training.recipe import Recipe
from voigt.training.start import initial_network
from voigt.training.teacher import taught

log = logging.getLogger("voigt.training")

_MEANS = {"data_root", "threads", "compile", "workers", "graph_store"}
"""Keys of a recipe that do not decide the weights."""
_STATE = ("state_dict", "optimizer_states", "lr_schedulers", "loops", "callbacks", "voigt_run")
"""Without these a checkpoint would be taken up, and the training would be another."""
_FOREIGN = (AssertionError, AttributeError, IndexError, KeyError, OverflowError, RuntimeError, TypeError, ValueError)
"""What Lightning and torch raise where a checkpoint holds other things than they have written."""


@dataclass(frozen=True)
class TrainingResult:
    """What a finished training leaves.

    Attributes
    ----------
    model
        The model file: running-average weights of the validation with the lowest loss.
    network
        The same weights, in memory.
    metrics
        Validation figures of that moment.
    seconds
        Wall time of training and validation, over all processes of the run.
    """

    model: Path
    network: Network
    metrics: dict[str, float]
    seconds: float


class TrainingStopped(VoigtError):
    """Training was interrupted; checkpoints up to the last validation are on disk."""


def train(recipe: Recipe, folder: str | Path, resume: bool = False, data: TrainingData | None = None) -> TrainingResult:
    """Train a network and write `<folder>/<name>.safetensors`.

    After every validation the complete state goes to `<folder>/checkpoints/last.ckpt` and a row of figures to
    `<folder>/metrics.csv`. With `resume` training continues there and, on a CPU, ends with the same weights, bit for
    bit, as an uninterrupted run on the same machine.

    Parameters
    ----------
    recipe
        See `load_recipe`.
    folder
        Folder of the run.
    resume
        Continue an interrupted run; a finished one is returned as it is. The recipe must be the one it was started
        with, except that `epochs` may grow and `patience` and what does not touch the result may change.
    data
        Already read data (cross-validation).

    Raises
    ------
    RecipeError
        The folder holds a run and `resume` is false, there is nothing to resume, or the recipe or the data changed.
    TargetError
        No training or no validation crystal has one of the labels.
    WeightsError
        The checkpoint to resume from, or the model to start from, cannot be read.
    TrainingStopped
        Interrupted from the keyboard or by a signal.
    OutputError
        A checkpoint or log could not be written.
    """
    folder = Path(folder)
    last = folder / "checkpoints" / "last.ckpt"
    if resume and not last.is_file():
        raise RecipeError(f"nothing to resume in {folder}: no {last.name}; start without --resume")
    if not resume and last.is_file():
        raise RecipeError(f"{folder} holds an earlier run; continue it with --resume or choose another -o folder")
    data = read_data(recipe) if data is None else data
    check_parts(data, recipe)
    model = folder / f"{recipe.name}.safetensors"
    description = run_description(recipe, data)
    if resume:
        _check_resumable(last, description)
        finished = _finished(model, description)
        if finished is not None:
            return finished
    log.info("%d training, %d validation crystals", len(data.parts["train"]), len(data.parts["val"]))
    threads = torch.get_num_threads()
    torch.set_num_threads(recipe.threads)
    try:
        record = RunRecord(folder / "metrics.csv", description)
        network, metrics = _trained(recipe, folder, data, record, resume)
    finally:
        torch.set_num_threads(threads)
    network = delivered(network, recipe)
    save_model([network], model, model_card(recipe, data, metrics), recipe.stored_precision == "16")
    return TrainingResult(model, network, metrics, record.seconds)


def _trained(
    recipe: Recipe, folder: Path, data: TrainingData, record: RunRecord, resume: bool
) -> tuple[Network, dict[str, float]]:
    """The network of the best validation and the figures of that moment."""
    module_data = CrystalDataModule(recipe, data)
    network = initial_network(recipe, module_data.train_graphs)
    module_data.train_graphs = taught(module_data.train_graphs, recipe, torch.device("cpu"))
    if recipe.compile:
        network.compile_products()
    per_pass = max(len(module_data.train_graphs) // recipe.batch_size, 1)
    steps = recipe.steps_per_checkpoint or per_pass
    rounds = -(-recipe.epochs * per_pass // steps)
    module = TrainingModule(recipe, network, rounds * steps)
    keep = Checkpoints(folder / "checkpoints")
    try:
        _fit(recipe, folder, rounds, module, module_data, [record, keep], resume)
    except _FOREIGN as error:
        if not resume or record.started:
            raise
        raise _foreign(folder / "checkpoints" / "last.ckpt", error) from error
    best = read_checkpoint(keep.best_model_path)
    try:
        module.load_state_dict(best["state_dict"])
        return network, {key: float(value) for key, value in best["voigt_metrics"].items()}
    except _FOREIGN as error:
        raise _foreign(keep.best_model_path, error) from error


def delivered(network: Network, recipe: Recipe) -> Network:
    """The network without what it was taught as auxiliary targets only."""
    names = tuple(name for name in network.hypers.properties if not recipe.targets[name].auxiliary)
    if names == network.hypers.properties:
        return network
    smaller = build_network(network.hypers.model_copy(update={"properties": names}))
    trained = dict(network.named_parameters())
    with torch.no_grad():
        for name, parameter in smaller.named_parameters():
            parameter.copy_(trained[name])
    return smaller.to(next(network.parameters()).dtype).eval()


def run_description(recipe: Recipe, data: TrainingData) -> dict[str, Any]:
    """Everything that decides the weights of a run."""
    parts = json.dumps(data.parts, sort_keys=True)
    return {
        **recipe.model_dump(mode="json", exclude=_MEANS),
        "content of the data files": dict(data.digests),
        "choice of crystals": hashlib.sha256(parts.encode()).hexdigest()[:16],
    }


def _check_resumable(last: Path, description: Mapping[str, Any]) -> None:
    state = read_checkpoint(last)
    stored, absent = state.get("voigt_run"), [key for key in _STATE if not state.get(key)]
    if absent or not isinstance(stored, dict) or not isinstance(stored.get("epochs"), int):
        raise _foreign(last, f"without {', '.join(absent)}" if absent else "it does not say of which run")
    changed = [key for key in description if key not in ("epochs", "patience") and stored.get(key) != description[key]]
    if description["epochs"] < stored["epochs"]:
        changed.append("epochs (fewer)")
    if changed:
        raise RecipeError(
            f"{last.parent.parent} was started with other settings of {', '.join(changed)}; resume with the recipe and "
            "data it was started with, or choose another -o folder"
        )


def _foreign(path: str | Path, reason: object) -> WeightsError:
    """A checkpoint that can be read and does not fit the run."""
    said = " ".join(str(reason).split())[:200]
    return WeightsError(f"{path} is not a checkpoint of this training ({said}); start again in another folder")


def _finished(model: Path, description: Mapping[str, Any]) -> TrainingResult | None:
    """The result of a run that has written its model and is not to be extended."""
    if not model.is_file():
        return None
    loaded = load_model(model)
    if any(loaded.card.recipe.get(key) != description[key] for key in ("epochs", "patience")):
        return None
    return TrainingResult(model, loaded.members[0], dict(loaded.card.metrics), 0.0)


def _fit(
    recipe: Recipe,
    folder: Path,
    rounds: int,
    module: TrainingModule,
    data: CrystalDataModule,
    recorders: list[Any],
    resume: bool,
) -> None:
    last = folder / "checkpoints" / "last.ckpt"
    bars = progress_callbacks()
    callbacks = [*bars, LearningRateMonitor("epoch")]
    if recipe.optimizer.ema:
        callbacks.append(RunningAverage(recipe.optimizer.ema))
    if recipe.patience:
        callbacks.append(EarlyStopping("val/loss", patience=recipe.patience))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _quiet_lightning(), _kept_interrupt_handler():
            trainer = lightning.Trainer(
                accelerator="auto",
                devices=1,
                max_epochs=rounds,
                gradient_clip_val=recipe.optimizer.clip,
                precision="32-true",  # no conversion: network and batches already have the recipe's precision
                callbacks=callbacks + recorders,
                plugins=[AtomicCheckpoints()],
                logger=TensorBoardLogger(folder, "tensorboard", ""),
                enable_progress_bar=not any(isinstance(bar, ProgressLines) for bar in bars),
                enable_model_summary=False,
                num_sanity_val_steps=0,
                log_every_n_steps=1,
                use_distributed_sampler=False,
            )
            trainer.fit(module, data, ckpt_path=last if resume else None)
    except (KeyboardInterrupt, SystemExit) as error:
        raise TrainingStopped(f"training stopped; {_what_is_left(last)}") from error
    except (OSError, OutputError) as error:
        reason = error.strerror or error if isinstance(error, OSError) else str(error).partition(";")[0]
        raise OutputError(f"cannot write to {folder}: {reason}; free space, {_what_is_left(last)}") from error


def _what_is_left(last: Path) -> str:
    if last.is_file():
        return f"everything up to the last validation is in {last.parent.parent}, continue with --resume"
    return "there was no validation yet, so that there is nothing to resume: start again"


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keep Lightning's advice and advertisements from users; its warnings of real faults stay."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        # Graphs are in memory: worker processes would only copy them.
        warnings.filterwarnings("ignore", ".*does not have many workers.*")
        # Resuming writes into the folder of the run on purpose.
        warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty.*")
        warnings.filterwarnings("ignore", ".*LeafSpec.*is deprecated.*", FutureWarning)
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextmanager
def _kept_interrupt_handler() -> Iterator[None]:
    """Lightning turns Ctrl-C off for good after the first one; a notebook or script wants it back."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
