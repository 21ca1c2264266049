# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values that may be known only in part: text, with places for what a host or a secret store knows.

A value is a plain ``str``, or a list of parts when something is only known later. A part is a ``str``,
``{"var": NAME}``, ``{"var": NAME, "default": value}`` or ``{"secret": NAME}``. This is also how values travel.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Union

from .errors import TetraError

Part = Union[str, dict[str, Any]]
Value = Union[str, list[Part]]

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PORT_VARIABLES = frozenset({"PORT", "TSM_PORT"})
# What only the host knows. A definition may refer to these without setting them.
HOST_VARIABLES = PORT_VARIABLES | {
    "HOME", "HOST", "PWD", "TETRA_ADDRESS", "TETRA_DIR", "TETRA_ENV", "TETRA_ORG", "TETRA_RELEASE",
    "TETRA_RELEASE_DIR", "TETRA_SERVICE_DIR", "TETRA_SRC", "USER",
}  # fmt: skip

_FURTHER_PORT = re.compile(r"PORT_[A-Z0-9_]{1,63}")

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""The name of a variable, as shells have it."""

# Defaults may hold values that hold defaults; deeper than this is an attack or a mistake.
MAXIMUM_DEPTH = 20

_SECRET = re.compile(r"\$\{secret:([^}]*)\}?")
_SECRET_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,254}")


def variable(name: str) -> Value:
    """A value that the host fills in. ``PATH`` falls back to the usual one where the host does not say."""
    return [{"var": name, "default": DEFAULT_PATH} if name == "PATH" else {"var": name}]


def port_variable(name: str) -> str:
    """The variable in which a process finds a further port of its service: ``PORT_METRICS`` for ``metrics``."""
    return f"PORT_{name.upper().replace('-', '_')}"


def is_port_variable(name: str) -> bool:
    """Whether :func:`port_variable` could have made a name."""
    return _FURTHER_PORT.fullmatch(name) is not None


def secret(name: str) -> Value:
    """A value that the secret of this name fills in.

    :raises TetraError: when the name could not be the name of a secret.
    """
    if not _SECRET_NAME.fullmatch(name):
        raise TetraError(f'"{name}" is not the name of a secret', hint="write ${secret:NAME}, like ${secret:API_TOKEN}")
    return [{"secret": name}]


def parts(value: Value) -> list[Part]:
    """The parts of a value, also when it is plain text."""
    if isinstance(value, str):
        return [value] if value else []
    return value


def join(pieces: Iterable[Value | Part]) -> Value:
    """One value out of parts and values: adjacent text is merged, and nothing but text is a plain ``str``."""
    result: list[Part] = []
    texts: list[str] = []
    for piece in _flat(pieces):
        if isinstance(piece, str):
            texts.append(piece)
            continue
        if any(texts):
            result.append("".join(texts))
        texts = []
        result.append(piece)
    if not result:
        return "".join(texts)
    if any(texts):
        result.append("".join(texts))
    return result


def _flat(pieces: Iterable[Value | Part]) -> Iterator[Part]:
    for piece in pieces:
        if isinstance(piece, list):
            yield from piece
        else:
            yield piece


def resolve(value: Value, variables: Mapping[str, str], secrets: Mapping[str, str]) -> str:
    """The text of a value.

    :param variables: what this host knows, by name; a default is used for one that is missing or empty, as in bash.
    :param secrets: text of the secrets, by name.
    :raises TetraError: for a variable without a default, or a secret, that is not there.
    """
    return "".join(_resolve(part, variables, secrets) for part in parts(value))


def _resolve(part: Part, variables: Mapping[str, str], secrets: Mapping[str, str]) -> str:
    if isinstance(part, str):
        return part
    if "secret" in part:
        name = part["secret"]
        if name not in secrets:
            raise TetraError(f"the secret {name} is not known", hint="add it to tetra_secrets of this environment")
        return secrets[name]
    name = part["var"]
    if "default" in part:
        return variables.get(name) or resolve(part["default"], variables, secrets)
    if name not in variables:
        raise TetraError(f"the variable {name} is not set on this host", hint=f"give it a default: ${{{name}:-text}}")
    return variables[name]


def variables_in(value: Value) -> set[str]:
    """The names of all variables that a value mentions, also inside defaults."""
    return {part["var"] for part in _walk(value) if isinstance(part, dict) and "var" in part}


def required_in(value: Value) -> set[str]:
    """The names of the variables that a value cannot be resolved without."""
    return {part["var"] for part in _walk(value) if isinstance(part, dict) and "var" in part and "default" not in part}


def secrets_in(value: Value) -> set[str]:
    """The names of all secrets that a value mentions, also inside defaults."""
    return {part["secret"] for part in _walk(value) if isinstance(part, dict) and "secret" in part}


def _walk(value: Value) -> Iterator[Part]:
    for part in parts(value):
        yield part
        if isinstance(part, dict) and "default" in part:
            yield from _walk(part["default"])


def with_secrets(value: Value) -> Value:
    """The value with every text ``${secret:NAME}`` in it turned into a part.

    :raises TetraError: when what stands after ``${secret:`` is not a name and a closing brace.
    """
    return map_text(value, _text_with_secrets)


def _text_with_secrets(text: str) -> Value:
    pieces: list[Value] = []
    position = 0
    for match in _SECRET.finditer(text):
        if not match.group().endswith("}"):
            raise TetraError("${secret: without a closing brace", hint="write ${secret:NAME}, like ${secret:API_TOKEN}")
        pieces += [text[position : match.start()], secret(match.group(1))]
        position = match.end()
    return join([*pieces, text[position:]])


def map_text(value: Value, change: Callable[[str], Value]) -> Value:
    """The value with each of its texts, also those inside defaults, replaced by ``change(text)``."""
    return join(_map_part(part, change) for part in parts(value))


def _map_part(part: Part, change: Callable[[str], Value]) -> Value | Part:
    if isinstance(part, str):
        return change(part)
    if "default" in part:
        return {**part, "default": map_text(part["default"], change)}
    return part


def or_default(value: Value, default: Value) -> Value:
    """What ``${NAME:-default}`` means for a NAME that holds ``value``: the value, or the default when that is empty.

    :raises TetraError: when only the host could tell, and a value cannot say it: several variables in a row, each of
        which may be empty.
    """
    pieces = parts(value)
    if not pieces:
        return default
    variables = [piece for piece in pieces if isinstance(piece, dict) and "secret" not in piece]
    if len(variables) < len(pieces):
        return value
    if len(variables) > 1:
        raise TetraError(
            "a default for a value that is made of several variables of the host",
            hint="give each of the variables its own default",
        )
    if "default" in variables[0]:
        default = or_default(variables[0]["default"], default)
    return [{"var": variables[0]["var"], "default": default}]


def show(value: Value) -> str:
    """The value as one would write it in double quotes: for people, not for machines."""
    return "".join(_show(part) for part in parts(value))


def _show(part: Part) -> str:
    if isinstance(part, str):
        return part
    if "secret" in part:
        return f"${{secret:{part['secret']}}}"
    if "default" in part:
        return f"${{{part['var']}:-{show(part['default'])}}}"
    return f"${{{part['var']}}}"


def weight(value: Value) -> int:
    """How much room a value takes: its characters, and a fixed amount for each part that is not text."""
    return sum(len(part) if isinstance(part, str) else 16 for part in _walk(value))


def depth(value: Value) -> int:
    """How deeply defaults are nested in a value; 0 without any."""
    nested = (depth(part["default"]) for part in parts(value) if isinstance(part, dict) and "default" in part)
    return max((level + 1 for level in nested), default=0)


def check(value: object, level: int = 0) -> Value:
    """A value that came from outside, when it is one.

    :raises TetraError: for anything that is not a value as described above, and for NUL characters.
    """
    if isinstance(value, str):
        if "\0" in value:
            raise TetraError("a value holds a NUL character", hint="no process can be given one; take it out")
        return value
    if not isinstance(value, list) or level > MAXIMUM_DEPTH:
        raise TetraError(f"a value must be text, not {type(value).__name__}", hint="put it in quotes")
    for part in value:
        _check_part(part, level)
    return value


def _check_part(part: object, level: int) -> None:
    if isinstance(part, str):
        check(part)
        return
    record = part if isinstance(part, dict) else {}
    keys = set(record)
    known = keys in ({"var"}, {"secret"}, {"var", "default"})
    if not known or not isinstance(record["secret" if "secret" in keys else "var"], str):
        raise TetraError("a value has a part that is neither text, a variable nor a secret")
    if "default" in keys:
        check(record["default"], level + 1)
