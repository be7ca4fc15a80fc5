"""The choices of a training run. Durations are fractions of the run, so that one recipe fits every scale."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from replib.attacks import FGSM, PGD
from replib.data import Data
from replib.data.released import released
from replib.models import Net
from replib.spec import Job, Pinned, Spec, SpecError, choose, within

if TYPE_CHECKING:
    from replib.training.state import State


CHECKPOINTS = ("initial", "best_ra", "best_sa", "best_sum", "final", "average_final", "average_best_ra")
"""What every run keeps; the averages where it averages. With `retain` also "epoch_<n>"."""


def check_checkpoint(field: str, name: str) -> None:
    """Refuse a name that no run can have."""
    if not (name.startswith("epoch_") and name.removeprefix("epoch_").isdigit()):
        choose(field, name, CHECKPOINTS)


# ---- losses -------------------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Loss(Spec):
    """What one step minimises."""


@dataclass(frozen=True)
class CrossEntropy(Loss):
    """Standard training on clean images."""

    smoothing: float = 0.0

    def check(self) -> None:
        within("CrossEntropy.smoothing", self.smoothing, 0, 1, high_open=True)


@dataclass(frozen=True)
class PGDAT(Loss):
    """Adversarial training on PGD examples only (Madry et al., ICLR 2018): one step on the loss at the last iterate."""

    attack: PGD


@dataclass(frozen=True)
class FastAT(Loss):
    """FGSM with random start (Wong et al., ICLR 2020).

    `guard`: after each epoch PGD-5 on 128 fixed training images; a drop of more than 20 points is catastrophic overfitting: the weights of
    the epoch before are kept and training stops. The check is logged in any case.
    """

    version: ClassVar[int] = 2  # 128 images are watched, not one batch

    attack: FGSM
    guard: bool = False


@dataclass(frozen=True)
class FreeAT(Loss):
    """ "Free" adversarial training (Shafahi et al., NeurIPS 2019): every batch is trained on `replays` times in a row, and each backward
    pass also moves the perturbation by ε times the sign of its gradient. The perturbation is carried from batch to batch.

    A run takes `replays` times the steps of a plain one with as many epochs: divide these by `replays` for equal cost.
    """

    version: ClassVar[int] = 2  # pixels at the ends of their range are moved like all others

    eps: float
    replays: int = 8

    def check(self) -> None:
        within("FreeAT.eps", self.eps, 0, 1)
        within("FreeAT.replays", self.replays, 1)


@dataclass(frozen=True)
class CleanAndAdversarial(Loss):
    """Weighted sum of clean and adversarial cross-entropy with label smoothing (Cosentino et al., 2019: one half each, 0.1)."""

    attack: PGD
    clean: float = 0.5
    smoothing: float = 0.1

    def check(self) -> None:
        within("CleanAndAdversarial.clean", self.clean, 0, 1)
        within("CleanAndAdversarial.smoothing", self.smoothing, 0, 1, high_open=True)


@dataclass(frozen=True)
class Distill(Loss):
    """Distillation from a standard and a robust teacher, both fed the student's adversarial images (Chen et al., ICLR 2021).

    ``ce * CE + standard * KD(standard teacher) + robust * KD(robust teacher)``, KD with temperature T and factor T squared.
    """

    attack: PGD
    standard_teacher: Job | Pinned
    robust_teacher: Job | Pinned
    ce: float = 0.3
    standard: float = 0.1
    robust: float = 0.6
    temperature: float = 2.0
    checkpoints: tuple[str, str] = ("best_sa", "best_ra")

    def check(self) -> None:
        for checkpoint in self.checkpoints:
            check_checkpoint("Distill.checkpoints", checkpoint)
        for name in ("ce", "standard", "robust"):
            within(f"Distill.{name}", getattr(self, name), 0)
        within("Distill.temperature", self.temperature, 0, low_open=True)


@dataclass(frozen=True)
class Slimming(Loss):
    """Another loss plus an L1 penalty: on the scales of batch normalisation (Liu et al., ICCV 2017), or `on` "weights" of convolutions."""

    loss: Loss
    strength: float = 1e-4
    on: Literal["scales", "weights"] = "scales"

    def check(self) -> None:
        within("Slimming.strength", self.strength, 0)


# ---- optimizers and schedules -------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class SGD(Spec):
    """SGD with momentum; weight decay on all parameters, batch normalisation and biases included, as in the released code of A."""

    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4

    def check(self) -> None:
        within("SGD.lr", self.lr, 0, low_open=True)
        within("SGD.momentum", self.momentum, 0, 1, high_open=True)
        within("SGD.weight_decay", self.weight_decay, 0)


@dataclass(frozen=True)
class Adam(Spec):
    """Adam (Kingma and Ba, 2015) with PyTorch's defaults for its moments."""

    lr: float = 1e-3
    weight_decay: float = 0.0

    def check(self) -> None:
        within("Adam.lr", self.lr, 0, low_open=True)
        within("Adam.weight_decay", self.weight_decay, 0)


