"""An environment of its own for each rival, from the package registry, with the very torch that seqloom runs on.

torch and what it needs are linked in, not installed again: rivals then differ by their own code alone, and an
environment takes megabytes instead of a gigabyte. The rival itself is installed with --no-deps, since what it declares
is more than it needs, and bounds torch.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import venv
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path

from benchmarks.rows import ROOT

FOLDER = ROOT / ".benchmarks"
SHARED = ("torch", "numpy")  # and all that these need


@dataclass(frozen=True)
class Environment:
    """What a rival's environment holds.

    requirements: exact versions, the rival's own first. modules: source of modules that it imports and does not use
    here, in place of the real ones. variables: what its process needs set.
    """

    name: str
    requirements: tuple[str, ...]
    modules: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)


class InstallError(Exception):
    """A rival could not be installed."""


def installed(environment: Environment, folder: Path = FOLDER) -> str:
    """The Python of this environment, made where it is not there yet. Raises InstallError."""
    place = folder / environment.name
    python = place / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    stamp, wanted = place / "installed.json", {**asdict(environment), "python": sys.version, "torch": _torch()}
    if stamp.exists() and json.loads(stamp.read_text(encoding="utf-8")) == json.loads(json.dumps(wanted)):
        return str(python)
    try:
        shutil.rmtree(place, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".gitignore").write_text("*\n", encoding="utf-8")
        venv.create(place, with_pip=False)
        _install(python, environment.requirements)
        (packages,) = place.glob("Lib/site-packages" if sys.platform == "win32" else "lib/python*/site-packages")
        for name, text in environment.modules.items():
            (packages / f"{name}.py").write_text(text, encoding="utf-8")
        # Own packages come before linked ones of the same name.
        (packages / "linked.pth").write_text(f"{linked_packages(folder)}\n", encoding="utf-8")
    except (OSError, metadata.PackageNotFoundError) as error:
        raise InstallError(str(error)) from None
    stamp.write_text(json.dumps(wanted), encoding="utf-8")
    return str(python)


def _install(python: Path, requirements: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps",
               "--disable-pip-version-check", *requirements]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1800)
    if done.returncode:
        told = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or [f"exit {done.returncode}"]
        raise InstallError(f"pip: {told[-1].removeprefix('ERROR: ')}")


def _torch() -> str:
    try:
        return metadata.version("torch")
    except metadata.PackageNotFoundError:
        return ""


def linked_packages(folder: Path) -> Path:
    """A folder of links to torch, numpy and what they need, as they are installed here."""
    place = folder / f"linked-{_torch()}"
    place.mkdir(parents=True, exist_ok=True)
    for name in closure(SHARED):
        distribution = metadata.distribution(name)
        for top in sorted({file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}):
            link, real = place / top, Path(str(distribution.locate_file(top)))
            if not link.exists() and real.exists():
                link.symlink_to(real.resolve())
    return place


def closure(names: tuple[str, ...]) -> list[str]:
    """These distributions and all that they require here, extras left out."""
    found: dict[str, None] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        try:
            required = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            if name in names:
                raise
            continue  # for another platform
        found[name] = None
        waiting += [match[0].lower() for line in required
                    if "extra ==" not in line and (match := re.match(r"[\w.-]+", line))]
    return list(found)
