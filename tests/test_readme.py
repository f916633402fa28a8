"""What the README and the documents show is true: commands parse, examples load, links lead somewhere."""

from __future__ import annotations

import ast
import json
import re
import shlex
from pathlib import Path

import pytest

import engines
import streamer
from streamer.config import load

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Return the README's code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    """Return the `streamer` commands of the README's shell blocks and pipeline files, as words."""
    text = "\n".join(blocks("sh")).replace("\\\n", " ")
    text += "\n" + "\n".join(re.findall(r"`(streamer [a-z]+ --[^`]*)`", README))
    lines = (shlex.split(line, comments=True) for line in text.splitlines())
    return [words for words in lines if words[:1] == ["streamer"]]


def test_the_readme_shows_commands() -> None:
    assert len(commands()) >= 7


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_shown_is_one_that_the_program_takes(words: list[str]) -> None:
    from typer.main import get_command

    from streamer.cli import app

    verb, arguments = words[1], words[2:]
    command = get_command(app).commands[verb]  # type: ignore[attr-defined]
    command.make_context(verb, list(arguments))  # raises for an unknown option or a missing value


@pytest.mark.parametrize("text", blocks("yaml"))
def test_every_pipeline_shown_is_valid(tmp_path: Path, text: str) -> None:
    path = tmp_path / "street.yaml"
    path.write_text(text)
    assert load(path).sources


@pytest.mark.parametrize("text", blocks("json"))
def test_every_record_shown_is_json(text: str) -> None:
    assert set(json.loads(text)) == {"stream", "index", "pts", "detections"}


def programs() -> list[str]:
    """Return the Python blocks of every document."""
    texts = (path.read_text(encoding="utf-8") for path in DOCUMENTS)
    return [block for text in texts for block in re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)]


@pytest.mark.parametrize("text", programs())
def test_every_name_shown_is_there(text: str) -> None:
    tree = ast.parse(text)
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    names: dict[str, object] = {}
    exec(compile(ast.Module(imports, []), "shown", "exec"), names)
    assert imports
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            owner = names.get(node.value.id)
            if owner in (engines, streamer):
                assert node.attr in owner.__all__  # type: ignore[attr-defined]


def links() -> list[tuple[Path, str]]:
    """Return (document, target) of every relative link and picture."""
    found = ((path, re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8"))) for path in DOCUMENTS)
    return [(path, target) for path, targets in found for target in targets]


@pytest.mark.parametrize(("path", "target"), links(), ids=lambda part: str(part).rpartition("/")[2])
def test_every_link_leads_to_a_file(path: Path, target: str) -> None:
    assert (path.parent / target).exists()


def test_the_demo_is_the_same_by_make_and_by_file() -> None:
    made = re.search(r"^DEMO_SOURCE := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert made
    assert load(ROOT / "configs" / "pipelines" / "demo.yaml").sources["scene"].url == made[1]
