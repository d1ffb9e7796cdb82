"""What the repository promises: files of bearable size, nothing half done, a README whose commands exist."""

from __future__ import annotations

import configparser
import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.native import REPO

MAX_BYTES = 8 << 20
TEXT = {".py", ".cc", ".h", ".md", ".toml", ".ini", ".txt", ".json", ".cfg", ".cmake", ""}
UNFINISHED = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|X" + r"XX)\b")


def project_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPO,
        capture_output=True,
    )
    if listed.returncode == 0:
        names = [n for n in listed.stdout.decode().split("\0") if n]
        return [p for p in (REPO / n for n in names) if p.is_file()]
    skip = {".git", ".venv", "build", "runs", "data", "__pycache__"}  # an unpacked archive
    return [p for p in REPO.rglob("*") if p.is_file() and not skip & set(p.relative_to(REPO).parts)]


def readme_commands() -> list[str]:
    """Command lines of the README: those in fenced or indented blocks that begin with a program it documents."""
    lines = (REPO / "README.md").read_text(encoding="utf-8").splitlines()
    commands = []
    fenced = False
    for line in lines:
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            text = line.strip().removeprefix("$ ").split("  #")[0].strip()
            if re.match(r"(make|python -m|\.venv/bin/python -m|pio)\b", text):
                commands.append(text)
    return commands


def test_no_file_is_too_large() -> None:
    large = [
        f"{p.relative_to(REPO)}: {p.stat().st_size} bytes"
        for p in project_files()
        if p.stat().st_size > MAX_BYTES
    ]
    assert not large, large


def test_nothing_is_left_half_done() -> None:
    found = []
    for path in project_files():
        if path.suffix not in TEXT:
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [
            f"{path.relative_to(REPO)}:{n}"
            for n, line in enumerate(text.splitlines(), 1)
            if UNFINISHED.search(line)
        ]
    assert not found, found


def test_readme_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (REPO / "Makefile").read_text(), re.MULTILINE))
    wanted = {c.split()[1] for c in readme_commands() if c.startswith("make ")}
    assert wanted <= targets, wanted - targets
    assert {"demo", "test"} <= wanted, "the README shows neither `make demo` nor `make test`"


def readme_modules() -> list[str]:
    return sorted({m[1] for c in readme_commands() if (m := re.search(r"python -m ([\w.]+)", c))})


@pytest.mark.parametrize(
    "module", [m for m in readme_modules() if m.split(".")[0] in {"host", "energy", "exporter"}]
)
def test_readme_modules_explain_themselves(module: str) -> None:
    assert importlib.util.find_spec(module) is not None
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"], cwd=REPO, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout


def readme_options() -> list[tuple[str, str]]:
    found = set()
    for command in readme_commands():
        if match := re.match(r"\S*python -m ((?:host|energy|exporter)\.\w+)(.*)", command):
            found |= {
                (match[1], option) for option in re.findall(r"(?<=\s)--[a-z][a-z-]*", match[2])
            }
    return sorted(found)


@pytest.mark.parametrize(("module", "option"), readme_options())
def test_readme_options_exist(module: str, option: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"], cwd=REPO, capture_output=True, text=True
    )
    assert re.search(re.escape(option) + r"\b", done.stdout), f"{module} has no {option}"


def test_relative_links_lead_somewhere() -> None:
    broken = []
    for path in [p for p in project_files() if p.suffix == ".md"]:
        text = re.sub(r"```.*?```|`[^`\n]*`", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:|#", target):
                continue
            if not (path.parent / target.split("#")[0]).exists():
                broken.append(f"{path.relative_to(REPO)}: {target}")
    assert not broken, broken


def test_versions_agree() -> None:
    version = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]["version"]
    cmake = (REPO / "firmware/CMakeLists.txt").read_text()
    assert f"project(tbft_firmware VERSION {version} " in cmake
    assert f"## [{version}]" in (REPO / "CHANGELOG.md").read_text()


def test_platformio_builds_what_exists() -> None:
    config = configparser.ConfigParser(inline_comment_prefixes=(";",), interpolation=None)
    config.read(REPO / "platformio.ini")
    assert "env:native" in config
    source = (REPO / config["platformio"]["src_dir"]).resolve()
    assert (source / "app" / "main_native.cc").exists()


def test_pinned_versions_satisfy_the_bounds() -> None:
    """constraints.txt names a version for every direct dependency that is released, within its bounds."""
    from packaging.requirements import Requirement

    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    pins = dict(
        line.lower().replace("_", "-").split("==")
        for line in (REPO / "constraints.txt").read_text().splitlines()
        if "==" in line
    )
    wanted = list(project["dependencies"])
    for extra in project["optional-dependencies"].values():
        wanted += extra
    for text in wanted:
        requirement = Requirement(text)
        name = requirement.name.lower().replace("_", "-")
        if name in {"tflite-micro", "torch"}:  # development releases only; pinned in pyproject.toml
            continue
        assert name in pins, f"constraints.txt lacks {name}"
        assert requirement.specifier.contains(pins[name]), f"{text} against {pins[name]}"
