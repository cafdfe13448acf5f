"""Imports: one engine, by one name, and without side effects."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(code):
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {code}"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["autograd", "models"])
@pytest.mark.parametrize("form", ["import {}", "import {}.registry", "from {} import ops", "import minattn, {}"])
def test_a_package_is_not_imported_through_its_link(name, form):
    if not (ROOT / name).is_dir():
        pytest.skip("this copy has no links")
    done = run(form.format(name))
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last == f"ImportError: '{name}' is a link to a part of minattn, for readers; hint: import minattn.{name}"


def test_a_refused_import_leaves_the_engine_usable():
    code = (
        "import contextlib\nwith contextlib.suppress(ImportError): import autograd\nimport minattn as ma; ma.tanh(1.0)"
    )
    assert run(code).returncode == 0


def test_importing_minattn_imports_no_optional_library():
    done = run("import minattn; print(*sorted({name.partition('.')[0] for name in sys.modules}))")
    optional = [
        "cupy",
        "hypothesis",
        "matplotlib",
        "msgspec",
        "PIL",
        "rich",
        "safetensors",
        "sklearn",
        "tokenizers",
        "typer",
    ]
    assert not set(optional) & set(done.stdout.split())
