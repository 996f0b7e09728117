"""The settings about tools: what the model is told, and which MCP servers may be used."""

from pydantic import Field

from omni.config_section import Section


class ToolsConfig(Section):
    """Functions that replies may call."""

    result_hint: str = Field(
        "Tell the user what the tool answered, in one short spoken sentence.",
        description="shown to the model after a tool's answer, lest it call again; empty: none",
    )
    filler: str = Field("One moment.", description="said while a tool runs; empty says nothing")
    filler_after_ms: int = Field(800, ge=0, description="silence, with a tool running, before it")
    mcp_servers: tuple[str, ...] = Field(
        (), description="URLs of MCP servers that clients may name; one may end in * for any path"
    )
    list_timeout_s: float = Field(10, gt=0, description="time a server may take to list its tools")
    call_timeout_s: float = Field(60, gt=0, description="time a tool may take to answer")
    max_calls: int = Field(8, ge=1, description="calls that one session has running at once")
    max_rounds: int = Field(
        4, ge=1, description="replies to answers of tools in a row, after which no tool is offered"
    )
    max_output_chars: int = Field(4000, ge=1, description="more of a tool's answer is cut off")
