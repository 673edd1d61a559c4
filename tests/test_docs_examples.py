"""Every block of code in the docs works.

One rule decides how a block is held to that. It **runs**, in a folder of its own where the pictures that it names are
there, unless it needs what cannot be in the repository, which can be seen from the block alone: weights (`weights=`,
`--weights`, a recipe or backbone that has none), a library that is not installed, something of the reader's own (a
value that no block gives, a name that begins with `my-` or stands in CAPITALS), or pytest. Then it is **read**:
Python is compiled, and what it takes from vlmad_core, parts, recipes and options must exist; commands are parsed by
the command line itself. Blocks that learn or measure run in `make test-all`. The tutorial is followed as a whole by
test_stranger.py.
"""

from __future__ import annotations

import ast
import builtins
import re
import shlex
import textwrap
import tomllib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import typer
import yaml
from PIL import Image

import vlmad_core
from vlmad_core.cli.__main__ import app
from vlmad_core.pipeline.resolve import resolve
from vlmad_core.pipeline.spec import PartSpec, PipelineSpec, override
from vlmad_core.registry.registry import default_registry
from vlmad_core.registry.validate import validate

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))]
PAGES = [page for page in PAGES if page.parent.name != "reference"]
READMES = sorted(
    ROOT.glob("plugins/*/README.md")
)  # each block stands for itself there, with names that the text explains
PROGRAMS = ("vlmad", "anomalib", "pip", "make", "torchrun", "python", "mkdir", "pytest", "cd")
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)  # a list indents it
PARTS = {"backbone": "backbone", "extractor": "extractor", "prompts": "prompts", "scorer": "scorer", "recipe": "recipe"}


@dataclass(frozen=True)
class Block:
    """A piece of code in a page."""

    page: Path
    line: int
    language: str
    code: str
    known: frozenset[str] = frozenset()
    """What blocks above it on the page define."""

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def commands(self) -> list[list[str]]:
        """Command lines in it, without what is only shown as output."""
        if self.language not in ("", "sh", "bash", "console", "shell"):
            return []
        lines = re.sub(r"\\\n\s*", " ", self.code).splitlines()
        split = [shlex.split(line.removeprefix("$ "), comments=True) for line in lines if _is_command(line)]
        return [words for line in split for words in _pieces(line)]

    @property
    def needs(self) -> str:
        """Why it cannot run here; empty where it can."""
        runs = set(re.findall(r"\bruns/\w[\w.-]*", self.code)) - written(self.page.read_text(encoding="utf-8"))
        if runs:
            return f"results that nothing on the page makes: {', '.join(sorted(runs))}"
        if self.language == "python":
            return _python_needs(self.code) or _own_data(self.code, self.known)
        wants = [_command_needs(words) for words in self.commands]
        return "" if "" in wants else next(iter(wants), "")

    @property
    def is_slow(self) -> bool:
        """Whether it learns, or measures."""
        return bool(re.search(r"\b(train|benchmark|study)\(", self.code)) or any(
            words[1] in ("train", "benchmark", "study", "speed", "export", "batch")
            for words in self.commands
            if words[0] == "vlmad"
        )


def written(code: str) -> set[str]:
    """Files and folders that code makes, as far as it names them."""
    words = re.findall(r"(?:--out|-o|--save) (\S+)", code)
    words += re.findall(r"(?:save|save_recipe|train|benchmark|study)\([^()]*\"([^\"]+)\"", code)
    return {word.rstrip("/") for word in words}


def _is_command(line: str) -> bool:
    return line.removeprefix("$ ").split(" ")[0] in PROGRAMS


def _pieces(words: list[str]) -> Iterator[list[str]]:
    piece: list[str] = []
    for word in [*words, "&&"]:
        if word in ("&&", "|", ">"):
            yield piece
            piece = []
        else:
            piece.append(word)


def _python_needs(code: str) -> str:
    if re.search(r"weights=|pretrained|open-clip|timm|build\(\s*\"(winclip|april|anomalyclip|clip)", code) and (
        "backbone=" not in code or "weights=" in code
    ):
        return "weights"
    if "feedback.json" in code:
        return "what a person labelled on a page"
    if "def test_" in code or "parametrize_checks" in code:
        return "pytest"
    if re.search(r"[\"'/](vlmad-)?my-", code):
        return "something of the reader's own"
    imported = {name.split(".")[0] for name in re.findall(r"^(?:import|from) ([\w.]+)", code, re.MULTILINE)}
    return next((f"the library {name}" for name in sorted(imported) if find_spec(name) is None), "")


