"""The documents are made from what the project registers; a program that can find faults checks their links."""

from __future__ import annotations

import json
import re
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader

import pytest

from studies.cli.verb import all_verbs
from studies.families.metrics import metrics


def program(root, name):
    """A script of the folder of documents as a module."""
    loader = SourceFileLoader(name, str(root / "docs" / f"{name}.py"))
    module = module_from_spec(spec_from_loader(name, loader))
    loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pages(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("generated")
    program(root, "generate").write(folder)
    return {path.stem: path.read_text(encoding="utf-8") for path in folder.glob("*.md")}


def test_the_reference_has_all_that_is_registered(pages):
    assert [entry.name for entry in all_verbs() if f"## {entry.name}" not in pages["verbs"]] == []
    assert [each.name for each in metrics() if f"| `{each.name}` | {each.shown} |" not in pages["metrics"]] == []
    assert "`bytes_per_second`" in pages["yaml"] and "`axes`" in pages["yaml"]
    assert "attnflow.run" in pages["python"]


def test_the_gallery_has_every_study_and_pictures_of_most(pages, root):
    shipped = sorted(path.stem for path in (root / "studies" / "configs").glob("*.yaml"))
    assert [name for name in shipped if f"studies/configs/{name}.yaml" not in pages["gallery"]] == []
    pictures = {path.stem for path in (root / "docs" / "pictures" / "studies").glob("*.png")}
    assert pictures <= set(shipped)
    assert len(pictures) > len(shipped) / 2


def test_every_notebook_is_there_as_it_ran_with_pictures(pages, root):
    sources = {path.stem: path.read_text(encoding="utf-8") for path in (root / "studies/notebooks").glob("*.py")}
    shown = {path.stem: json.loads(path.read_text("utf-8")) for path in (root / "docs/notebooks").glob("*.ipynb")}
    assert set(shown) == set(sources)
    index = (root / "docs" / "notebooks" / "README.md").read_text(encoding="utf-8")
    for name, notebook in shown.items():
        outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
        kinds = {kind for output in outputs for kind in output.get("data", {})}
        assert "image/png" in kinds, name
        assert not [kind for kind in kinds if "plotly" in kind], "a viewer without Jupyter shows nothing for it"
        code = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
        stale = [text for text in code if text not in sources[name]]
        assert not stale, f"{name} has changed: run docs/show_notebooks.py {name}"
        assert f"({name}.ipynb)" in index and f"]({name}.png)" in index
        assert f"notebook-{name}" in pages


@pytest.mark.parametrize(
    ("page", "fault"),
    [
        ('<a href="no.html">x</a>', "no such page"),
        ('<a href="#no">x</a>', "no such place"),
        ('<a href="other.html#no">x</a>', "no such place"),
        ('<a href="http://example.com">x</a>', "not https"),
        ('<script src="https://example.com/x.js"></script>', "loaded from elsewhere"),
        ('<img src="no.png">', "no such file"),
    ],
)
def test_links_that_lead_nowhere_are_found(root, tmp_path, page, fault):
    checker = program(root, "check_links")
    (tmp_path / "other.html").write_text('<p id="here">x</p>')
    (tmp_path / "index.html").write_text('<a href="other.html#here">x</a><a href="https://example.com">x</a>')
    assert list(checker.faults(tmp_path)) == []
    (tmp_path / "index.html").write_text(page)
    (found,) = checker.faults(tmp_path)
    assert fault in found


def test_the_version_is_the_same_everywhere(root, project):
    version = project["project"]["version"]
    assert re.search(rf"^version: {re.escape(version)}$", (root / "CITATION.cff").read_text("utf-8"), re.MULTILINE)
    assert f"## {version}" in (root / "CHANGELOG.md").read_text(encoding="utf-8")
    assert sys.version_info >= (3, 11)
