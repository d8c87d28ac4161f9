"""Training a recipe from data to a model file."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from voigt.errors import OutputError, RecipeError, VoigtError
from voigt.models.checkpoint import ModelCard, save_model
from voigt.models.equivar.model import Equivar
from voigt.training.callbacks import RunningAverage, progress_callbacks
from voigt.training.datamodule import CrystalDataModule, TrainingData, read_data
from voigt.training.module import TrainingModule
from voigt.training.recipe import Recipe
from voigt.training.start import initial_network

log = logging.getLogger("voigt.training")


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
        Wall time of this process (a resumed run counts from the resumption).
    """

    model: Path
    network: Equivar
    metrics: dict[str, float]
    seconds: float


class TrainingStopped(VoigtError):
    """Training was interrupted; checkpoints up to the last validation are on disk."""


def train(recipe: Recipe, folder: str | Path, resume: bool = False, data: TrainingData | None = None) -> TrainingResult:
    """Train a network and write `<folder>/<name>.safetensors`.

    After every validation the complete state goes to `<folder>/checkpoints/last.ckpt`. With `resume` training continues
    there and ends with the same weights, bit for bit, as an uninterrupted run on the same machine.

    Parameters
    ----------
    recipe
        See `load_recipe`.
    folder
        Folder of the run.
    resume
        Continue an interrupted run.
    data
        Already read data (cross-validation).

    Raises
    ------
    RecipeError
        The folder holds a run and `resume` is false, or there is nothing to resume.
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
    torch.set_num_threads(recipe.threads)
    data = read_data(recipe) if data is None else data
    log.info("%d training, %d validation crystals", len(data.parts["train"]), len(data.parts["val"]))
    module_data = CrystalDataModule(recipe, data)
    network = initial_network(recipe, module_data.train_graphs)
    if recipe.compile:
        network.compile_products()
    sampler_steps = recipe.steps_per_checkpoint or max(len(module_data.train_graphs) // recipe.batch_size, 1)
    rounds = recipe.epochs
    if recipe.steps_per_checkpoint:
        per_pass = max(len(module_data.train_graphs) // recipe.batch_size, 1)
        rounds = -(-recipe.epochs * per_pass // recipe.steps_per_checkpoint)
    module = TrainingModule(recipe, network, rounds * sampler_steps)
    keep = ModelCheckpoint(
        folder / "checkpoints", "best", monitor="val/loss", save_top_k=1, save_last=True, enable_version_counter=False
    )
    started = time.monotonic()
    _fit(recipe, folder, rounds, module, module_data, keep, last if resume else None)
    best = torch.load(keep.best_model_path, map_location="cpu", weights_only=False)
    module.load_state_dict(best["state_dict"])
    metrics = {key: float(value) for key, value in best.get("voigt_metrics", {}).items()}
    model = folder / f"{recipe.name}.safetensors"
    save_model([network], model, model_card(recipe, data, metrics))
    return TrainingResult(model, network, metrics, time.monotonic() - started)


class _KeepMetrics(lightning.Callback):
    """Write the validation figures into every checkpoint."""

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, object]
    ) -> None:
        checkpoint["voigt_metrics"] = {
            key: float(value) for key, value in trainer.callback_metrics.items() if key.startswith("val/")
        } | {"epoch": float(pl_module.current_epoch + 1)}


def _fit(
    recipe: Recipe,
    folder: Path,
    rounds: int,
    module: TrainingModule,
    data: CrystalDataModule,
    keep: ModelCheckpoint,
    resume_from: Path | None,
) -> None:
    bars = progress_callbacks()
    callbacks = [*bars, LearningRateMonitor("epoch"), _KeepMetrics()]
    if recipe.optimizer.ema:
        callbacks.append(RunningAverage(recipe.optimizer.ema))
    callbacks.append(keep)
    if recipe.patience:
        callbacks.append(EarlyStopping("val/loss", patience=recipe.patience))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trainer = lightning.Trainer(
            accelerator="auto",
            devices=1,
            max_epochs=rounds,
            gradient_clip_val=recipe.optimizer.clip,
            precision="64-true" if recipe.precision == "64" else "32-true",
            callbacks=callbacks,
            logger=[CSVLogger(folder, "log", ""), TensorBoardLogger(folder, "tensorboard", "")],
            enable_progress_bar=not any(type(bar).__name__ == "ProgressLines" for bar in bars),
            enable_model_summary=False,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
            use_distributed_sampler=False,
        )
        with warnings.catch_warnings():
            # Graphs are in memory: worker processes would only copy them.
            warnings.filterwarnings("ignore", ".*does not have many workers.*")
            warnings.filterwarnings("ignore", ".*training_step.* returned .None.*")
            trainer.fit(module, data, ckpt_path=resume_from, weights_only=False)
    except (KeyboardInterrupt, SystemExit) as error:
        raise TrainingStopped(
            f"training stopped; everything up to the last validation is in {folder}, continue with --resume"
        ) from error
    except OSError as error:
        raise OutputError(
            f"cannot write to {folder}: {error.strerror or error}; free space, then continue with --resume"
        ) from error


def model_card(recipe: Recipe, data: TrainingData, metrics: dict[str, float]) -> ModelCard:
    """What the model file says of its training."""
    train = data.select("train")
    return ModelCard(
        elements=tuple(int(z) for z in np.unique(np.concatenate([c.atoms.numbers for c in train]))),
        functionals=recipe.model.functionals or functionals_of(data),
        data=data.digests,
        metrics=metrics,
        recipe=recipe.model_dump(mode="json", exclude={"data_root"}),
    )


def functionals_of(data: TrainingData) -> tuple[str, ...]:
    """Functionals of the training labels, the most frequent first."""
    names: Sequence[str] = [c.functional for c in data.select("train") if c.functional]
    return tuple(sorted(set(names), key=lambda name: (-names.count(name), name)))
