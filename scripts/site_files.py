"""Lays the site out as the repository is, so that a link holds on the site and in a checkout.

`mkdocs build --strict` calls it: mkdocs.yml names scripts/site_files.py under hooks. What lies in
docs/ keeps that folder in its path; README, cards, licences and the few data files that pages link
to stand beside it.
"""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PUBLISHED = (
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "LICENSE",
    "models/README.md",
    "models/src/hilum_models/bundles/*/*.md",
    "src/hilum/bundles/*/*.md",
    "recipes/splits/*.json",
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The theme's files as they are, and ours by their paths in the repository."""
    root = Path(config.config_file_path).parent
    docs = Path(config.docs_dir)
    paths = [path for path in docs.rglob("*") if path.is_file()]
    paths += [path for pattern in PUBLISHED for path in root.glob(pattern)]
    own = [
        File.generated(config, path.relative_to(root).as_posix(), abs_src_path=str(path))
        for path in paths
    ]
    theme = [one for one in files if one.src_dir != config.docs_dir]
    return Files([*theme, *own])