def _own_data(code: str, known: frozenset[str]) -> str:
    """A name that the reader has to fill, such as ``scores``; a module that was not imported is none."""
    free = loaded(code) - stored(code) - known - set(dir(builtins))
    free = {name for name in free if find_spec(name) is None and name not in ("np", "pd", "plt", "Path", "Image")}
    return f"the reader's own {', '.join(sorted(free))}" if free else ""


def loaded(code: str) -> set[str]:
    return {n.id for n in ast.walk(ast.parse(code)) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}


def stored(code: str) -> set[str]:
    nodes = list(ast.walk(ast.parse(code)))
    names = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    names |= {n.name for n in nodes if isinstance(n, ast.FunctionDef | ast.ClassDef)} | {
        n.arg for n in nodes if isinstance(n, ast.arg)
    }
    imported = [alias for n in nodes if isinstance(n, ast.Import | ast.ImportFrom) for alias in n.names]
    return names | {(alias.asname or alias.name).split(".")[0] for alias in imported}


def _command_needs(words: list[str]) -> str:
    text = " ".join(words)
    if words[0] != "vlmad":
        return "another program"
    if "cuda" in text:
        return "a GPU"
    if words[1] == "feedback":
        return "what a person labelled on a page"
    if words[1] in ("serve", "watch"):
        return "a run that only a person ends"
    heavy = re.search(r"--recipe (winclip|april|anomalyclip|clip)", text) and "--backbone pocket" not in text
    if heavy or re.search(r"--weights|pretrained=|--backbone (open-clip|timm)", text):
        return "weights"
    if any(re.fullmatch(r"[A-Z][A-Z_]+(\.\w+|=\w+)?", word) for word in words):
        return "something of the reader's own"
    if re.search(r"(^| |:)(vlmad-)?my-", text) or words[1] in ("check", "import"):
        return "something of the reader's own"
    return ""


def blocks(pages: list[Path]) -> list[Block]:
    found = []
    for page in pages:
        text, known = page.read_text(encoding="utf-8"), frozenset[str]()
        for match in FENCE.finditer(text):
            language, code = match[2], textwrap.dedent(match[3])
            found.append(Block(page, text.count("\n", 0, match.start()) + 1, language, code, known))
            if language == "python" and not found[-1].needs:
                known |= stored(code)
    return found


ALL = blocks([*PAGES, *READMES])
RUN = blocks([page for page in PAGES if page.name != "tutorial.md"])


# -- read


@pytest.mark.parametrize("block", [b for b in ALL if b.language == "python"], ids=str)
def test_what_python_takes_from_vlmad_exists(block):
    tree = ast.parse(block.code)
    modules = {"vlmad_core"}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vlmad_core"):
            home = import_module(node.module)
            names = [alias.name for alias in node.names if not hasattr(home, alias.name)]
            assert [name for name in names if find_spec(f"{node.module}.{name}") is None] == []
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            assert hasattr(vlmad_core, node.attr) or find_spec(f"vlmad_core.{node.attr}")
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("vlmad_core.build", "build"):
            check_build(node)


def check_build(call: ast.Call) -> None:
    """Names of recipe and parts, and paths of options, where the call writes them out."""
    given = {word.arg: literal(word.value) for word in call.keywords}
    recipe = literal(call.args[0]) if call.args else None
    if recipe is None or own(recipe):
        return
    changes = {
        kind: given[kind] for kind in ("backbone", "extractor", "prompts", "scorers") if given.get(kind) is not None
    }
    check_spec(resolve(recipe, {**changes, **(given.get("overrides") or {})}).spec)


def literal(node: ast.expr) -> object:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None


def own(name: object) -> bool:
    """Named for the reader to replace, or a file."""
    return "my-" in str(name) or Path(str(name)).suffix in {".yaml", ".yml", ".json"} or "tiny" in str(name)


def check_spec(spec: PipelineSpec) -> None:
    parts = [("backbone", spec.backbone), ("extractor", spec.extractor), ("prompts", spec.prompts)]
    for kind, part in [*parts, *(("scorer", scorer) for scorer in spec.scorers)]:
        if part is not None and not own(part.use):
            check_part(kind, part)


