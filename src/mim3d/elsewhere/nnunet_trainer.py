"""A trainer for nnU-Net (2.8) that begins with an encoder's weights; nnU-Net alone imports it.

What nnU-Net does stays its own: planning, splits, augmentation, sampling, loss, inference.
"""

from pathlib import Path
from typing import Any

import torch
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from mim3d.config import Optimisation
from mim3d.downstream.backbone import load_into
from mim3d.elsewhere.nnunet_network import NnunetSegmenter
from mim3d.errors import CheckpointError
from mim3d.train.optim import build_optimizer


class MimTrainer(nnUNetTrainer):  # type: ignore[misc]  # nnU-Net has no types
    """nnU-Net's trainer with a MiM encoder: AdamW, warm-up, no deep supervision, not compiled."""

    encoder: Path | None = None
    """Folder of the weights to begin with; None: from scratch."""
    epochs = 1000
    iterations = 250
    """Of an epoch."""
    validation_iterations = 50
    """Of an epoch."""
    peak_lr = 3e-4
    warmup_epochs = 20

    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008  as nnU-Net has it, which reads this signature
    ) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.enable_deep_supervision = False
        self.num_epochs, self.num_iterations_per_epoch = self.epochs, self.iterations
        self.num_val_iterations_per_epoch = self.validation_iterations
        self.initial_lr, self.weight_decay = self.peak_lr, 1e-5

    def initialize(self) -> None:
        """Build the network, then fill its encoder.

        Raises:
            CheckpointError: If a tensor of the encoder is missing, too many or of another shape.
        """
        super().initialize()
        if self.encoder is None:
            return
        network = self.network.module if self.is_ddp else self.network
        assert isinstance(network, NnunetSegmenter)
        report = load_into(network.segmenter.encoder, self.encoder, adapt=True)
        if report.missing or report.unexpected:
            raise CheckpointError(
                f"{self.encoder}: weights do not fit the plans: {report}; export both together"
            )
        self.print_to_log_file(f"{self.encoder.parent.name}: {report}")

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, PolyLRScheduler]:
        """AdamW; its rate rises over the first epochs, then falls as nnU-Net's does."""
        rates = Optimisation(lr=self.initial_lr, weight_decay=self.weight_decay, betas=(0.9, 0.999))
        optimizer = build_optimizer(self.network, rates)
        warmup = min(self.warmup_epochs, self.num_epochs // 10)
        return optimizer, WarmPoly(optimizer, self.initial_lr, self.num_epochs, warmup)

    def set_deep_supervision_enabled(self, enabled: bool) -> None:
        """There is none."""

    def _do_i_compile(self) -> bool:
        """Never: the encoder's own backward passes were not tried under torch.compile."""
        return False


class WarmPoly(PolyLRScheduler):  # type: ignore[misc]  # nnU-Net has no types
    """nnU-Net's polynomial after a linear rise, in epochs."""

    def __init__(self, optimizer: torch.optim.Optimizer, lr: float, epochs: int, warmup: int) -> None:
        self.warmup = warmup
        super().__init__(optimizer, lr, epochs)

    def step(self, current_step: int | None = None) -> None:
        """Set the rate of an epoch, counted from 0; of the next one if none is named."""
        super().step(current_step)
        epoch = self.ctr - 1 if current_step is None or current_step == -1 else current_step
        if epoch < self.warmup:
            for group in self.optimizer.param_groups:
                group["lr"] *= (epoch + 1) / (self.warmup + 1)
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]
