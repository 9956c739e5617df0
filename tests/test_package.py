import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("lightning", "pytorch_lightning", "matplotlib", "numba", "triton")


def python(code, **environment):
    """What a fresh interpreter, outside the repository, prints when it runs the code."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd="/",
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel built from a copy of what a checkout holds."""
    source, target = tmp_path_factory.mktemp("source") / "sciops", tmp_path_factory.mktemp("wheel")
    source.mkdir()
    for name in ("pyproject.toml", "LICENSE", "README.md", "Makefile"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, source)
    for name in ("sciops", "tests", "examples", "docs", "solvers", "data"):
        if (ROOT / name).exists():
            ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
            if (ROOT / name).is_symlink():
                (source / name).symlink_to(os.readlink(ROOT / name))
            else:
                shutil.copytree(ROOT / name, source / name, ignore=ignored)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        target,
        source,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = target.glob("*.whl")
    return zipfile.ZipFile(built)


def test_wheel_holds_the_package_and_nothing_else(wheel):
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"sciops"}
    names = set(wheel.namelist())
    packaged = {str(path.relative_to(ROOT)) for path in (ROOT / "sciops").rglob("*.py")}
    assert packaged <= names
    assert "sciops/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_wheel_installs_no_module_named_data_or_solvers(wheel, tmp_path):
    wheel.extractall(tmp_path)
    code = (
        "import importlib.util as u; print(u.find_spec('data'), u.find_spec('solvers'), u.find_spec('sciops').origin)"
    )
    assert python(code, PYTHONPATH=str(tmp_path)) == f"None None {tmp_path / 'sciops' / '__init__.py'}"


def test_installed_package_offers_no_module_named_data_or_solvers():
    code = "import importlib.util as u; print(u.find_spec('data'), u.find_spec('solvers'), u.find_spec('sciops').name)"
    assert python(code, PYTHONPATH="") == "None None sciops"


@pytest.mark.parametrize("name", ["data", "solvers"])
def test_the_two_doors_are_relative_links(name):
    link = ROOT / name
    assert link.is_symlink()
    assert os.readlink(link) == f"sciops/{name}"
    assert (link / "__init__.py").samefile(ROOT / "sciops" / name / "__init__.py")


def test_import_is_quick():
    code = "import time; t = time.perf_counter(); import sciops; print(time.perf_counter() - t)"
    assert min(float(python(code)) for _ in range(2)) <= 2.0


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("sciops", HEAVY),
        ("sciops.data", HEAVY),
        ("sciops.solvers", HEAVY),
        ("sciops.plotting", HEAVY),
        ("sciops.operators", ("lightning", "pytorch_lightning", "matplotlib")),
        ("sciops.kernels", ("lightning", "pytorch_lightning", "matplotlib", "xarray", "h5py")),
    ],
)
def test_imports_leave_heavy_libraries_alone(module, absent):
    code = f"import sys, {module}; print(*[name for name in {absent} if name in sys.modules])"
    assert python(code) == ""


def test_public_names_resolve_and_unknown_ones_do_not():
    import sciops

    assert set(sciops.__all__) <= set(dir(sciops))
    for name in sciops.__all__:
        assert getattr(sciops, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'sovlers'"):
        _ = sciops.sovlers


def test_imports_run_one_way():
    """The layers of docs/architecture.md; the contract stands in pyproject.toml."""
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "1 kept, 0 broken" in done.stdout


def test_the_commands_of_the_house_include_the_checks():
    """`make test` runs ruff, mypy and the import contracts before the suite, and `.ci/run` runs `make test`."""
    plan = subprocess.run(
        ["make", "--dry-run", "test"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "MAKEFLAGS": ""},
    ).stdout
    for command in ("ruff check", "ruff format --check", "mypy", "lint-imports", "-m pytest"):
        assert command in plan
    assert plan.index("mypy") < plan.index("-m pytest")
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert "make test" in script.read_text()


def test_torch_is_installed_first_and_pinned():
    plan = subprocess.run(
        ["make", "--dry-run", "--always-make", "install"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    installs = [line for line in plan.splitlines() if "pip" in line and " install " in line]
    assert "torch==2.13.0" in installs[0] and "-e" not in installs[0].split()
    assert '-e ".[test]"' in installs[-1]
    assert all("-c constraints.txt" in line for line in installs)
