"""Hooks of MkDocs for the documentation site; mkdocs.yml names this file.

The pages in docs/ are plain Markdown, which a code host can also show.  When the site is built,
these hooks

- make pages of Markdown files outside of docs/ (`BORROWED`), and correct the links to them; a
  link to any other Markdown file outside of docs/ becomes plain text;
- put diagrams into the page itself, so that they have the colours of its palette;
- allow line breaks inside long names, in code and in tables, at a dot, a slash, an underscore and
  similar places only;
- replace ``...`` after ``$ ckptparse COMMAND --help`` by the help text of the command;
- make the page of `ckptparse report` for a fixture, and add a link to it at the end of report.md;
- stop the build if a page loads anything from another host.
"""

from __future__ import annotations

import html
import os
import posixpath
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent

BORROWED = {
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changes.md",
    "benchmarks/README.md": "benchmarks-method.md",
}
"""Path of a Markdown file outside docs/ -> path of its page."""

_SAMPLE, _SAMPLE_PAGE = "report-sample.html", "report.md"
_SAMPLE_SOURCE = "fixtures/tf-1.15.5/training_graph"

_LINK = re.compile(r"\[(?P<text>[^\[\]]+)\]\((?P<path>[^)#:\s]+\.md)(?P<anchor>#[^)\s]*)?\)")
_HELP = re.compile(r"^\$ ckptparse (?P<words>[a-z ]*)--help\n\.\.\.$", re.MULTILINE)
_DIAGRAM = re.compile(
    r'<p><img alt="(?P<alt>[^"]*)" src="[^"]*?(?P<path>diagrams/[^"/]+\.svg)"[^>]*></p>'
)
_INLINE_CODE = re.compile(r"(?<!<span></span>)<code>(?P<text>[^<]+)</code>")
_CELL = re.compile(r"<t[dh]\b.*?</t[dh]>", re.DOTALL)
_TAG_OR_NAME = re.compile(r"<[^>]*>|&\w+;|[\w.]{17,}")
_OPTION = re.compile(r"(?<![\w-])--?[a-z][\w-]*")
_BREAK = re.compile(r"(?<=[\w)])(?!\.\w{1,5}(?![\w(.:]))((?:::|[./_(])+|-)(?=\w)")
"""Places where code may be broken, but not before the suffix of a file name."""
_BREAK_IN_WORD = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[._])(?=\w)")
_SHORT = 12
"""Code with this number of letters or fewer is not broken."""
_STYLE = re.compile(r"<style>.*?</style>\s*", re.DOTALL)
_FOREIGN = re.compile(
    r'<(?:script|img|iframe|source|link(?! rel="canonical"))\b'
    r'[^>]*(?:src|href)="?(?:https?:)?//[^>]*>'
)


def on_files(files: Files, config: Any) -> Files:
    """Add the pages of `BORROWED`, and the sample of a report."""
    for source, page in BORROWED.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    files.append(File.generated(config, _SAMPLE, content=_make_sample()))
    return files


def _make_sample() -> str:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, _SAMPLE)
        command = [sys.executable, "-m", "ckptparse", "report", _SAMPLE_SOURCE, "-o", str(path)]
        subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
        return path.read_text(encoding="utf-8")


def on_page_markdown(markdown: str, page: Page, config: Any, files: Files) -> str:
    """Correct the links between docs/ and the pages of `BORROWED`; insert help texts."""
    here = {page: source for source, page in BORROWED.items()}.get(
        page.file.src_uri, f"docs/{page.file.src_uri}"
    )

    def lead_to_page(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(here), link["path"]))
        if target not in BORROWED and not target.startswith("docs/") and (ROOT / target).exists():
            return link["text"]
        target = BORROWED.get(target, target.removeprefix("docs/"))
        path = posixpath.relpath(target, posixpath.dirname(page.file.src_uri) or ".")
        return f"[{link['text']}]({path}{link['anchor'] or ''})"

    if page.file.src_uri == _SAMPLE_PAGE:
        markdown += f"\n## Sample\n\n[The page of `{_SAMPLE_SOURCE}`]({_SAMPLE})\n"
    markdown = _LINK.sub(lead_to_page, markdown)
    return _HELP.sub(lambda command: f"{command[0][:-4]}\n{_help(command['words'])}", markdown)


def _help(words: str) -> str:
    command = [sys.executable, "-m", "ckptparse", *words.split(), "--help"]
    environment = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return done.stdout.rstrip()


def on_page_content(html_text: str, page: Page, config: Any, files: Files) -> str:
    """Insert the diagrams, without their own colours; mark where a line may break in code."""

    def inline(image: re.Match[str]) -> str:
        svg = _STYLE.sub("", (ROOT / "docs" / image["path"]).read_text(encoding="utf-8"))
        label = f'<svg role="img" aria-label="{image["alt"]}"'
        return f'<figure class="diagram">{svg.strip().replace("<svg", label, 1)}</figure>'

    html_text = _INLINE_CODE.sub(_break_code, html_text)
    html_text = _CELL.sub(lambda cell: _TAG_OR_NAME.sub(_break_name, cell[0]), html_text)
    return _DIAGRAM.sub(inline, html_text)


def _break_code(code: re.Match[str]) -> str:
    text = code["text"]
    if len(html.unescape(text)) > _SHORT:
        text = _BREAK.sub(r"\1<wbr>", text)
    return f"<code>{_OPTION.sub(_keep_together, text)}</code>"


def _keep_together(option: re.Match[str]) -> str:
    return f'<span class="option">{option[0]}</span>'


def _break_name(found: re.Match[str]) -> str:
    """Allow breaks in a long name, such as CheckpointNotFoundError; do not change tags."""
    return found[0] if found[0][0] in "<&" else _BREAK_IN_WORD.sub("<wbr>", found[0])


def on_post_page(output: str, page: Page, config: Any) -> str:
    """Stop the build if a page loads anything from another host."""
    foreign = _FOREIGN.search(output)
    if foreign:
        raise PluginError(f"{page.file.src_uri} loads {html.unescape(foreign[0])}")
    return output
