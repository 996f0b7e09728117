"""What every section of the settings is: frozen, and without unknown keys."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

Folder = Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())]
"""The same folder for every process, wherever it stands."""


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
