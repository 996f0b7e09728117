"""What every message of the Realtime protocol's views is made of.

Law: a null is written only where one was set on purpose.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer


class Wire(BaseModel):
    """Unknown fields are ignored; unset optional ones are left out rather than written as null."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    @model_serializer(mode="wrap")
    def _leave_out_unset(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = handler(self)
        known = self.model_fields_set
        return {name: value for name, value in fields.items() if value is not None or name in known}
