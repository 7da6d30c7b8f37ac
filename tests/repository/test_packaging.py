"""Both distributions build, and hold what they should and nothing else."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("receipt_dynamo", "receipt_label")

pytest.importorskip("build")


@pytest.fixture(scope="module", params=PACKAGES)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist of one package, and its name."""
    folder = tmp_path_factory.mktemp("dist") / str(request.param)
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), "."],
        cwd=ROOT / str(request.param),
        check=True,
        capture_output=True,
    )
    return folder


def list_sources(package: str) -> set[str]:
    root = ROOT / package
    found = [path for path in (root / package).rglob("*") if path.is_file()]
    found += root.glob("*.py")
    return {str(path.relative_to(root)) for path in found if "__pycache__" not in path.parts}


def test_the_wheel_holds_the_package_and_its_metadata_only(built: Path) -> None:
    package = built.name
    (wheel,) = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    metadata = {name for name in names if ".dist-info/" in name}
    assert names - metadata == list_sources(package)
    assert f"{package}/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in metadata)


def test_the_sdist_holds_the_sources_and_its_metadata_only(built: Path) -> None:
    package = built.name
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers()}
    extras = {"LICENSE", "README.md", "pyproject.toml", "PKG-INFO", ".gitignore"}
    assert names - extras == list_sources(package)
    assert {"LICENSE", "README.md", "pyproject.toml"} <= names


def test_the_wheel_says_its_licence_and_its_pythons(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    archive = zipfile.ZipFile(wheel)
    (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
    metadata = archive.read(name).decode()
    assert "License-Expression: MIT" in metadata
    assert "Requires-Python: >=3.11" in metadata
