"""Dependencies point one way (docs/architecture.md): Python imports, C++ includes, and what firmware/lib does without."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.native import REPO

# ---- Python ----

PACKAGES = ("exporter", "host", "energy")
MAY_IMPORT = {
    "exporter": {"exporter"},
    "host": {"host", "exporter", "energy"},
    "energy": {"energy"},
}
# What talks to a board knows the artifact's bytes, not how they came about.
BOARD_SIDE = ("host.protocol", "host.transport", "host.device", "host.framing", "host.session")
BOARD_SIDE_MAY_IMPORT = ("exporter.artifact", "exporter.errors", "exporter.generator")
# Not installed by `make demo`; modules a demo runs must do without.
HEAVY = ("torch", "ai_edge_litert", "tflite_micro", "onnxruntime", "cv2")
LIGHT_MODULES = ("host.demo", "host.export", "host.tune", "host.session", "energy.capture")


def python_files(package: str) -> list[Path]:
    return sorted((REPO / package).rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(REPO).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> list[tuple[int, str]]:
    """Line and absolute dotted name of every import in a file, those inside functions and TYPE_CHECKING included."""
    name = module_name(path)
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found: list[tuple[int, str]] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                parents = parents[: len(parents) - node.level + 1]
                base = ".".join([*parents, base] if base else parents)
            found += [(node.lineno, f"{base}.{alias.name}") for alias in node.names]
    return found


def within(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == p or name.startswith(p + ".") for p in prefixes)


@pytest.mark.parametrize("package", PACKAGES)
def test_python_imports_point_one_way(package: str) -> None:
    wrong = []
    for path in python_files(package):
        for line, name in imports(path):
            top = name.split(".")[0]
            if top in PACKAGES and top not in MAY_IMPORT[package]:
                wrong.append(f"{path.relative_to(REPO)}:{line}: {package} must not import {name}")
            if top == "tests":
                wrong.append(
                    f"{path.relative_to(REPO)}:{line}: {package} must not import the tests"
                )
    assert not wrong, "\n".join(wrong)


def test_board_side_of_the_host_knows_only_the_artifact() -> None:
    wrong = [
        f"{path.relative_to(REPO)}:{line}: {name}"
        for path in python_files("host")
        if within(module_name(path), BOARD_SIDE)
        for line, name in imports(path)
        if name.split(".")[0] == "exporter" and not within(name, BOARD_SIDE_MAY_IMPORT)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_module_postpones_annotations(package: str) -> None:
    lacking = [
        str(path.relative_to(REPO))
        for path in python_files(package)
        if path.read_text(encoding="utf-8").strip()
        and (0, "__future__.annotations") not in [(0, name) for _, name in imports(path)]
        and any(
            isinstance(n, ast.FunctionDef | ast.ClassDef)
            for n in ast.walk(ast.parse(path.read_text("utf-8")))
        )
    ]
    assert not lacking, lacking


@pytest.mark.parametrize("module", LIGHT_MODULES)
def test_runs_without_the_heavy_packages(module: str) -> None:
    """Importing a command's module needs nothing beyond the tool's own dependencies."""
    block = (
        "import sys, importlib.abc\n"
        "class Block(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] in {HEAVY!r}:\n"
        "            raise ImportError(f'{name} is not among the dependencies of the demo')\n"
        "sys.meta_path.insert(0, Block())\n"
        f"import {module}\n"
    )
    done = subprocess.run([sys.executable, "-c", block], cwd=REPO, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# ---- C++ ----

LIB = REPO / "firmware" / "lib"
LAYERS = {
    "kernels": {"kernels"},
    "hal": {"hal"},
    "sensors": {"sensors", "hal"},
    "runtime": {"runtime", "kernels", "hal"},
    "duty": {"duty", "runtime", "hal"},
    "wire": {"wire", "duty", "runtime", "hal"},
}
# hal_* know one vendor each (hal_memory none) and implement the interfaces.
HAL_VENDOR_MAY = {"hal", "hal_memory"}
FREESTANDING = {
    "atomic",
    "initializer_list",
    "cstdint",
    "cstddef",
    "cstring",
    "climits",
    "limits",
    "type_traits",
    "utility",
    "new",
    "array",
}
KERNEL_HEADERS = {"cstdint", "cstddef", "cstring"}
# The fast kernels of one instruction set may know its intrinsics; their names say which.
# `dispatch.h` asks a CPU's own description what it has, where the compiler does not tell.
INTRINSICS = {
    "xtensa/config/core-isa.h": "dispatch",
    "immintrin.h": "x86",
    "arm_acle.h": "arm",
    "arm_mve.h": "arm",
    "arm_neon.h": "arm",
}
FORBIDDEN = re.compile(
    r"\b(float|double|long\s+double|malloc|calloc|realloc|throw|try|dynamic_cast|typeid|printf)\b"
    r"|\bstd::(vector|string|map|unordered_map|function|shared_ptr|unique_ptr|cout|cerr)\b"
    r"|\bnew\s+[A-Za-z_:]"  # placement new, `new (p) T`, is not the heap
    r"|(?<!=)(?<!= )\bdelete\b"
)
COMMENT_OR_STRING = re.compile(
    r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL
)
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)


def cpp_sources(folder: Path) -> list[Path]:
    return sorted(p for pattern in ("*.h", "*.cc") for p in folder.rglob(pattern))


def without_comments(text: str) -> str:
    """The code with comments and literals blanked, line numbers kept."""

    def blank(match: re.Match[str]) -> str:
        return re.sub(r"[^\n]", " ", match[0])

    return COMMENT_OR_STRING.sub(blank, text)


def includes(path: Path) -> list[tuple[int, str, bool]]:
    """Line, name, and whether in angle brackets, of every include."""
    text = path.read_text(encoding="utf-8")
    return [
        (text.count("\n", 0, m.start(2)) + 1, m[2], m[1] == "<") for m in INCLUDE.finditer(text)
    ]


def layer_rules(name: str) -> tuple[set[str], set[str] | None]:
    if name in LAYERS:
        return LAYERS[name], KERNEL_HEADERS if name == "kernels" else FREESTANDING
    if name.startswith("hal_"):
        return HAL_VENDOR_MAY | {name}, None
    raise AssertionError(f"firmware/lib/{name} has no rule here and none in docs/architecture.md")


LIB_LAYERS = (
    sorted(p.name for p in LIB.iterdir() if p.is_dir() and cpp_sources(p)) if LIB.is_dir() else []
)


@pytest.mark.parametrize("layer", LIB_LAYERS)
def test_includes_point_one_way(layer: str) -> None:
    ours, system = layer_rules(layer)
    wrong = []
    for path in cpp_sources(LIB / layer):
        for line, name, angled in includes(path):
            where = f"{path.relative_to(REPO)}:{line}"
            if angled:
                if INTRINSICS.get(name, "/") in path.stem:
                    continue
                if system is not None and name not in system:
                    wrong.append(f"{where}: <{name}> is not among {sorted(system)}")
            elif name.split("/")[0] not in ours or "/" not in name:
                wrong.append(f'{where}: "{name}"; {layer} may include {sorted(ours)} by full path')
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("layer", [name for name in LIB_LAYERS if not name.startswith("hal_")])
def test_no_floating_point_no_heap_no_exceptions(layer: str) -> None:
    wrong = []
    for path in cpp_sources(LIB / layer):
        code = without_comments(path.read_text(encoding="utf-8"))
        for number, line in enumerate(code.splitlines(), 1):
            if match := FORBIDDEN.search(line):
                wrong.append(f"{path.relative_to(REPO)}:{number}: {match[0].strip()}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("code", "caught"),
    [
        ("float x;", True),
        ("// float x", False),
        ('const char* s = "double";', False),
        ("Foo(const Foo&) = delete;", False),
        ("delete p;", True),
        ("int* p = new int[3];", True),
        ("new (storage) Engine();", False),
        ("int renewed = 1; int floats = 2;", False),
    ],
)
def test_the_search_itself(code: str, caught: bool) -> None:
    assert bool(FORBIDDEN.search(without_comments(code))) == caught
