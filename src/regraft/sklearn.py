"""Transfer learning as scikit-learn estimators: for pipelines, cross-validation and grid searches.

    paths or pictures ─► frozen stages, activation cache ─► features ─► head ─► labels
                         └──────── TransferFeatures ───┘
                         └──────────────── TransferClassifier ──────┘

Features come through the same decoder, engine and cache as those of `regraft.fit`, so
`cross_val_score` decodes and runs every picture once. Without a backbone, rows are features already
and both estimators keep scikit-learn's contract in full; docs/howto/scikit-learn.md lists where
pictures must depart from it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft import choose
from regraft.asked import DEPTHS, every_stage, stage_names
from regraft.backbones import Backbone
from regraft.backbones.info import BackboneInfo, Tap
from regraft.backbones.resolve import resolve
from regraft.data import Example
from regraft.data.given import given, refuse_any
from regraft.errors import BadInput, OptionError, RegraftError, need_extra
from regraft.features import compute
from regraft.heads.rows import Rows
from regraft.model import features_of
from regraft.pipeline import Pipeline, pipeline, tap_name

need_extra("sklearn", "sklearn", "regraft.sklearn")

from sklearn.base import (  # noqa: E402
    BaseEstimator,
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.utils import assert_all_finite, check_random_state  # noqa: E402
from sklearn.utils.multiclass import check_classification_targets  # noqa: E402
from sklearn.utils.validation import (  # noqa: E402
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

DEFAULT = "default"  # the packaged backbone, by a name of its own: None means that there is none
ROWS = "rows"  # what the only stage is called where rows are features already


class _Frozen(BaseEstimator):  # type: ignore[misc]
    """What both estimators share: the frozen stages, and what may be fed to them."""

    def __init__(
        self,
        backbone: str | Backbone | None,
        at: str,
        size: int | tuple[int, int] | None,
        geometry: str | None,
        weights: str | None,
        device: str,
        engine: str,
        precision: str,
        threads: int | None,
        depths: str,
    ) -> None:
        self.backbone = backbone
        self.at = at
        self.size = size
        self.geometry = geometry
        self.weights = weights
        self.device = device
        self.engine = engine
        self.precision = precision
        self.threads = threads
        self.depths = depths

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        if self.backbone is not None:
            tags.input_tags.two_d_array = False
            tags.input_tags.string = True
        return tags

    def _open(self) -> str:
        """Look the stages up, remember them (`backbone_`, `stages_`), and say which to read.

        The stages to read are joined with '+'; 'auto' means that they are to be chosen.
        """
        if self.depths not in DEPTHS:
            raise OptionError(f"depths must be one of {', '.join(DEPTHS)}, got {self.depths!r}.")
        if self.backbone is None:
            if self.at != "end":
                raise OptionError(
                    f"at must be 'end' without a backbone, got {self.at!r}: rows are features of "
                    "one stage already; name a backbone or leave `at` away."
                )
            self.stages_: tuple[str, ...] = (ROWS,)
            return ROWS
        net = self._net(None)
        names = stage_names(net, self.at)
        every = names is None or self.depths == "all"
        self.backbone_: BackboneInfo = net.info
        self.stages_ = tuple(every_stage(net) if every else names or ())
        return "auto" if names is None else "+".join(names)

    def _net(self, digest: str | None) -> Backbone:
        named = None if self.backbone == DEFAULT else self.backbone
        net = resolve(named, size=self.size, weights=self.weights, digest=digest)
        return net if self.geometry is None else net.looking(self.geometry)

    def _pipe(self, precision: str) -> Pipeline:
        """What computes the features: the same stages and weights as in `fit`."""
        net = self._net(self.backbone_.digest)
        return pipeline(
            net,
            [Tap(net.index(name), True) for name in self.stages_],
            device=self.device,
            engine=self.engine,
            precision=precision,
            threads=self.threads,
        )

    def _features(self, examples: Sequence[Example], precision: str) -> tuple[dict[str, Rows], str]:
        """For each of `stages_` the features (N, D) of all N examples; the precision they have.

        Raises:
            DataError: a picture cannot be read; a row that is left out would shift all others.
        """
        pipe = self._pipe(precision)
        found = compute(examples, pipe)
        refuse_any(found.skipped, len(examples))
        named = zip(self.stages_, pipe.taps, strict=True)
        return {name: found.rows[tap_name(tap)] for name, tap in named}, found.precision


class TransferClassifier(ClassifierMixin, _Frozen):  # type: ignore[misc]
    """A head on frozen features, fitted in one go and calibrated on rows it had not seen.

    Attributes:
        classes_: (K,) the labels, sorted.
        head_: the fitted head, with `validation`: how it did on rows that were left out.
        at_: the stages that it reads.
        why_: why this stage and this head, in one sentence.
        backbone_: facts of the backbone; only with one, as is the next.
        precision_: 'f32' or 'bf16', what 'auto' came to.
        n_features_in_: columns of the rows; only without a backbone.
    """

    def __init__(
        self,
        backbone: str | Backbone | None = None,
        *,
        at: str = "end",
        head: str = "auto",
        size: int | tuple[int, int] | None = None,
        geometry: str | None = None,
        weights: str | None = None,
        device: str = "auto",
        engine: str = "auto",
        precision: str = "auto",
        threads: int | None = None,
        depths: str = "auto",
        balance: float = 0.0,
        random_state: Any = 0,
    ) -> None:
        """Set what `fit` will do; nothing is looked up or checked before that.

        Args:
            backbone: None where rows are features (N, D) already; 'default' for the packaged
                one, another name, or a `Backbone`.
            at: the stage to read, several joined with '+', or 'auto' to choose one.
            head: 'ridge', 'logistic', 'mlp', 'prototypes', or 'auto' to choose one.
            size: of the network's input in pixels; as trained if None.
            geometry: 'crop', 'squash' or 'pad'; as trained if None.
            weights: None, 'random' or the path of a local weight file.
            device: 'auto', 'cpu', 'cuda', 'cuda:N' or 'mps'.
            engine: 'auto', 'openvino', 'torch' or 'reference'.
            precision: 'auto', 'f32' or 'bf16'.
            threads: for decoding and the engine; all processors if None.
            depths: 'all' computes every stage in one pass, for a search over `at`.
            balance: 0..1, the share of the classes' rarity that answers are freed from.
            random_state: of folds and random features: a number, a generator, or None for another
                every time.
        """
        super().__init__(
            backbone, at, size, geometry, weights, device, engine, precision, threads, depths
        )
        self.head = head
        self.balance = balance
        self.random_state = random_state

    def fit(self, X: Any, y: Any, groups: Any = None) -> TransferClassifier:
        """Fit the head.

        Args:
            X: features (N, D); with a backbone N paths of pictures, or (N, H, W, 3) uint8 pixels.
            y: (N,) labels of any one type.
            groups: (N,) rows that are left out together where heads are compared.

        Raises:
            BadInput: rows, labels or settings that cannot be used; it is a ValueError too.
        """
        with _as_bad_input():
            at = self._open()
            if self.backbone is None:
                _refuse_paths(X)
                X, y = validate_data(self, X, y, dtype=np.float32, ensure_min_samples=1)
            else:
                X = given(X)
            labels = self._labels(y)
            check_consistent_length(X, labels, groups)
            features: dict[str, Rows] = {ROWS: X}
            if self.backbone is not None:
                features, self.precision_ = self._features(X, self.precision)
            self._solve(features, labels, groups, at)
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """(N,) the most probable class of every row.

        Raises:
            BadInput: a row that cannot be read or used; none is answered by a guess.
        """
        best = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[best])

    def predict_proba(self, X: Any) -> NDArray[np.float32]:
        """(N, K) float32 calibrated probabilities in the order of `classes_`."""
        check_is_fitted(self, "head_")
        with _as_bad_input():
            if self.backbone is None:
                rows = validate_data(self, X, dtype=np.float32, reset=False)
                return self.head_.probabilities(rows)
            features, _ = self._features(given(X), self.precision_)
            return self.head_.probabilities(choose.rows_at(features, self.at_))

    def _labels(self, y: Any) -> NDArray[np.int64]:
        """(N,) the place of each label in `classes_`, which it sets."""
        if y is None:
            raise BadInput("TransferClassifier requires y to be passed, but the target y is None.")
        y = column_or_1d(y, warn=True)
        assert_all_finite(y, input_name="y")
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            only = "".join(f": {label!r}" for label in self.classes_.tolist())
            raise BadInput(
                f"TransferClassifier needs at least 2 classes to learn from, "
                f"got {len(self.classes_)} class{only}."
            )
        return labels.astype(np.int64)

    def _solve(
        self, features: Mapping[str, Rows], labels: NDArray[np.int64], groups: Any, at: str
    ) -> None:
        given = self.random_state
        whole = isinstance(given, int | np.integer) and given >= 0
        seed = int(given) if whole else int(check_random_state(given).randint(2**31 - 1))
        n_classes = len(self.classes_)
        told = None if groups is None else np.asarray(groups)
        choice = choose.choose(
            features,
            labels,
            n_classes,
            at=at,
            head=self.head,
            seed=seed,
            groups=told,
            balance=self.balance,
        )
        self.at_, self.why_, self.head_ = choice.at, choice.why, choice.fitted


class TransferFeatures(ClassNamePrefixFeaturesOutMixin, TransformerMixin, _Frozen):  # type: ignore[misc]
    """Pictures to frozen features (N, D) float32, for whatever comes next in a pipeline.

    Attributes:
        at_: the stages whose pooled outputs stand side by side.
        backbone_: facts of the backbone; only with one.
        n_features_in_: columns of the rows; only without a backbone.
    """

    def __init__(
        self,
        backbone: str | Backbone | None = DEFAULT,
        *,
        at: str = "end",
        size: int | tuple[int, int] | None = None,
        geometry: str | None = None,
        weights: str | None = None,
        device: str = "auto",
        engine: str = "auto",
        precision: str = "auto",
        threads: int | None = None,
        depths: str = "auto",
    ) -> None:
        """Set what to compute, see `TransferClassifier`; with None rows pass through as float32."""
        super().__init__(
            backbone, at, size, geometry, weights, device, engine, precision, threads, depths
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    def fit(self, X: Any, y: Any = None) -> TransferFeatures:
        """Look the stages up; no picture is read.

        Raises:
            BadInput: settings, or rows without a backbone, that cannot be used.
        """
        with _as_bad_input():
            at = self._open()
            if at == "auto":
                raise OptionError(
                    "at must name stages, got 'auto': choosing needs labels; search over `at`, or "
                    "use TransferClassifier(at='auto')."
                )
            self.at_ = tuple(at.split("+"))
            if self.backbone is None:
                self._n_features_out = validate_data(self, X, dtype=np.float32).shape[1]
            else:
                given(X)
                self._n_features_out = sum(features_of(self.backbone_, name) for name in self.at_)
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """(N, D) float32, a row per picture in the order given.

        Raises:
            BadInput: a picture that cannot be read; the text names it.
        """
        check_is_fitted(self, "at_")
        with _as_bad_input():
            if self.backbone is None:
                return np.asarray(validate_data(self, X, dtype=np.float32, reset=False))
            rows = choose.rows_at(self._features(given(X), self.precision)[0], self.at_)
            return np.asarray(rows[0 : len(rows)])


def _refuse_paths(rows: Any) -> None:
    """Say what is missing where pictures come and no backbone was named.

    Raises:
        OptionError: the first of `rows` is a path.
    """
    column = isinstance(rows, list | tuple) or getattr(rows, "ndim", 0) == 1
    first = next(iter(rows), None) if column else None
    if isinstance(first, str | os.PathLike):
        raise OptionError(
            f"rows must be features (N, D) without a backbone, got {os.fspath(first)!r:.80}; for "
            "pictures name one, such as TransferClassifier('default')."
        )


@contextmanager
def _as_bad_input() -> Iterator[None]:
    """Every refusal as a ValueError, which is what scikit-learn looks for."""
    try:
        yield
    except BadInput:
        raise
    except RegraftError as problem:
        raise BadInput(str(problem)) from problem
