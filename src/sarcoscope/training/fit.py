"""One plain training loop, readable top to bottom (paper, section 1.3).

All that a step draws (tiles, their variation, mix-up, dropout) follows from the seed and the number of the step. So a
training that was killed and went on leaves the same history as one that was not, and workers change nothing.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Literal, Protocol, cast

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.functional import one_hot
from torch.optim.swa_utils import AveragedModel

from sarcoscope.core.errors import InputError, TrainingError
from sarcoscope.core.training import TrainConfig
from sarcoscope.data.augment import augmentation
from sarcoscope.data.batches import Batches, lost_workers_named, training_loader
from sarcoscope.data.labelled import LabelledTiles
from sarcoscope.data.mixing import Mixer, mixer
from sarcoscope.formats.history import Epoch, Timing
from sarcoscope.metrics.classification import better, scores
from sarcoscope.networks.cam_network import CamNetwork
from sarcoscope.networks.freezing import open_stages, parameter_groups, train_mode
from sarcoscope.training.devices import (
    align_buffers,
    as_input,
    ema_of,
    make_accelerator,
    memory_mb,
    named_errors,
    reproducible,
    shared,
    worker_count,
)
from sarcoscope.training.predict import Predictor
from sarcoscope.training.schedule import Plan, cosine, mixes, opened, opening_epochs, settle, stage_rates
from sarcoscope.training.state import Progress, read_state, restore, save_state, weights_of


class Listener(Protocol):
    """Who is told how a training goes; on the main process only."""

    def began(self, plan: Plan, progress: Progress) -> None:
        """It begins, or goes on where an earlier process was killed."""
        ...

    def stepped(self, progress: Progress) -> None:
        """A step is done."""
        ...

    def epoch_over(self, epoch: Epoch, timing: Timing) -> None:
        """An epoch is done and written. What it raises ends the training."""
        ...


class Silent:
    """Listens to nothing."""

    def began(self, plan: Plan, progress: Progress) -> None:
        """Nothing."""

    def stepped(self, progress: Progress) -> None:
        """Nothing."""

    def epoch_over(self, epoch: Epoch, timing: Timing) -> None:
        """Nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """What came of a training, beside the weights in the network."""

    plan: Plan
    history: tuple[Epoch, ...]
    timings: tuple[Timing, ...]
    best: int
    """Number of the epoch whose weights the network has."""
    stopped: Literal["by its length", "early"]


def fit(
    network: CamNetwork,
    train: LabelledTiles,
    validation: LabelledTiles | None,
    config: TrainConfig,
    *,
    drawn: Sequence[float],
    seed: int = 0,
    checkpoint: Path | None = None,
    key: str = "",
    accelerator: Accelerator | None = None,
    listener: Listener | None = None,
) -> Fitted:
    """Fit in place; the network is left with the best epoch's weights, or without validation the last one's.

    `drawn` are the shares of each class among the tiles drawn, (C,). From the file `checkpoint` a
    killed training goes on, if `key`, which stands for all that it depends on, is the same. Raises TrainingError, and
    SlideError for a tile that cannot be read.
    """
    accelerator = accelerator or make_accelerator(config)
    with reproducible(config, accelerator):
        training = Training.begin(
            network, settle(len(train.labels), config.length), config, drawn, accelerator, seed=seed
        )
        earlier = None if checkpoint is None else read_state(checkpoint, key)
        if earlier:
            training.progress = restore(earlier, network, training.ema, training.optimiser)
        plan, progress = training.plan, training.progress
        listener = listener if listener and accelerator.is_main_process else Silent()
        listener.began(plan, progress)
        loader = training.loader(train, drawn)
        judge = None if validation is None else Predictor(validation, config, accelerator)
        saved = perf_counter()
        over = training.is_over(judge)
        for images, labels in () if over else waited_for(loader, progress):  # (b, 3, side, side) uint8, (b,)
            training.step(images, labels)
            listener.stepped(progress)
            ends_epoch = progress.step % plan.steps_per_epoch == 0
            if ends_epoch:
                training.end_epoch(judge)
            if checkpoint and (ends_epoch or perf_counter() - saved > 60 * config.checkpoint_minutes):
                training.save(checkpoint, key)
                saved = perf_counter()
            if ends_epoch:
                listener.epoch_over(progress.history[-1], progress.timings[-1])
                if training.is_over(judge):
                    break
        return training.fitted()