@dataclass(frozen=True)
class Schedule(Spec):
    """The learning rate as a multiple of the optimizer's, over the run's progress in [0, 1]."""


@dataclass(frozen=True)
class Constant(Schedule):
    """No change."""


@dataclass(frozen=True)
class Steps(Schedule):
    """Multiply by `factor` when an epoch starts at or beyond a fraction of the run (A: one half and three quarters)."""

    drops: tuple[float, ...] = (0.5, 0.75)
    factor: float = 0.1

    def check(self) -> None:
        for d in self.drops:
            within("Steps.drops", d, 0, 1)
        within("Steps.factor", self.factor, 0, 1, low_open=True)


@dataclass(frozen=True)
class Cyclic(Schedule):
    """Triangle over steps: 0 at the start, 1 at `peak`, 0 at the end.

    The released code of A peaks at two fifths of the run, the original Fast AT at one half (`peak` = 0.5).
    """

    peak: float = 0.4

    def check(self) -> None:
        within("Cyclic.peak", self.peak, 0, 1, low_open=True, high_open=True)


@dataclass(frozen=True)
class Cosine(Schedule):
    """Half a cosine from 1 to 0 over steps."""


@dataclass(frozen=True)
class Plateau(Schedule):
    """Stop-C of B: divide when the validation loss has not improved for `patience` epochs; stop when that happens once too often.

    `patience_fraction` of the longest run (10 of 240 epochs in B). An epoch improves when the loss is below best times (1 - threshold).
    The criterion fires when `waited >= patience`; `strict` asks for more than patience, as PyTorch's scheduler does. Training stops
    at firing number `stop_at`: 3 uses the second learning rate, 2 is the literal reading of "after 2 learning rate decays".
    """

    patience_fraction: float = 10 / 240
    threshold: float = 1e-5
    factor: float = 0.1
    stop_at: int = 3
    strict: bool = False
    on: Literal["val_robust_loss", "val_loss"] = "val_robust_loss"

    def check(self) -> None:
        within("Plateau.patience_fraction", self.patience_fraction, 0, 1, low_open=True)
        within("Plateau.threshold", self.threshold, 0, 1, high_open=True)
        within("Plateau.factor", self.factor, 0, 1, low_open=True)
        within("Plateau.stop_at", self.stop_at, 1)


# ---- where weights come from --------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Init(Spec):
    """Initial weights."""


@dataclass(frozen=True)
class Fresh(Init):
    """PyTorch's default draw from the seed's own stream: every method of one seed starts from the same weights.

    `draw` other than 0 gives an independent re-initialisation (the "-rand" twins of B). `scheme` "glorot" draws weights from the normal law
    of Glorot and Bengio (2010) and biases from one of standard deviation 0.01, as the code of neural tangent transfer does.
    """

    draw: int = 0
    scheme: Literal["default", "glorot"] = "default"

    def check(self) -> None:
        within("Fresh.draw", self.draw, 0)


@dataclass(frozen=True)
class FromRun(Init):
    """All weights and buffers of another run's checkpoint; `head` False keeps a fresh classifier (transfer to other classes)."""

    run: Job | Pinned
    checkpoint: str = "final"
    head: bool = True

    def check(self) -> None:
        check_checkpoint("FromRun.checkpoint", self.checkpoint)


@dataclass(frozen=True)
class Released(Init):
    """Weights of a ResNet-50 that others pre-trained on ImageNet and published; see :mod:`replib.data.released`.

    `head` False keeps a fresh classifier. A run of no epochs hands them on as they are: what tickets are drawn from and rewound to.
    """

    name: str
    head: bool = True

    def check(self) -> None:
        released(self.name)