def check_part(kind: str, part: PartSpec) -> None:
    config = default_registry().get(kind, part.use).component.config
    unknown = set(part.config) - set(config.model_fields)
    assert not unknown, f"{part.use} has no option {unknown}"


@pytest.mark.parametrize("block", [b for b in ALL if b.commands], ids=str)
def test_commands_exist_with_their_options(block):
    for words in block.commands:
        if words[0] == "vlmad":
            check_vlmad(words[1:])
        elif words[0] == "torchrun":
            check_vlmad(words[words.index("vlmad_core.cli") + 1 :])
        elif words[0] == "make":
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), words
        elif words[:2] == ["pip", "install"]:
            options = {
                i for i, word in enumerate(words) if words[i - 1] in ("--constraint", "--find-links", "--wheel-dir")
            }
            given = [word for i, word in enumerate(words) if i > 1 and i not in options and not word.startswith("-")]
            check_install(given)
        elif words[0] == "python" and not words[1].startswith("-"):
            there = [ROOT, block.page.parent, ROOT / "plugins/vlmad-pocket/build"]
            written = f"`{words[1]}`" in block.page.read_text(encoding="utf-8")  # by the reader, from the page
            assert written or any((folder / words[1]).exists() for folder in there), words


def check_vlmad(words: list[str]) -> None:
    command = typer.main.get_command(app)
    context = command.make_context("vlmad", list(words), resilient_parsing=True)
    while hasattr(command, "resolve_command"):
        name, command, words = command.resolve_command(context, words)
        context = command.make_context(name, [w for w in words if w != "…"], parent=context)
    given = context.params
    for option, kind in PARTS.items():
        for value in given[option] if isinstance(given.get(option), list | tuple) else [given.get(option)]:
            if value not in (None, "none") and not own(value):
                default_registry().get(kind, value)
    settings = given.get("settings") or given.get("set") or []
    recipe = given.get("recipe") or ("pocket-few-shot" if given.get("normals") or given.get("normal") else "pocket")
    if settings and name in ("predict", "fit") and not own(recipe):
        changes = dict(setting.split("=", 1) for setting in settings)
        chosen = {"backbone": given["backbone"]} if given.get("backbone") else {}
        item = default_registry().get("recipe", recipe).item
        check_spec(validate(PipelineSpec, override(item.spec, {**chosen, **changes})))


def check_install(packages: list[str]) -> None:
    ours = {path.name for path in (ROOT / "plugins").iterdir()} | {"vlmad-core"}
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for package in packages:
        name, _, extra = package.rstrip("]").partition("[")
        if name.startswith(".") and "pyproject" not in name:
            assert (ROOT / name / "pyproject.toml").exists(), package
        elif name.startswith("vlmad-") and "my-" not in name and "/" not in name:
            assert re.split(r"[=<>~]", name)[0] in ours, package
        if name in (".", "vlmad-core") and extra and extra != "test":
            assert set(extra.split(",")) <= set(extras), package


@pytest.mark.parametrize("block", [b for b in ALL if b.language in ("yaml", "toml")], ids=str)
def test_files_can_be_read_and_name_what_exists(block):
    if block.language == "toml":
        assert tomllib.loads(block.code)
        return
    data = yaml.safe_load(block.code)
    if isinstance(data, dict) and "scorers" in data:
        check_spec(validate(PipelineSpec, data))
    elif isinstance(data, dict) and set(data) == {"backbone"}:
        check_part("backbone", validate(PartSpec, data["backbone"]))


# -- run


def test_what_is_not_run_says_why_and_is_the_smaller_part():
    able = [b for b in RUN if b.language == "python" or b.commands]
    run = [b for b in able if not b.needs]
    assert len(run) > len(able) / 2, sorted({(str(b), b.needs) for b in able if b.needs})
    for page in ("README.md", "docs/index.md", "docs/start.md"):
        assert any(b in run for b in able if b.page == ROOT / page)


@pytest.mark.parametrize("page", [*PAGES, *READMES], ids=lambda page: str(page.relative_to(ROOT)))
def test_code_in_a_list_stays_in_the_list_on_the_site(page):
    assert not re.search(r"^ {1,3}```", page.read_text(encoding="utf-8"), re.MULTILINE), "indent by 4, or use headings"


def test_a_folder_of_results_is_given_to_one_detector_a_page():
    for page in PAGES:
        first: dict[str, list[str]] = {}
        for block in blocks([page]):
            for words in block.commands:
                if words[:2] == ["vlmad", "predict"] and "--out" in words:
                    out = words[words.index("--out") + 1]
                    assert first.setdefault(out, words) == words, f"{block}: {out} is refused, another wrote there"