@dataclass(slots=True, kw_only=True)
class Training:
    """The pieces of a training, and what a step and the end of an epoch do with them."""

    network: CamNetwork
    ema: AveragedModel | None
    optimiser: torch.optim.Optimizer
    criterion: nn.Module
    mix: Mixer
    plan: Plan
    openings: tuple[int, ...]
    """The epoch in which each stage opens, the topmost first."""
    config: TrainConfig
    seed: int
    accelerator: Accelerator
    progress: Progress = field(default_factory=Progress)
    model: nn.Module | None = None
    """The network as processes share it; wrapped anew whenever stages open."""
    open: int = -1
    """Stages that are open in it."""
    pending: Tensor | None = None
    """Of the last step over all processes, (): looked at one step later, so that the GPU need not wait for the CPU."""

    @classmethod
    def begin(
        cls,
        network: CamNetwork,
        plan: Plan,
        config: TrainConfig,
        shares: Sequence[float],
        to: Accelerator,
        *,
        seed: int,
    ) -> "Training":
        """All pieces on the device."""
        if plan.batch % to.num_processes:
            problem = f"a batch of {plan.batch} tiles for {to.num_processes} processes"
            raise InputError(problem, "give a length.batch that they can share evenly")
        network.to(to.device).eval()  # the first step puts into training mode what is open
        if config.channels_last:
            network.to(memory_format=torch.channels_last)
        if config.compile:
            network.compile()
        stages, optimiser = len(network.stages()), config.optimiser
        rates = stage_rates(stages, optimiser.learning_rate * optimiser.backbone, config.unfreeze.decay)
        groups = parameter_groups(network, rates, optimiser.learning_rate, optimiser.weight_decay)
        for group in groups:
            group["rate"] = group["lr"]  # its largest
        weights = torch.tensor([1 / share if share else 0.0 for share in shares]) if optimiser.class_weights else None
        return cls(
            network=network,
            ema=ema_of(network, plan) if optimiser.ema else None,
            optimiser=torch.optim.AdamW(groups),
            criterion=nn.CrossEntropyLoss(
                None if weights is None else weights / weights.mean(), label_smoothing=optimiser.label_smoothing
            ).to(to.device),
            mix=mixer(config.mix, network.head.out_features),
            plan=plan,
            openings=opening_epochs(stages, plan.epochs, config.unfreeze),
            config=config,
            seed=seed,
            accelerator=to,
        )

    def loader(self, tiles: LabelledTiles, shares: Sequence[float]) -> Batches:
        """This process's part of the batches that are still to come."""
        return training_loader(
            tiles,
            augmentation(self.config.augment, tiles.side_px),
            shares=shares,
            batch=self.plan.batch,
            steps_per_epoch=self.plan.steps_per_epoch,
            steps=self.plan.steps,
            start_step=self.progress.step,
            seed=self.seed,
            rank=self.accelerator.process_index,
            world=self.accelerator.num_processes,
            workers=worker_count(self.config, self.accelerator),
        )

    def step(self, images: Tensor, labels: Tensor) -> None:
        """One step on this process's share of a batch: (b, 3, side, side) uint8 and (b,) class indices."""
        begin, config, progress = perf_counter(), self.config, self.progress
        epoch = progress.step // self.plan.steps_per_epoch
        if self.open != opened(epoch, self.openings) or self.model is None:
            self.open = opened(epoch, self.openings)
            open_stages(self.network, self.open)
            self.model = shared(self.network, self.accelerator)
        if not self.network.training:
            train_mode(self.network, train_batch_norm=config.unfreeze.train_batch_norm)
        factor = cosine(progress.step, self.plan.steps, config.optimiser.warm_up)
        for group in self.optimiser.param_groups:
            group["lr"] = group["rate"] * factor
        torch.manual_seed(seed_of(self.seed, progress.step, self.accelerator.process_index))  # mix-up and dropout
        with named_errors(config, self.plan), lost_workers_named():
            inputs, labels = self._inputs(images), labels.to(self.accelerator.device)
            # (b, C): of mere labels with weights torch takes another mean, which differs in each share of a batch
            targets = one_hot(labels, self.network.head.out_features).float()
            if mixes(epoch, self.plan.epochs, config.mix.off_last):
                inputs, targets = self.mix(inputs, labels)  # (b, 3, side, side), (b, C)
            self.optimiser.zero_grad(set_to_none=True)
            loss = torch.zeros((), device=self.accelerator.device)
            parts = min(config.length.accumulate, len(inputs))
            for some, wanted in zip(inputs.chunk(parts), targets.chunk(parts), strict=True):
                with self.accelerator.autocast():
                    logits: Tensor = self.model(some)
                part = self.criterion(logits.float(), wanted) * (len(some) / len(inputs))  # (b, C) -> ()
                self.accelerator.backward(part)
                loss += part.detach()
            if config.optimiser.clip:
                self.accelerator.clip_grad_norm_(self.network.parameters(), config.optimiser.clip)
            self.optimiser.step()
            if self.ema is not None:
                self.ema.update_parameters(self.network)
        self._look_at_loss()
        self.pending = self.accelerator.reduce(loss, "mean")  # so that all processes see the same one, and end as one
        progress.step += 1
        progress.seconds += perf_counter() - begin

    def end_epoch(self, validation: Predictor | None) -> None:
        """Validate, write the epoch down, and remember its weights where they are the best so far."""
        begin, config, progress = perf_counter(), self.config, self.progress
        self._look_at_loss()
        kept = self.network if self.ema is None else cast("CamNetwork", self.ema.module)
        align_buffers(kept, self.accelerator)
        judged = None
        if validation is not None:
            with named_errors(config, self.plan), lost_workers_named():
                probabilities = validation(kept)
            judged = scores(validation.tiles.labels, probabilities, validation.tiles.slides)
            if getattr(judged, config.metric) is None:
                problem = f"validation tiles give no {config.metric}, by which the best epoch is chosen"
                raise TrainingError(problem, "choose another `metric`, or split so that every class validates")
        best = progress.history[progress.best - 1].validation if progress.best else None
        number = len(progress.history) + 1
        if judged is None or better(judged, best, config.metric):
            progress.best, progress.best_weights = number, weights_of(kept)
        progress.history.append(
            Epoch(
                number=number,
                step=progress.step,
                images=progress.step * self.plan.batch,
                loss=progress.loss / self.plan.steps_per_epoch,
                learning_rate=max(group["lr"] for group in self.optimiser.param_groups),
                open_stages=self.open,
                mixed=mixes(number - 1, self.plan.epochs, config.mix.off_last),
                validation=judged,
            )
        )
        progress.timings.append(
            Timing(
                number=number,
                seconds=progress.seconds + progress.waited,
                images_per_second=self.plan.steps_per_epoch * self.plan.batch / (progress.seconds + progress.waited),
                wait_share=progress.waited / (progress.seconds + progress.waited),
                validation_seconds=perf_counter() - begin,
                memory_mb=memory_mb(self.accelerator),
            )
        )
        progress.loss = progress.seconds = progress.waited = 0.0
        self.network.eval()  # until the next step, which puts into training mode what is open then

    def is_over(self, validation: Predictor | None) -> bool:
        """Whether the last step is done, or nothing got better for so long, counted from when all stages are open."""
        epochs = len(self.progress.history)
        if self.progress.step >= self.plan.steps:
            return True
        since = max([self.progress.best, *self.openings])
        return validation is not None and epochs - since >= self.plan.patience

    def save(self, path: Path, key: str) -> None:
        """Write the checkpoint, on the main process."""
        self._look_at_loss()
        if self.accelerator.is_main_process:
            save_state(path, self.progress, self.network, self.ema, self.optimiser, key=key)

    def fitted(self) -> Fitted:
        """Put the kept weights into the network, out of training mode."""
        assert self.progress.best_weights is not None
        self.network.load_state_dict(self.progress.best_weights)
        self.network.eval()
        self.accelerator.wait_for_everyone()
        return Fitted(
            plan=self.plan,
            history=tuple(self.progress.history),
            timings=tuple(self.progress.timings),
            best=self.progress.best,
            stopped="by its length" if self.progress.step >= self.plan.steps else "early",
        )

    def _inputs(self, images: Tensor) -> Tensor:
        return as_input(images, self.network, self.accelerator, channels_last=self.config.channels_last)

    def _look_at_loss(self) -> None:
        """Add the last step's loss to the epoch's. TrainingError where it is no number."""
        if self.pending is None:
            return
        loss, self.pending = float(self.pending), None
        if not math.isfinite(loss):
            problem = f"the loss is {loss} in step {self.progress.step} of {self.plan.steps}"
            rate = self.config.optimiser.learning_rate
            raise TrainingError(problem, f"lower optimiser.learning_rate ({rate:g}), or set precision: fp32")
        self.progress.loss += loss


def waited_for(loader: Iterable[tuple[Tensor, Tensor]], progress: Progress) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of a loader; what it takes until one is there is added to `progress.waited`."""
    batches = iter(loader)
    while True:
        begin = perf_counter()
        try:
            batch = next(batches)
        except StopIteration:
            return
        progress.waited += perf_counter() - begin
        yield batch


def seed_of(seed: int, step: int, rank: int) -> int:
    """Of a step's mix-up and dropout, on one process."""
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0] >> np.uint64(1))