@dataclass(frozen=True)
class Compose(Init):
    """One parent's weights where a ticket keeps, another's elsewhere (inverse weights inheritance, B Algorithm 2).

    Buffers and unpruned parameters such as batch normalisation come from `inside`.
    """

    inside: FromRun
    outside: FromRun | Fresh
    ticket: Job | Pinned


def _is_density(text: str) -> bool:
    try:
        return 0 < float(text) < 1
    except ValueError:
        return False


# ---- methods and the run ------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Method(Spec):
    """What a sparse-training method does besides the loop: three hooks on the run's state, all optional.

    Everything a method remembers lives in ``state.method``, a plain tree of numbers, lists and tensors that is saved with the run.
    """

    def check_run(self, run: Train) -> None:
        """Raise :class:`SpecError` if the method cannot work in `run`. Called when the run's spec is made."""

    def start(self, state: State) -> None:
        """Before the first step. Masks of a ticket are in place."""

    def after_step(self, state: State) -> None:
        """After each optimizer step and projection; dense gradients of the step are still in ``.grad``."""

    def after_epoch(self, state: State, row: dict[str, Any]) -> bool:
        """After validation; `row` is the epoch's line of metrics.csv. True ends the run."""
        return False


@dataclass(frozen=True)
class Static(Method):
    """A fixed mask, or none: dense training, and every method that prunes before training."""


@dataclass(frozen=True)
class Average(Spec):
    """Stochastic weight averaging of the epochs from `start` (a fraction) on, statistics of batch normalisation re-estimated on
    clean augmented training images (Izmailov et al., 2018; Chen et al., ICLR 2021). Masked by the current mask."""

    start: float = 55 / 200

    def check(self) -> None:
        within("Average.start", self.start, 0, 1, high_open=True)


@dataclass(frozen=True)
class Train(Job):
    """A training run. `ticket` is the job that gives the initial mask; `validate` is the attack of each epoch's validation.

    `masking`: "projected" zeroes weights and momentum after each step and leaves dense gradients visible; "parametrized" keeps hidden
    dense weights and computes with mask times weight; "straight_through" also lets pruned weights learn.
    `accumulate` splits every batch into so many parts whose gradients are summed, for networks that do not fit otherwise; batch
    normalisation then sees the parts.
    `repeat` above 0 draws the order of images, attacks and augmentation anew; the initial weights stay those of the seed.
    `channels` is a job whose results say under "channels" how many each convolution keeps (see :class:`~replib.models.spec.Net`).
    `retain` is not part of the key: "weights" keeps every epoch, "masks@0.2" the largest fifth of the weights after each epoch.
    """

    kind: ClassVar[str] = "train"
    version: ClassVar[int] = 2  # attacks in channels-last memory, validation in other batches: other roundings

    data: Data
    net: Net
    loss: Loss
    epochs: int
    batch: int
    validate: PGD
    optim: SGD | Adam = SGD()
    schedule: Schedule = Steps()
    ticket: Job | Pinned | None = None
    method: Method = Static()
    init: Init = Fresh()
    masking: Literal["projected", "parametrized", "straight_through"] = "projected"
    average: Average | None = None
    precision: Literal["fp32", "bf16"] = "fp32"
    channels: Job | Pinned | None = None
    accumulate: int = 1
    repeat: int = 0
    retain: tuple[str, ...] = field(default=(), metadata={"hashed": False})
    name: str = field(default="", metadata={"hashed": False})

    def check(self) -> None:
        if self.channels is not None and self.net.channels:
            raise SpecError("Train.channels and Net.channels both say how wide the network is; give one of them.")
        within("Train.epochs", self.epochs, 0 if isinstance(self.init, Released) else 1)
        within("Train.batch", self.batch, 1)
        within("Train.accumulate", self.accumulate, 1, self.batch)
        if self.accumulate > 1 and isinstance(self.loss, FreeAT):
            raise SpecError("Train.accumulate cannot be combined with FreeAT, whose perturbation belongs to a whole batch; leave it out.")
        for kept in self.retain:
            if kept != "weights" and not (kept.startswith("masks@") and _is_density(kept[6:])):
                raise SpecError(f"Train.retain = {kept!r} is not known; it must be 'weights' or 'masks@DENSITY', such as 'masks@0.2'.")
        self.method.check_run(self)

    def label(self) -> str:
        return self.name or f"{type(self.loss).__name__} {type(self.method).__name__} {self.net.arch} on {self.data.name}"
