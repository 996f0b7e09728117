"""What a client can choose from: models and voices."""

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from omni.errors import ProtocolError
from omni.protocol.realtime_session import Defaults


class Model(BaseModel):
    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "omni"


class Models(BaseModel):
    object: Literal["list"] = "list"
    data: list[Model]


class Voices(BaseModel):
    """Names for `audio.output.voice` and `/v1/audio/speech`. None: any name is taken."""

    voices: list[str]
    default: str


def router(defaults: Defaults) -> APIRouter:
    routes = APIRouter()

    @routes.get("/v1/models")
    async def models() -> Models:
        """The one model there is; every endpoint takes any name for it."""
        return Models(data=[Model(id=defaults.model)])

    @routes.get("/v1/models/{model}")
    async def model(model: str) -> Model:
        if model != defaults.model:
            raise ProtocolError("There is no such model.", "model_not_found", "model")
        return Model(id=defaults.model)

    @routes.get("/v1/voices")
    async def voices() -> Voices:
        return Voices(voices=sorted(defaults.voices), default=defaults.options.voice)

    return routes
