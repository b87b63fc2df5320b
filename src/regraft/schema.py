"""The shape of every file that is read back: strict, so that nothing unknown passes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from regraft.errors import BundleError
from regraft.files import visible
from regraft.inputs import spec_from

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Short = Annotated[str, Field(max_length=400)]
Share = Annotated[float, Field(ge=0, le=1)]
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
    base: Digest = ""


Fact = Annotated[str, Field(max_length=400)] | bool | int | float | None


class FeatureConfig(Strict):
    """How the features that the head was fitted on were made; a fact, not an instruction."""

    decoder: Annotated[dict[Short, Fact], Field(max_length=64)]
    engine: Annotated[dict[Short, Fact], Field(max_length=64)]


class HeadConfig(Strict):
    """What the arrays of the head are for; `regraft.heads` compares them with it one by one."""

    name: Short
    dim: Annotated[int, Field(ge=1, le=2**24)]
    n_classes: Annotated[int, Field(ge=2, le=100_000)]
    layers: Annotated[list[Short], Field(min_length=1, max_length=16)]
    settings: Annotated[
        dict[Short, Fact | Annotated[list[Fact], Field(max_length=64)]], Field(max_length=64)
    ]


class TuningConfig(Strict):
    """What training changed of the backbone (`regraft.backbones.info.Tuning`)."""

    tensors: Annotated[list[Short], Field(min_length=1, max_length=20_000)]
    stages: Annotated[list[Short], Field(min_length=1, max_length=4096)]
    parameters: Count

    @model_validator(mode="after")
    def agree(self) -> TuningConfig:
        if self.tensors != sorted(set(self.tensors)):
            raise ValueError("tensors must be sorted and differ from each other")
        return self


Setting = Fact | Annotated[list[Fact], Field(max_length=1000)]
Table = Annotated[dict[Short, Setting], Field(max_length=128)]


class PlanConfig(Strict):
    """How the stages were trained; a fact, not an instruction."""

    name: Short
    phases: Annotated[list[Table], Field(min_length=1, max_length=256)]
    recipe: Table


class BundleConfig(Strict):
    """`tuned` and `plan` came with format 2, which only a trained backbone needs."""

    format: Annotated[int, Field(ge=1)]
    regraft: Short
    task: Literal["classification"]
    classes: Annotated[list[Short], Field(min_length=2, max_length=100_000)]
    backbone: BackboneConfig
    at: Annotated[list[Short], Field(min_length=1, max_length=16)]
    features: FeatureConfig
    head: HeadConfig
    seed: Count
    tuned: TuningConfig | None = None
    plan: PlanConfig | None = None

    @model_validator(mode="after")
    def trained(self) -> BundleConfig:
        given = self.model_fields_set & {"tuned", "plan"}
        if self.format == 1:
            if given or self.backbone.base:
                raise ValueError("format 1 has neither 'tuned' nor 'plan' nor a 'base'")
            return self
        if self.tuned is None or not self.backbone.base:
            raise ValueError("format 2 is for a trained backbone, with its 'base' and 'tuned'")
        if "plan" in given and self.plan is None:
            raise ValueError("'plan' must be a table or be left out")
        sizes = {stage.name: stage.parameters for stage in self.backbone.stages}
        if [name for name in sizes if name in self.tuned.stages] != self.tuned.stages:
            raise ValueError("'tuned' must name stages of the backbone, in their order")
        if self.tuned.parameters > sum(sizes[name] for name in self.tuned.stages):
            raise ValueError("'tuned' must not have more parameters than its stages")
        return self

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


class Loose(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


class TrainMetrics(Loose):
    n: Count


class ValidationMetrics(Loose):
    kind: Short
    n: Count
    accuracy: Share | None
    log_loss: float | None

    @model_validator(mode="after")
    def agree(self) -> ValidationMetrics:
        if self.n and self.accuracy is None:
            raise ValueError("accuracy must be a number where rows were scored")
        return self


class TestMetrics(Loose):
    n: Count
    accuracy: Share
    accuracy_ci95: Annotated[list[Share] | tuple[Share, Share], Field(min_length=2, max_length=2)]


class MetricsConfig(Loose):
    """Of the scores what the card tells; the rest is for people."""

    train: TrainMetrics
    validation: ValidationMetrics | None
    test: TestMetrics | None
    test_part: Short


#: Names that turn on code in other libraries. Nothing here would listen to them; whoever put them
#: in a bundle hopes that something does.
SWITCHES = frozenset(
    {"trust_remote_code", "auto_map", "custom_pipelines", "code_revision", "_target_", "__class__"}
    | {"__reduce__", "py/object", "custom_load", "architectures"}
)


def check(model: type[BaseModel], data: Any, where: str) -> None:
    """Raise a BundleError that names the first field of `data` that `model` refuses."""
    try:
        model.model_validate(data)
    except ValidationError as problem:
        first = problem.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the file"
        said = visible(f"{field:.200}: {first['msg']:.400}")
        raise BundleError(f"{where}: {said}.") from problem
    no_switches(data, where)


def no_switches(data: Any, where: str) -> None:
    """Raise a BundleError if a table in `data`, at any depth, has a key that hopes to run code.

    The labels that a test part had beyond the known ones (`unknown`) are the user's own words.
    """
    left = [data]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            for key in value:
                if key in SWITCHES or (isinstance(key, str) and key.startswith("_attn_")):
                    raise BundleError(f"{where}: '{key}' must not be in a bundle.")
            left += [inner for key, inner in value.items() if key != "unknown"]
        elif isinstance(value, list | tuple):
            left += value
