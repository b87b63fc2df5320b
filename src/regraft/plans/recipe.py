"""What holds for all phases of a plan: optimizer, batch, augmentation, and what guards it."""

from __future__ import annotations

from dataclasses import dataclass

from regraft.plans.setting import setting

OPTIMIZERS = ("adamw", "sgd")
CLASS_WEIGHTS = ("none", "auto")
BATCH_NORM = ("keep", "update")
AMP = ("auto", "f32", "bf16")
MEMORY = ("auto", "contiguous", "channels_last")
ALLOCATOR = ("auto", "keep", "system")
COMPILE = ("auto", "off", "on")
KEEP = ("auto", "full", "half", "live")


@dataclass(frozen=True)
class Recipe:
    """Settings of a training run; every field is a flag of `regraft fit` and a key of run.toml."""

    optimizer: str = setting(
        "adamw",
        "adamw or sgd.",
        "Loshchilov & Hutter 2019, arXiv:1711.05101",
        among=OPTIMIZERS,
    )
    momentum: float = setting(0.9, "Of sgd.", "Sutskever et al. 2013", least=0, below=1)
    weight_decay: float = setting(0.01, "Not applied to norms and biases.", least=0)
    batch: int = setting(32, "Rows per step of the optimizer; never changed to be faster.", least=1)
    accumulate: int = setting(1, "Parts that a batch is computed in, to need less memory.", least=1)
    clip: float = setting(
        1.0,
        "Largest norm of the gradient; 0 does not clip.",
        "Pascanu et al. 2013, arXiv:1211.5063",
        least=0,
    )
    label_smoothing: float = setting(
        0.0,
        "Share of the target that is spread over all classes.",
        "Szegedy et al. 2016, arXiv:1512.00567",
        least=0,
        below=1,
    )
    class_weights: str = setting(
        "none", "auto weighs classes by how rare they are.", among=CLASS_WEIGHTS
    )
    ema: float = setting(
        0.0,
        "Decay of the running mean of the weights per step, e.g. 0.99; 0 is none.",
        "Polyak & Juditsky 1992",
        least=0,
        below=1,
    )
    batch_norm: str = setting(
        "keep",
        "keep the statistics of BatchNorm above the cut, or update.",
        "Ioffe & Szegedy 2015, arXiv:1502.03167",
        among=BATCH_NORM,
    )
    dropout: float = setting(
        0.0,
        "Share of the features before the head that is set to 0.",
        "Srivastava et al. 2014",
        least=0,
        below=1,
    )
    drop_path: float = setting(
        0.0,
        "Stochastic depth: how often the highest residual block above the cut is skipped.",
        "Huang et al. 2016, arXiv:1603.09382",
        least=0,
        below=1,
    )
    checkpoint: bool = setting(
        False,
        "Recompute activations backwards, to need less memory.",
        "Chen et al. 2016, arXiv:1604.06174",
    )
    augment: str = setting("", "Random changes of the pictures, e.g. 'flip, rotate=15, zoom=0.2'.")
    views: int = setting(
        8,
        "Augmented views of a picture that are computed once and kept; 0 computes them live.",
        least=0,
        most=64,
    )
    mixup: float = setting(
        0.0, "Alpha of MixUp at the cut.", "Zhang et al. 2018, arXiv:1710.09412", least=0
    )
    cutmix: float = setting(
        0.0, "Alpha of CutMix at the cut.", "Yun et al. 2019, arXiv:1905.04899", least=0
    )
    l2sp: float = setting(
        0.0, "Pull towards the weights before.", "Li et al. 2018, arXiv:1802.01483", least=0
    )
    ewc: float = setting(
        0.0,
        "The same pull, weighed by the Fisher information.",
        "Kirkpatrick et al. 2017, arXiv:1612.00796",
        least=0,
    )
    ewc_source: str = setting("", "Folder of source images for the Fisher; else the user's own.")
    lwf: float = setting(
        0.0, "Keep the source head's answers.", "Li & Hoiem 2016, arXiv:1606.09282", least=0
    )
    wise: str = setting(
        "off",
        "Mix the weights before and after: auto chooses alpha on validation, or a number 0..1.",
        "Wortsman et al. 2022, arXiv:2109.01903",
    )
    val: float = setting(
        0.15, "Share of the training rows to validate on, where none are given.", above=0, below=1
    )
    amp: str = setting(
        "auto",
        "Numbers to train in: f32, bf16, or auto to measure two batches.",
        "Micikevicius et al. 2018, arXiv:1710.03740",
        among=AMP,
    )
    memory: str = setting(
        "auto", "contiguous, channels_last, or auto to measure two batches.", among=MEMORY
    )
    torch_threads: int = setting(
        0,
        "Threads of torch while it trains; 0 measures two batches, and halves them for as long as "
        "that is faster.",
        least=0,
        most=1024,
    )
    allocator: str = setting(
        "auto",
        "keep freed memory for the next batch, give it back to the system, or auto to measure two "
        "batches.",
        among=ALLOCATOR,
    )
    compile: str = setting(
        "auto",
        "torch.compile on or off; auto tries it where training takes long enough to repay it.",
        "Ansel et al. 2024",
        among=COMPILE,
    )
    keep: str = setting(
        "auto",
        "How what comes from below the cut is kept: full, half (precision), live (not at all), or "
        "auto by the room on the disk.",
        among=KEEP,
    )
