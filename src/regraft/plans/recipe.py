"""What holds for all phases of a plan: optimizer, batch, augmentation, and what guards it."""

from __future__ import annotations

from dataclasses import dataclass

from regraft.plans.phase import setting

OPTIMIZERS = ("adamw", "sgd")
CLASS_WEIGHTS = ("none", "auto")
BATCH_NORM = ("keep", "update")
AMP = ("auto", "f32", "bf16")
KEEP = ("auto", "full", "half", "live")
MEMORY = ("auto", "contiguous", "channels_last")


@dataclass(frozen=True)
class Recipe:
    """Settings of a training run; every field is a flag of `regraft fit` and a key of run.toml."""

    optimizer: str = setting("adamw", "adamw or sgd.", "Loshchilov & Hutter 2019, arXiv:1711.05101")  # type: ignore[assignment]
    momentum: float = setting(0.9, "Of sgd.")  # type: ignore[assignment]
    weight_decay: float = setting(0.01, "Not applied to norms and biases.")  # type: ignore[assignment]
    batch: int = setting(32, "Rows per step of the optimizer; never changed to be faster.")  # type: ignore[assignment]
    accumulate: int = setting(1, "Parts that a batch is computed in, to need less memory.")  # type: ignore[assignment]
    clip: float = setting(1.0, "Largest norm of the gradient; 0 does not clip.")  # type: ignore[assignment]
    label_smoothing: float = setting(0.0, "0..1.", "Szegedy et al. 2016, arXiv:1512.00567")  # type: ignore[assignment]
    class_weights: str = setting("none", "auto weighs classes by how rare they are.")  # type: ignore[assignment]
    ema: float = setting(0.0, "Decay of the running mean of the weights per step; 0 is none.")  # type: ignore[assignment]
    batch_norm: str = setting("keep", "keep the statistics of BatchNorm above the cut, or update.")  # type: ignore[assignment]
    dropout: float = setting(0.0, "Before the head, 0..1.")  # type: ignore[assignment]
    drop_path: float = setting(  # type: ignore[assignment]
        0.0, "Stochastic depth of residual blocks above the cut.", "Huang et al. 2016"
    )
    checkpoint: bool = setting(False, "Recompute activations backwards, to need less memory.")  # type: ignore[assignment]
    augment: str = setting("", "Random changes of the pictures, e.g. 'flip, rotate=15, zoom=0.2'.")  # type: ignore[assignment]
    views: int = setting(8, "Augmented views of a picture that are computed once and kept.")  # type: ignore[assignment]
    mixup: float = setting(0.0, "Alpha of MixUp at the cut.", "Zhang et al. 2018, arXiv:1710.09412")  # type: ignore[assignment]
    cutmix: float = setting(0.0, "Alpha of CutMix at the cut.", "Yun et al. 2019, arXiv:1905.04899")  # type: ignore[assignment]
    l2sp: float = setting(0.0, "Pull towards the weights before.", "Li et al. 2018, arXiv:1802.01483")  # type: ignore[assignment]
    ewc: float = setting(0.0, "Pull weighed by the Fisher.", "Kirkpatrick et al. 2017, arXiv:1612.00796")  # type: ignore[assignment]
    ewc_source: str = setting("", "Folder of source images for the Fisher; else the user's own.")  # type: ignore[assignment]
    lwf: float = setting(0.0, "Keep the source head's answers.", "Li & Hoiem 2016, arXiv:1606.09282")  # type: ignore[assignment]
    wise: str = setting(  # type: ignore[assignment]
        "off",
        "Mix the weights before and after: auto chooses alpha on validation, or a number 0..1.",
        "Wortsman et al. 2022, arXiv:2109.01903",
    )
    val: float = setting(0.15, "Share of the training rows to validate on, where none are given.")  # type: ignore[assignment]
    amp: str = setting("auto", "Numbers to train in: f32, bf16, or auto to measure two batches.")  # type: ignore[assignment]
    memory: str = setting("auto", "contiguous, channels_last, or auto to measure two batches.")  # type: ignore[assignment]
    keep: str = setting(  # type: ignore[assignment]
        "auto", "How flows are kept: full, half (precision), live (not at all), or auto by the disk."
    )
