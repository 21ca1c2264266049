# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the directory of a new organization out of a template: questions, and files that may name the answers.

A template is a directory: ``template.toml`` with a description, a ``base`` to stand on and ``[questions.NAME]``, and
``org/``, whose files become those of the organization. One that ends in ``.tmpl`` is rendered first, in the sandbox of
all templates; nothing of a template is ever run.
"""

from __future__ import annotations

import dataclasses
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from ansible_collections.tetra.platform.plugins.module_utils.model import canonical, release, units
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import (
    ERROR,
    Finding,
    TetraError,
    raise_on_errors,
)
from ansible_collections.tetra.platform.plugins.plugin_utils import source, template, toml_file
from ansible_collections.tetra.platform.plugins.plugin_utils.questions import Answer, Question, question
from ansible_collections.tetra.platform.plugins.plugin_utils.template_layers import Layers
from ansible_collections.tetra.platform.plugins.plugin_utils.toml_file import TomlFile

BUILT_IN = Path(__file__).resolve().parents[2] / "roles" / "org" / "files" / "templates"

_DESCRIPTION = "template.toml"
_KEYS = ("description", "base", "questions")
_RENDERED = ".tmpl"
_MOST_BASES = 5


@dataclasses.dataclass(frozen=True)
class OrgTemplate:
    """A template with all that it stands on: ``files`` is path in the organization, with ``.tmpl``, to content and
    whether it may be run; ``digest`` names exactly these files and questions.
    """

    name: str
    questions: tuple[Question, ...]
    files: Mapping[str, tuple[bytes, bool]]
    digest: str


def find(name: str) -> Path:
    """The directory of a template: a built-in one by its name, or a path.

    :raises TetraError: with the names that there are.
    """
    known = sorted(path.name for path in BUILT_IN.iterdir())
    if name in known:
        return BUILT_IN / name
    path = Path(name).expanduser()
    if (path / _DESCRIPTION).is_file():
        return path
    near = units.nearest(name, known)
    hint = f"did you mean {near}? " if near else ""
    hint += f"there are {', '.join(known)}; a directory with {_DESCRIPTION} and org/, such as a checkout, is one, too"
    raise TetraError(f"{name} is no template of an organization", hint=hint)


def read(directory: Path) -> OrgTemplate:
    """Read a template, and those that it stands on.

    :raises TetraError: listing what is wrong with it.
    """
    if not directory.resolve().name.isprintable():
        raise TetraError(f"{directory.resolve().name!r} is not a name for a template", hint="rename its directory")
    chain = _chain(directory)
    findings: list[Finding] = []
    questions: dict[str, Question] = {}
    files: dict[str, tuple[bytes, bool]] = {}
    for place, described in reversed(chain):
        questions |= {one.name: one for one in _questions(described, findings)}
        files = _on_top(_files(place / "org", findings), files, findings)
    if not files:
        findings.append(Finding(ERROR, "template", "it has no files", "org/", hint="put those of a new one there"))
    raise_on_errors(findings)
    asked = [dataclasses.asdict(one) for one in questions.values()]
    contents = {path: [canonical.sha256(data), executable] for path, (data, executable) in sorted(files.items())}
    digest = canonical.digest({"questions": asked, "files": contents})
    return OrgTemplate(directory.resolve().name, tuple(questions.values()), files, digest)


def render(found: OrgTemplate, org: str, answers: Mapping[str, Answer]) -> dict[str, tuple[bytes, bool]]:
    """The files of a new organization: path to content and whether it may be run.

    :raises TetraError: listing what is wrong with the template.
    """
    paths = [path for path in found.files if path.endswith(_RENDERED)]
    texts = {path: toml_file.decode(found.files[path][0], path) for path in paths}
    layers = Layers({_output(path): path for path in paths}, paths, [""])
    rendered = template.render(layers, texts, {**answers, "org": org})
    files = {path: content for path, content in found.files.items() if path not in texts}
    files |= {path: (data, found.files[rendered.origins[path]][1]) for path, data in rendered.files.items()}
    data, executable = files.get("org.toml", (f"name = {_quoted(org)}\n".encode(), False))
    files["org.toml"] = (data + _origin(found, answers).encode(), executable)
    return dict(sorted(files.items()))


def write(files: Mapping[str, tuple[bytes, bool]], folder: Path) -> None:
    """Write the files of an organization into a folder that is not there."""
    folder.mkdir()
    for path, (data, executable) in files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        if executable:
            place.chmod(place.stat().st_mode | 0o111)


def _chain(directory: Path) -> list[tuple[Path, TomlFile]]:
    """A template and those that it stands on, which are beside it or built in."""
    chain: list[tuple[Path, TomlFile]] = []
    place: Path | None = directory
    while place:
        try:
            described = toml_file.parse((place / _DESCRIPTION).read_bytes(), _DESCRIPTION)
        except OSError as error:
            raise TetraError(f"{place / _DESCRIPTION} cannot be read: {error.strerror}", hint="look at it") from error
        chain.append((place, described))
        place = _base(place, described)
        if place in [one for one, _described in chain] or len(chain) > _MOST_BASES:
            raise TetraError(f"{directory.name}: base is a circle, or too long", hint=f"at most {_MOST_BASES}")
    return chain


def _base(place: Path, described: TomlFile) -> Path | None:
    name = described.table.get("base")
    if name is None:
        return None
    units.check_name("base", name if isinstance(name, str) else repr(name))
    folders = [Path(folder, str(name)) for folder in (place.parent, BUILT_IN)]
    found = [folder for folder in folders if (folder / _DESCRIPTION).is_file()]
    if not found:
        raise TetraError(f"{_DESCRIPTION}:{described.line('base')}: there is no template {name} beside {place.name}",
                         hint="name one beside it, or a built-in one")
    return found[0]


def _questions(described: TomlFile, findings: list[Finding]) -> list[Question]:
    findings += [dataclasses.replace(one, severity=ERROR) for one in described.unknown_keys(_KEYS)]
    questions = []
    for name, table in described.subtable("questions", findings).items():
        try:
            questions.append(question(name, table))
        except TetraError as error:
            findings.append(described.error(("questions", name), f"questions.{name}: {error.message}", error.hint))
    return questions


def _files(folder: Path, findings: list[Finding]) -> dict[str, tuple[bytes, bool]]:
    """The files below a folder; no link is followed, and what is no file is wrong."""
    files: dict[str, tuple[bytes, bool]] = {}
    if folder.is_symlink():
        raise TetraError(f"{folder} is a link", hint="make it a folder")
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in (".git", "__pycache__"))
        for name in sorted([*names, *(one for one in folders if os.path.islink(os.path.join(place, one)))]):
            path = os.path.relpath(os.path.join(place, name), folder)
            try:
                release.check_path(path)
                files[path] = _content(Path(place, name), path)
            except TetraError as error:
                findings.append(Finding(ERROR, "template", error.message, f"org/{path}", hint=error.hint))
            if len(files) > release.MAX_FILES:
                raise TetraError(f"{folder} has more than {release.MAX_FILES} files", hint="keep build output out")
    return files


def _on_top(
    upper: dict[str, tuple[bytes, bool]], lower: Mapping[str, tuple[bytes, bool]], findings: list[Finding]
) -> dict[str, tuple[bytes, bool]]:
    """Files of a template over those that it stands on: of what would become the same file the upper one is left."""
    outputs: dict[str, str] = {}
    for path in upper:
        other = outputs.setdefault(_output(path), path)
        if other != path:
            text = f"{other} and {path} become the same file"
            findings.append(Finding(ERROR, "template", text, f"org/{path}", hint="keep one of them"))
    return {**{path: content for path, content in lower.items() if _output(path) not in outputs}, **upper}


def _output(path: str) -> str:
    return path.removesuffix(_RENDERED)


def _content(place: Path, path: str) -> tuple[bytes, bool]:
    if not stat.S_ISREG(place.lstat().st_mode):
        raise TetraError("is not a regular file", hint="links and devices do not become files of an organization")
    data, mode = source.read_file(place, path)
    return data, bool(mode & stat.S_IXUSR)


def _origin(found: OrgTemplate, answers: Mapping[str, Answer]) -> str:
    """Where an organization comes from, for its ``org.toml``."""
    lines = ["", "[origin]", f"template = {_quoted(found.name)}", f"digest = {_quoted(found.digest)}", "",
             "[origin.answers]"]
    values = [f"{name} = {_quoted(value) if isinstance(value, str) else json.dumps(value)}"
              for name, value in answers.items()]
    return "\n".join([*lines, *values]) + "\n"


def _quoted(text: str) -> str:
    """A text of one line as TOML has it."""
    return json.dumps(text, ensure_ascii=False)
