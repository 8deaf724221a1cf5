"""What is wrong with a recipe, in the reader's terms: the file, the dotted key and the nearest known one.

The known keys come from the pydantic models themselves, so a new field needs no second list.
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from edgekit.errors import EdgekitError


def nearest(word: str, known: Iterable[str]) -> str:
    """' Did you mean X?', or the whole list when nothing is near."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=3, cutoff=0.6)
    if close:
        return f" Did you mean {' or '.join(repr(name) for name in close)}?"
    return f" Known are: {', '.join(names)}." if names else ""


def join(key: str, name: object) -> str:
    return f"{key}.{name}" if key else str(name)


def members(annotation: Any) -> Iterator[Any]:
    """The plain types that a field's annotation allows: unions and Annotated taken apart."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from members(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for part in get_args(annotation):
            yield from members(part)
    else:
        yield annotation


def fields(annotation: Any) -> dict[str, Any]:
    """Key -> annotation, when the annotation is a model or a union of models; else empty."""
    found: dict[str, Any] = {}
    for part in members(annotation):
        if isinstance(part, type) and issubclass(part, BaseModel):
            found.update((info.alias or name, info.annotation) for name, info in part.model_fields.items())
    return found


def item(annotation: Any, container: type) -> Any:
    """What a `dict[str, X]` or `list[X]` holds; None when the annotation is no such container."""
    for part in members(annotation):
        if get_origin(part) is container:
            return get_args(part)[-1]
    return None


def dotted_keys(annotation: Any, key: str = "") -> Iterator[str]:
    for name, inner in fields(annotation).items():
        yield join(key, name)
        yield from dotted_keys(inner, join(key, name))


def check_keys(data: Any, annotation: Any, where: str, root: Any, key: str = "") -> None:
    """EK102 for the first key of `data` that the schema does not know. Types are checked elsewhere.

    Done for each layer (file, base, preset, --set) before they are merged: afterwards nobody can
    say where a key came from, and a misspelt `key: null` would be gone without a word.
    """
    if isinstance(data, list):
        for index, value in enumerate(data):
            check_keys(value, item(annotation, list), where, root, f"{key}[{index}]")
    if not isinstance(data, dict):
        return
    known = fields(annotation)
    for name, value in data.items():
        if known and name not in known:
            hint = _hint(name, known, root, key)
            raise EdgekitError("EK102", f"{where}: unknown key '{join(key, name)}'.{hint}")
        check_keys(value, known[name] if known else item(annotation, dict), where, root, join(key, name))


def _hint(name: object, known: Iterable[str], root: Any, key: str) -> str:
    """The nearest key beside it, else the same word elsewhere (`method` for `quantize.method`)."""
    word, names = str(name), list(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if not close:
        close = [path for path in dotted_keys(root) if path.rpartition(".")[2] == word][:1]
        return f" Did you mean '{close[0]}'?" if close else nearest(word, names)
    return f" Did you mean '{join(key, close[0])}'?"


_EXPECTED = {
    "model_type": "expected a mapping",
    "model_attributes_type": "expected a mapping",
    "dict_type": "expected a mapping",
    "list_type": "expected a list",
    "tuple_type": "expected a list",
    "string_type": "expected text",
}


def from_pydantic(error: ValidationError, data: Any, origin: Callable[[str], str]) -> EdgekitError:
    """EK103 for the first thing that the schema refuses: key, value and what is expected."""
    first = error.errors(include_url=False)[0]
    key = _dotted(first["loc"], data)
    where = origin(key)
    if first["type"] == "missing":
        return EdgekitError("EK103", f"{where}: the key '{key}' is missing.")
    message = first["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    expected = _EXPECTED.get(first["type"], message.replace("Input should", "expected to", 1))
    expected = expected.replace("expected to be", "expected", 1)
    if first["type"] == "extra_forbidden":  # from a layer that only merging made wrong
        return EdgekitError("EK102", f"{where}: the key '{key}' does not belong there.")
    value = repr(first["input"])
    shown = value if len(value) <= 80 else value[:77] + "..."
    what = f"'{key}' is {shown}: {expected}" if key else expected
    return EdgekitError("EK103", f"{where}: {what}.")


def _dotted(loc: tuple[int | str, ...], data: Any) -> str:
    """pydantic's location without the tags that it puts in for the members of a union."""
    key, cursor = "", data
    for position, part in enumerate(loc):
        if isinstance(part, int):
            key += f"[{part}]"
            cursor = cursor[part] if isinstance(cursor, list) and part < len(cursor) else None
        elif isinstance(cursor, dict) and (part in cursor or position == len(loc) - 1):
            child = cursor.get(part)
            if position < len(loc) - 1 and not isinstance(child, dict | list):
                continue  # a tag that is spelt like a key: weights[0] is tagged `wheel`
            key = join(key, part)
            cursor = child
    return key
