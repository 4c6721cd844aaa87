"""Models by name or from a file: the cited presets of this package, a user's own in the same form, or a config.json."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from algorithms.models.huggingface.config import read_config
from algorithms.models.model import CountStatus, Model, Published, Tower
from hwmodels.reading.shipped import Shipped, is_path


class PublishedText(BaseModel):
    """Section ``published`` of a model file: a count of parameters that somebody else published."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    parameters: int
    source: str
    digits: int | None = None
    status: CountStatus = "named"


class ModelText(BaseModel):
    """A model file."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str
    aliases: tuple[str, ...] = ()
    summary: str = ""
    source: str
    published: PublishedText | None = None
    weight_format: str = "bfloat16"
    expert_format: str = ""
    towers: tuple[Tower, ...]

    def model(self) -> Model:
        """The plain model."""
        published = None
        if self.published is not None:
            published = Published(**dict(self.published))
        return Model(
            name=self.name,
            aliases=self.aliases,
            summary=self.summary,
            source=self.source,
            published=published,
            weight_format=self.weight_format,
            expert_format=self.expert_format,
            towers=self.towers,
        )


_SHIPPED = Shipped("algorithms.models", "presets", "model")
JSON = ".json"


def model_names() -> tuple[str, ...]:
    """Names of the shipped presets, sorted."""
    return _SHIPPED.names()


@cache
def model_aliases() -> dict[str, str]:
    """Names of presets by their other names, in lower case."""
    return {alias.casefold(): name for name in model_names() for alias in load_model(name).aliases}


def load_model(name_or_path: str | Path) -> Model:
    """A shipped preset by name or alias, a model file, or a ``config.json`` of Hugging Face by path.

    Raises
    ------
    InputError
        An unknown name (with the nearest one), or every problem of the file with its line.
    """
    text = str(name_or_path)
    if text.endswith(JSON):
        return read_config(text)
    if is_path(name_or_path) and text.endswith((".yaml", ".yml")):
        return _SHIPPED.open(name_or_path).validate(ModelText).model()
    if text in model_names():
        return _preset(text)
    return _preset(_SHIPPED.known(model_aliases().get(text.casefold(), text)))


@cache
def _preset(name: str) -> Model:
    return _SHIPPED.document(name).validate(ModelText).model()
