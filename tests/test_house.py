"""The house: imports go down the floors only, and what must start quickly does not pull in what is slow."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FLOORS = {"journey": 1, "sandbox": 1, "resources": 2, "assets": 3, "gateway": 3, "pipelines": 4, "estafette": 5}


def imported(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
    return found


def modules(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


@pytest.mark.parametrize("room", FLOORS)
def test_imports_go_down_the_floors_only(room: str) -> None:
    for file in modules(room):
        for name in imported(file):
            other = name.split(".")[0]
            if other in FLOORS and other != room:
                where = file.relative_to(ROOT)
                assert FLOORS[other] < FLOORS[room], f"{where} imports {name}, which is not below it"
                assert "sandbox" not in (room, other) or room == "estafette", f"{where} shares code with the sandbox"


def test_the_rules_touch_no_files_network_or_dagster() -> None:
    outside = {"dagster", "duckdb", "httpx", "sqlalchemy", "os", "pathlib", "socket", "subprocess", "time"}
    for file in modules("journey"):
        found = {name.split(".")[0] for name in imported(file)} & outside
        pure_paths = {"pathlib"} if "PurePosixPath" in file.read_text(encoding="utf-8") else set()
        assert found <= pure_paths, f"{file.relative_to(ROOT)} imports {sorted(found)}"


def test_only_one_module_of_the_resources_knows_dagster() -> None:
    knowing = [file.name for file in modules("resources") if any(one.startswith("dagster") for one in imported(file))]
    assert knowing == ["definitions.py"]


@pytest.mark.parametrize("module", ["gateway.app", "estafette.cli"])
def test_what_must_start_quickly_imports_no_dagster(module: str) -> None:
    code = f"import sys, {module}; sys.exit(any(name.split('.')[0] in ('dagster', 'polars') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
