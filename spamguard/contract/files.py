"""How does the contract become a folder of files, and its fields a page for people?"""

import json
from typing import Any

import msgspec

from spamguard import __version__
from spamguard.contract.channels import CHANNELS, asyncapi
from spamguard.contract.examples import EXAMPLES
from spamguard.contract.http import openapi
from spamguard.contract.problems import KINDS, PREFIX
from spamguard.contract.schemas import GROWING, VALUES, components, named, schema_of
from spamguard.contract.words import member_words, summary


def contract_files() -> dict[str, str]:
    """Return the text of every generated file by its path in docs/contract/."""
    found = {f"{value.name}.schema.json": _json(schema_of(value)) for value in VALUES}
    found |= {
        f"examples/{name}.json": _json(msgspec.to_builtins(example))
        for examples in EXAMPLES.values()
        for name, example in examples.items()
    }
    found["asyncapi.json"] = _json(asyncapi(__version__))
    found["openapi.json"] = _json(openapi(__version__))
    found["fields.md"] = _fields()
    return found


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _fields() -> str:
    """Return the page of all values, their fields and words."""
    lines = [
        "# Fields of the contract",
        "",
        "Made from the types by `make contract`; the rules are in [README.md](README.md). **Bold**: always there.",
    ]
    schemas = components()
    carriers = {value.of.__name__: value for value in VALUES}
    parts = [name for name, schema in schemas.items() if "properties" in schema and name not in carriers]
    for name in (*carriers, *parts):
        schema, value = schemas[name], carriers.get(name)
        lines += ["", f"## {name}", "", schema["description"]]
        if value is not None:
            topic = f"Topic `{value.topic}`. {CHANNELS[value.name].words} " if value.topic else "Over HTTP. "
            key = f"Key: {CHANNELS[value.name].key}. " if value.topic else ""
            lines += ["", f"{topic}{key}[Schema]({value.name}.schema.json), [example](examples/{value.name}.json)."]
        lines += ["", "| field | type | default | means |", "|---|---|---|---|"]
        for field, shape in schema["properties"].items():
            shown = f"**`{field}`**" if field in schema["required"] else f"`{field}`"
            default = "" if field in schema["required"] else f"`{json.dumps(shape.get('default'))}`"
            lines.append(f"| {shown} | {_kind(shape)} | {default} | {shape.get('description', '')} |")
    kinds = named([value.of for value in VALUES])
    for of in (kinds[name] for name, schema in schemas.items() if "properties" not in schema):
        more = "This list may grow within version 1." if of in GROWING else "This list does not grow within version 1."
        lines += ["", f"## {of.__name__}", "", f"{summary(of)} {more}", "", "| word | means |", "|---|---|"]
        lines += [f"| `{member}` | {words} |" for member, words in member_words(of).items()]
    lines += ["", "## Kinds of problems", "", f"The `type` is `{PREFIX}` and the name.", ""]
    lines += ["| name | status | title | send it again? |", "|---|---|---|---|"]
    lines += [
        f"| `{name}` | {kind.status} | {kind.title} | {'later' if kind.repeat else 'no'} |"
        for name, kind in KINDS.items()
    ]
    return "\n".join(lines) + "\n"


def _kind(shape: dict[str, Any]) -> str:
    """Return a field's type in words.

    >>> _kind({"anyOf": [{"type": "string"}, {"type": "null"}]})
    'string or null'
    """
    if "anyOf" in shape:
        return " or ".join(_kind(one) for one in shape["anyOf"])
    if "$ref" in shape:
        name = shape["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if shape.get("type") == "array":
        return f"list of {_kind(shape['items'])}"
    return str(shape.get("type", "any"))
