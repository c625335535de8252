"""The endpoints as tools of the Model Context Protocol: Gradio's server with what this page says.

Gradio describes a picture as an address, which the page never opens, and leaves out what the
components say of the other values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradio.mcp import GradioMCPServer

PICTURE = "a data: URI, such as data:image/jpeg;base64,..."


class Tools(GradioMCPServer):
    """The server of a page. What it overrides are Gradio's methods of these names."""

    _file_data_tool_description = f" Pictures are given as {PICTURE}; addresses are not opened."

    def get_fn_description(self, block_fn: Any, tool_name: str) -> tuple[str, dict[str, str]]:
        """The text of a tool, and of each of its values: the label of its component."""
        text, _ = super().get_fn_description(block_fn, tool_name)
        endpoint = self.api_info["named_endpoints"][self.tool_to_endpoint[tool_name]]
        return text, {p["parameter_name"]: p["label"] for p in endpoint["parameters"]}

    def simplify_filedata_schema(
        self, schema: dict[str, Any]
    ) -> tuple[dict[str, Any], list[list[str | int]]]:
        """The schema of a tool's values with pictures as texts, and where these are."""
        simple, places = super().simplify_filedata_schema(schema)
        for [name] in places:
            simple["properties"][name]["format"] = PICTURE
        return simple, places

    def convert_strings_to_filedata(self, value: Any, filedata_positions: list) -> Any:
        """The values of a call with its pictures as files; raises ValueError with a sentence."""
        for [name] in filedata_positions:
            text = value.get(name)
            if isinstance(text, str) and not text.startswith("data:"):
                raise ValueError(f"{name} must be {PICTURE}; addresses are not opened")
        try:
            return super().convert_strings_to_filedata(value, filedata_positions)
        except ValueError:  # what binascii raises
            raise ValueError(f"the base64 of this picture is damaged; give {PICTURE}") from None

    @staticmethod
    def pop_returned_state(components: Sequence[Any], data: Any) -> list[Any]:
        """The outputs of a call one by one; Gradio has them as one where nobody asks for progress,
        and would return the picture of an edit as text."""
        if len(data) == 1 < len(components):
            [data] = data
        return GradioMCPServer.pop_returned_state(components, list(data))
