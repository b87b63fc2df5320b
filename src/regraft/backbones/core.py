"""A backbone: its facts at once, its network when it is touched."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, overload

from regraft import show
from regraft.backbones.info import BackboneInfo, Tuning
from regraft.errors import OptionError, did_you_mean
from regraft.inputs import GEOMETRIES, ImageSpec, InputSpec
from regraft.places import stage_index

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn

    from regraft.backbones.request import Loaded
    from regraft.stages import Stage, Stages


NUMBERS = (0, 3, 5)  # columns of the table of stages


class Backbone:
    """An ordered list of stages with the facts that identify it.

    `backbone[:cut]` is what stays frozen, `backbone[cut:]` what is trained; both share the
    parameters. Facts (`info`, `len`, `print`) cost nothing; `stages` loads the network.

    Attributes:
        info: everything but the weights.
        tuning: what training changed of it; None as it came from its source.
    """

    def __init__(
        self,
        info: BackboneInfo,
        open_: Callable[[], tuple[Stages, Loaded]],
        resize: Callable[[tuple[int, int]], Backbone],
        tuning: Tuning | None = None,
    ) -> None:
        self.info = info
        self.tuning = tuning
        self._open = open_
        self._resize = resize
        self._opened: tuple[Stages, Loaded] | None = None

    @property
    def input(self) -> InputSpec:
        """What it expects to be fed."""
        return self.info.input

    @property
    def stages(self) -> Stages:
        """The network, loaded at the first touch."""
        return self._whole()[0]

    def network(self) -> nn.Module:
        """The network as its source made it; it shares every tensor with the stages."""
        return self._whole()[1].model

    def classifier(self) -> nn.Module | None:
        """The source's own classifier, (B, D) to (B, classes); None if it has none.

        D is the width of the last stage. Loads the weights once more, with the classifier.
        """
        from regraft.backbones.classifier import classifier_of

        stages, loaded = self._whole()
        return classifier_of(stages, loaded)

    def resized(self, size: int | tuple[int, int]) -> Backbone:
        """The same backbone for images of another size.

        Args:
            size: one side of a square, or (height, width), in pixels.

        Raises:
            BackboneError: this family cannot be had at that size.
        """
        from regraft.backbones.names import size_of

        wanted = size_of(size)
        return self if wanted == getattr(self.input, "size", None) else self._resize(wanted)  # type: ignore[arg-type]

    def looking(self, geometry: str) -> Backbone:
        """The same backbone, pictures brought to its shape in another way.

        Args:
            geometry: 'crop', 'squash' or 'pad'; see `regraft.inputs.ImageSpec`.

        Raises:
            OptionError: there is no such geometry, or the backbone does not take images.
        """
        spec = self.input
        if not isinstance(spec, ImageSpec):
            raise OptionError(f"--geometry is for images; this backbone takes {spec.modality}.")
        if geometry not in GEOMETRIES:
            known = ", ".join(GEOMETRIES)
            raise OptionError(
                f"geometry must be one of {known}, got '{geometry}'."
                + did_you_mean(geometry, GEOMETRIES)
            )
        return self._fed(geometry=geometry)

    def scaled(self, white: float) -> Backbone:
        """The same backbone, pictures of more than 8 bits scaled from 0 to `white`.

        Args:
            white: see `regraft.inputs.ImageSpec`; 0 changes nothing.
        """
        return self._fed(white=white) if white and isinstance(self.input, ImageSpec) else self

    def _fed(self, **fields: Any) -> Backbone:
        """The same backbone with other fields of its input, none of which the network sees."""
        spec = self.input
        assert isinstance(spec, ImageSpec)
        wanted = replace(spec, **fields)
        if wanted == spec:
            return self
        info = replace(self.info, input=wanted)

        def resize(size: tuple[int, int]) -> Backbone:
            return self._resize(size)._fed(**fields)

        return Backbone(info, self._whole, resize, self.tuning)

    def tuned(self, tensors: Mapping[str, torch.Tensor | np.ndarray]) -> Backbone:
        """The same backbone with other numbers in some of its tensors; this one stays as it is.

        Stages in which a tensor changed are copied, the others are shared. Where nothing differs
        it is this backbone itself. Its digest is that of all its weights, `info.base` the digest
        of those that it was made from.

        Args:
            tensors: parameters and buffers by their names in `stages.tensors()`, each of the
                shape that it has there; constants that tracing made ('context_0') are left out.

        Raises:
            BackboneError: there is no such tensor, or it has another shape or type, or values that
                are not finite.
        """
        from regraft.backbones.tuned import tuned

        return tuned(self, tensors)

    def changed(self) -> dict[str, torch.Tensor]:
        """The tensors that training changed, by name; empty as it came from its source."""
        names = self.tuning.tensors if self.tuning else ()
        own = self.stages.tensors() if names else {}
        return {name: own[name] for name in names}

    def _whole(self) -> tuple[Stages, Loaded]:
        if self._opened is None:
            self._opened = self._open()
        return self._opened

    def __reduce__(self) -> tuple[Any, ...]:
        """A pickle holds the module, or for the packaged network its name alone."""
        from regraft.backbones.pickled import reduced

        return reduced(self)

    def __sklearn_clone__(self) -> Backbone:
        """Itself: clones of an estimator share the frozen stages and do not copy the network."""
        return self

    def __len__(self) -> int:
        return len(self.info.stages)

    def index(self, at: int | str) -> int:
        """The index of the stage whose output is meant: a number, a name, or 'end'.

        Raises:
            CutError: there is no such stage.
        """
        return stage_index([stage.name for stage in self.info.stages], at)

    @overload
    def __getitem__(self, key: int | str) -> Stage: ...
    @overload
    def __getitem__(self, key: slice) -> Stages: ...

    def __getitem__(self, key: int | str | slice) -> Stage | Stages:
        found: Stage | Stages = self.stages[key]
        return found

    def __repr__(self) -> str:
        tuned = f", trained from {self.tuning.stages[0]} up" if self.tuning else ""
        return f"<Backbone {self.info.name}: {len(self)} stages, from {self.info.source}{tuned}>"

    def __str__(self) -> str:
        """A table of the stages."""
        rows = self._rows()
        widths = [max(len(row[i]) for row in rows) for i in range(6)]
        lines = [
            "  ".join(
                c.rjust(w) if i in NUMBERS else c.ljust(w)
                for i, (c, w) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        return "\n".join([repr(self)[1:-1], *lines])

    def _repr_html_(self) -> str:
        """The same for a notebook."""
        return show.table(repr(self)[1:-1], self._rows(), NUMBERS)

    def _rows(self) -> list[tuple[str, ...]]:
        """Of the table of stages, the heads first."""
        rows: list[tuple[str, ...]] = [("", "name", "kind", "parameters", "output", "MFLOPs")]
        for s in self.info.stages:
            shape = " x ".join(map(str, s.shape)) + f" {s.layout}"
            work = f"{s.flops / 1e6:,.1f}"
            rows.append((str(s.index), s.name, s.kind, f"{s.parameters:,}", shape, work))
        return rows
