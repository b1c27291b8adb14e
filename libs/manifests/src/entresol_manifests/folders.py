"""Inline the folders that steps name, so that a published manifest is complete and frozen.

`with.template` (gitops, kubernetes) and `with.module` (terraform) become `with.files`: relative path → text. Nothing
outside the folder is ever read, whatever links lie in it. The ending `.j2` is dropped: it only keeps editors and
linters from reading a template as what it will become.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from entresol_manifests.pointers import child

LARGEST_TOTAL: Final = 200 * 1024
"""Bytes in all folders of one manifest; with the rest of it they must fit into one event."""
MOST_FILES: Final = 200
FOLDER_KEYS: Final[Mapping[str, str]] = {"gitops": "template", "kubernetes": "template", "terraform": "module"}
"""By driver, the key of `with` that names a folder."""

_NEVER: Final = frozenset({".git", ".terraform", ".DS_Store", "__pycache__"})


class FolderError(ValueError):
    """Why a folder can't be inlined; the pointer says where it is named."""

    def __init__(self, message: str, pointer: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message, self.pointer, self.remedy = message, pointer, remedy


def named(document: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Each place in an offering's steps that names a folder: pointer of the `with`, the `with`, the key."""
    for pointer, step in _steps(_map(document.get("spec"))):
        undo = _map(step.get("compensate"))
        for place, driver, given in (
            (f"{pointer}/with", step.get("driver"), _map(step.get("with"))),
            (f"{pointer}/compensate/with", undo.get("driver", step.get("driver")), _map(undo.get("with"))),
        ):
            key = FOLDER_KEYS.get(str(driver))
            if key is not None and key in given:
                yield place, given, key


def _steps(spec: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every step with its pointer: those of the offering's own actions and those of its implementations."""
    implementations = spec.get("implementations")
    ways = [("/spec", spec)]
    for index, each in enumerate(implementations if isinstance(implementations, list) else []):
        ways.append((f"/spec/implementations/{index}", _map(each)))
    for pointer, way in ways:
        for action, body in _map(way.get("actions")).items():
            steps = _map(body).get("steps")
            for index, step in enumerate(steps if isinstance(steps, list) else []):
                yield f"{child(f'{pointer}/actions', action)}/steps/{index}", _map(step)


def folders(document: Mapping[str, Any], home: Path) -> list[Path]:
    """The folders that the manifest in `home` names, whether they exist or not."""
    texts = [given[key] for _, given, key in named(document) if isinstance(given[key], str)]
    return [(home / text).resolve() for text in texts if "\0" not in text]


def inline(document: dict[str, Any], home: Path, root: Path) -> list[tuple[str, str]]:
    """Replace, in place, every named folder by its files; return the pointers that changed, new and old.

    Folders are looked for beside the manifest and must lie beneath `root`. Raises FolderError.
    """
    changed = []
    known: dict[Path, dict[str, str]] = {}
    published = 0
    for pointer, given, key in list(named(document)):
        place = child(pointer, key)
        if "files" in given:
            raise FolderError(f"gives both {key} and files", place, "keep one of the two")
        folder = _folder(given[key], place, home, root)
        if folder not in known:
            known[folder] = _files(folder, place)
        files = known[folder]
        if not files:
            raise FolderError(f"the folder {given[key]} holds no files", place)
        del given[key]
        given["files"] = dict(files)
        changed.append((child(pointer, "files"), place))
        published += sum(len(text.encode()) for text in files.values())
        if published > LARGEST_TOTAL:
            raise FolderError(f"the folders hold more than {LARGEST_TOTAL // 1024} KiB", place, "publish less with it")
    return changed


def _folder(name: Any, pointer: str, home: Path, root: Path) -> Path:
    if not isinstance(name, str) or not name or "\0" in name:
        raise FolderError("must be the name of a folder beside the manifest", pointer)
    if "${" in name:
        raise FolderError("folders are read when the manifest is applied, so ${…} can't name one", pointer)
    folder = (home / name).resolve()
    if Path(name).is_absolute() or not folder.is_relative_to(root):
        raise FolderError(f"{name} leads outside of the manifest's folder", pointer, "keep it beside the manifest")
    if not folder.is_dir():
        raise FolderError(f"there is no folder {name} beside the manifest", pointer)
    return folder


def _files(folder: Path, pointer: str) -> dict[str, str]:
    files: dict[str, str] = {}
    total = 0
    for path in _walk(folder):
        relative = path.relative_to(folder).as_posix().removesuffix(".j2")
        if relative in files:
            raise FolderError(f"{relative} is there with and without .j2", pointer, "keep one of the two")
        if not path.resolve().is_relative_to(folder):
            raise FolderError(f"{relative} is a link that leads outside of the folder", pointer, "copy the file")
        if not path.is_file():
            raise FolderError(f"{relative} is no regular file", pointer)
        total += path.stat().st_size
        if total > LARGEST_TOTAL or len(files) >= MOST_FILES:
            limit = f"{LARGEST_TOTAL // 1024} KiB or {MOST_FILES} files"
            raise FolderError(f"the folder holds more than {limit}", pointer, "publish less with it")
        try:
            files[relative] = path.read_bytes().decode()
        except OSError as error:
            raise FolderError(f"{relative} can't be read: {error.strerror}", pointer) from None
        except UnicodeDecodeError:
            raise FolderError(f"{relative} is not UTF-8 text", pointer, "only text files can be published") from None
        if "\0" in files[relative]:
            raise FolderError(f"{relative} holds a NUL character", pointer, "only text files can be published")
    return files


def _walk(folder: Path) -> Iterator[Path]:
    for parent, directories, names in os.walk(folder):
        for directory in directories:
            if (Path(parent) / directory).is_symlink():
                names.append(directory)
        directories[:] = sorted(set(directories) - _NEVER - set(names))
        yield from (Path(parent) / name for name in sorted(names) if name not in _NEVER)


def _map(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