def runs_of(page: Path) -> list[Block]:
    return [b for b in RUN if b.page == page and (b.language == "python" or b.commands) and not b.needs]


def _cases():
    """Each page with what is quick on it, and once more with everything where something is slow."""
    for page in PAGES:
        mine = runs_of(page)
        if any(not block.is_slow for block in mine):
            yield pytest.param(page, False, id=str(page.relative_to(ROOT)))
        if any(block.is_slow for block in mine):
            yield pytest.param(page, True, id=f"{page.relative_to(ROOT)}-all", marks=pytest.mark.slow)


@pytest.fixture(scope="module")
def quick_pocket():
    """What is run here is the code, not the detector: pocket looks at 56 pixels where nobody says how many, and is read
    from the disk once, as it is frozen and may be shared.
    """
    from vlmad_pocket import vision
    from vlmad_pocket.plugin import PocketConfig

    field = PocketConfig.model_fields["image_size"]
    usual, field.default = field.default, 56
    PocketConfig.model_rebuild(force=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vision, "Pocket", cache(vision.Pocket))
        yield
    field.default = usual
    PocketConfig.model_rebuild(force=True)


@pytest.mark.usefixtures("quick_pocket")
@pytest.mark.parametrize(("page", "everything"), list(_cases()))
def test_the_code_of_a_page_runs_from_top_to_bottom(page, everything, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # which the command line replaces
    for block in blocks([page]):  # a block that begins with the name of a file is that file
        named = re.match(r"# ([\w.-]+\.(?:yaml|csv))\n", block.code)
        if named:
            Path(named[1]).write_text(block.code)
    names: dict[str, object] = {"__name__": "docs"}
    later: set[str] = set()
    for block in runs_of(page):
        if not everything and (block.is_slow or any(name in block.code for name in later)):
            later |= written(block.code)  # what is made of it waits too
            continue
        lay_out(block)
        if block.language == "python":
            exec(compile("\n" * block.line + block.code, str(page), "exec"), names)
        for words in block.commands:
            if _command_needs(words) or waits(words, page):
                continue
            assert command_line(words[1:]) == 0, (str(block), words, capsys.readouterr().err)


def waits(words: list[str], page: Path) -> bool:
    """Whether it reads a detector that a command above it makes which cannot run here."""
    given = words[words.index("--detector") + 1].rstrip("/") if "--detector" in words else ""
    return bool(given) and not Path(given).exists() and given in written(page.read_text(encoding="utf-8"))


def command_line(words: list[str]) -> int:
    from vlmad_core.cli.__main__ import main

    with pytest.raises(SystemExit) as left:
        main(words)
    return int(left.value.code or 0)


MANY = {"good-parts": 20, "more-good": 60}
"""Folders that need more than two images, since a false-alarm rate is promised from them."""


def lay_out(block: Block) -> None:
    """The pictures that a block names: files by their ending, folders by their slash, data sets by their name."""
    made = written(block.code)
    for number, name in enumerate(re.findall(r"[\w./*-]+", block.code)):
        path = Path(name)
        if path.exists() or name.rstrip("/") in made or name.startswith(("/", ".", "#")):
            continue
        if ("mvtec" in path.name and "/" in name) or name.startswith("data/"):
            for place, count in {"train/good": 6, "test/good": 2, "test/bent": 2}.items():
                for i in range(count):
                    draw(path / "metal_nut" / place / f"{i:03}.png", number * 20 + i + len(place))
            for i in range(2):
                mask = path / "metal_nut" / "ground_truth" / "bent" / f"{i:03}_mask.png"
                mask.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.eye(48, 64, i, dtype=np.uint8) * 255).save(mask)
        elif "*" in name and path.suffix in {".png", ".jpg"}:
            draw(Path(name.replace("**", "a").replace("*", "0")), number)
        elif path.suffix in {".png", ".jpg"} and "results" not in path.parts:
            draw(path, number)
        elif name.endswith("/") and path.parts:
            for i in range(MANY.get(path.name, 2)):
                draw(path / f"{i}.png", number * 100 + i)


def draw(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        Image.fromarray(np.random.default_rng(seed).integers(0, 255, (48, 64, 3), np.uint8)).save(path)
