"""The shape of every file that is read back: strict, so that nothing unknown passes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from regraft.errors import BundleError
from regraft.inputs import spec_from

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Short = Annotated[str, Field(max_length=400)]
Count = Annotated[int, Field(ge=0, le=2**53)]


def _is_input(data: dict[str, Any]) -> dict[str, Any]:
    spec_from(data)
    return data


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class StageConfig(Strict):
    index: Count
    name: Short
    kind: Short
    parameters: Count
    shape: Annotated[list[Count], Field(min_length=1, max_length=4)]
    layout: Literal["NCHW", "NHWC", "NLC", "NC", "NLC+mask"]
    prefix_tokens: Count
    flops: Count
    activation_bytes: Count


class BackboneConfig(Strict):
    name: Short
    source: Literal["package", "hub", "file", "random", "module"]
    revision: Short
    digest: Digest
    network: Digest
    licence: Short
    input: Annotated[dict[str, Any], AfterValidator(_is_input)]
    stages: Annotated[list[StageConfig], Field(min_length=1, max_length=4096)]


class FeatureConfig(Strict):
    """How the features that the head was fitted on were made; a fact, not an instruction."""

    decoder: dict[str, str | int]
    engine: dict[str, str]


class BundleConfig(Strict):
    format: Annotated[int, Field(ge=1)]
    regraft: Short
    task: Literal["classification"]
    classes: Annotated[list[Short], Field(min_length=2, max_length=100_000)]
    backbone: BackboneConfig
    at: Annotated[list[Short], Field(min_length=1, max_length=16)]
    features: FeatureConfig
    head: dict[str, Any]
    seed: int

    @model_validator(mode="after")
    def agree(self) -> BundleConfig:
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("classes must differ from each other")
        names = [stage.name for stage in self.backbone.stages]
        if len(set(names)) != len(names):
            raise ValueError("stage names must differ from each other")
        unknown = [name for name in self.at if name not in names]
        if unknown:
            raise ValueError(f"'at' names the stage '{unknown[0]}', which the backbone lacks")
        return self


def check(model: type[Strict], data: Any, where: str) -> None:
    """Raise a BundleError that names the first field of `data` that `model` refuses."""
    try:
        model.model_validate(data)
    except ValidationError as problem:
        first = problem.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the file"
        raise BundleError(f"{where}: {field}: {first['msg']}.") from problem
