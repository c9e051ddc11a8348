"""The section of the config about wandb."""

from typing import Annotated, Literal

from pydantic import Field

from utils.schema_base import Section, described

WandbProject = Annotated[
    str, described(r"1 to 128 characters, no / \ # ? % :", pattern=r"^[^/\\#?%:]{1,128}$")
]


class Wandb(Section):
    """``wandb``."""

    project: WandbProject | None = None
    """Project on wandb; `null` takes the config's `name`."""
    entity: str | None = None
    """User or team."""
    group: str | None = None
    """Group of runs."""
    tags: list[Annotated[str, described("1 to 64 characters", r"^.{1,64}$")]] = Field([])
    """Tags of the run."""
    notes: str | None = None
    """Free text."""
    mode: Literal["online", "offline", "disabled"] = "online"
    """`online` falls back to `offline` without a login or network."""
    artifact: bool = False
    """Keep the best checkpoint as an artifact of the run."""
