# SPDX-License-Identifier: MIT
"""The documents agree with the tree: links lead somewhere, and no script or folder is left out."""

import re
from pathlib import Path

import pytest

import pressurefs

PACKAGE = Path(pressurefs.__file__).parent
ROOT = PACKAGE.parent
DOCUMENTS = PACKAGE / "share" / "doc"
PAGES = [ROOT / "README.md", ROOT / "tests" / "README.md", *sorted(DOCUMENTS.glob("*.md"))]
PICTURES = ["plot.png", "watch.svg"]
PICTURES_BYTES_MAX = 150_000  # everybody who installs the package downloads them


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links(page: Path) -> None:
    """Each relative link of a document leads to something in this repository."""
    targets = re.findall(r"\]\(([^)\s:]+)\)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_scripts() -> None:
    """The page for hackers names each file of scripts/."""
    told = (DOCUMENTS / "hacking.md").read_text()
    names = {path.name for path in (ROOT / "scripts").iterdir() if path.name != "__pycache__"}
    assert [name for name in sorted(names) if f"scripts/{name}" not in told] == []


def test_folders() -> None:
    """The design names each folder of the package."""
    told = (DOCUMENTS / "design.md").read_text()
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert [name for name in sorted(folders) if f"`{name}/`" not in told] == []


def test_pictures() -> None:
    """README shows both pictures, and they are small."""
    readme = (ROOT / "README.md").read_text()
    assert all(f"](pressurefs/share/doc/{name})" in readme for name in PICTURES)
    assert sum((DOCUMENTS / name).stat().st_size for name in PICTURES) < PICTURES_BYTES_MAX
