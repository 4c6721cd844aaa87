"""JSON schema of chip files, so that editors complete and check them."""

from __future__ import annotations

from hwmodels.chips.chip_text import AcceleratorText

_CITED = "Cited_"
_PLAIN: dict[str, object] = {"type": ["number", "string"]}


def accelerator_schema() -> dict[str, object]:
    """Schema of a chip file: that of the models, widened by what is read beside them.

    Numbers may be texts with units and stand without a source, and a file that names a `base` may leave out anything.
    """
    schema = AcceleratorText.model_json_schema()
    definitions: dict[str, dict[str, object]] = schema["$defs"]
    for name, definition in definitions.items():
        if name.startswith(_CITED):
            properties = definition["properties"]
            if isinstance(properties, dict):
                properties["value"] = _PLAIN
            definition["title"] = "A value with its source"
        else:
            # below the top level nothing says whether the file has a base
            definition.pop("required", None)
    required = schema.pop("required")
    schema["anyOf"] = [{"required": required}, {"required": ["name", "base"]}]
    widened = _widened(schema)
    if not isinstance(widened, dict):
        raise TypeError("a schema is a mapping")
    return widened


def _widened(node: object) -> object:
    """Every reference to a cited value also takes the plain value, or nothing to take back that of a base."""
    if isinstance(node, list):
        return [_widened(item) for item in node]
    if not isinstance(node, dict):
        return node
    if str(node.get("$ref", "")).startswith(f"#/$defs/{_CITED}"):
        return {"anyOf": [node, _PLAIN]}
    return {key: _widened(value) for key, value in node.items()}
