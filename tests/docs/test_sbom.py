"""What may be required is permissive, or argued for by name."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def sbom() -> ModuleType:
    pytest.importorskip("cyclonedx", reason="CycloneDX is not installed")
    spec = importlib.util.spec_from_file_location("sbom", ROOT / "scripts" / "sbom.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["sbom"] = module  # its dataclasses look for it
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("name", "licence", "allowed"),
    [
        ("any", "MIT", True),
        ("any", "MIT OR GPL-3.0-only", True),
        ("any", "MIT AND GPL-3.0-only", False),
        ("any", "(Apache-2.0 OR GPL-2.0-only) AND ISC", True),
        ("any", "Apache-2.0 WITH LLVM-exception", True),
        ("any", "LGPL-2.1-or-later", False),
        ("any", "MPL-2.0", False),
        ("certifi", "MPL-2.0", True),
        ("certifi", "MPL-2.0 AND GPL-3.0-only", False),
        ("any", "", False),
        ("any", "see the file", False),
    ],
)
def test_a_licence_is_permissive_or_argued_for(
    sbom: ModuleType, name: str, licence: str, allowed: bool
) -> None:
    assert sbom.Package(name, "1", licence, "pypi").allowed is allowed


def test_what_is_argued_for_stands_in_the_document(sbom: ModuleType) -> None:
    page = (ROOT / "docs" / "dependencies.md").read_text()
    for name, licences in sbom.ARGUED.items():
        assert name in page, name
        assert all(one in page for one in licences), name
    assert all(prefix in page for prefix in sbom.BY_TORCH)


def test_the_page_brings_permissive_packages_alone(sbom: ModuleType) -> None:
    packages = sbom.in_page()
    assert {"@cornerstonejs/core", "@kitware/vtk.js"} <= {one.name for one in packages}
    assert [one.name for one in packages if not one.allowed] == []
