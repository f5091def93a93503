"""The rooms of the house, read from the code itself: who may import whom, what lives where, how large it may be."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Imports run one way: from a higher layer to a lower one. Rooms of one layer may use each other, but not in a circle.
LAYERS = [
    {
        "clock",
        "emails",
        "environment",
        "errors",
        "interruption",
        "logs",
        "metrics",
        "providers",
        "secret",
        "settings",
    },
    {"db"},
    {"pricing", "access"},
    {"formatting"},
    {"vault", "usage"},
    {"caps", "reports"},
    {"runs", "exchange"},
    {"ledger", "alerts"},
    {"llm"},
    {"keys"},
    {"platform"},
    {"sample"},
    {"ui", "web", "cli", "__main__"},
    {"pages"},
    {"app"},
]

# One package, one home: the paths (or their beginnings) that may import it.
HOMES = {
    "streamlit": ["app.py", "pages/", "lib/ui/"],
    "starlette": ["lib/web/"],
    "uvicorn": ["lib/web/half_sent.py"],
    "cryptography": ["lib/vault/sealing.py"],
    "opentelemetry": ["lib/metrics/"],
    "hvac": ["lib/vault/services/"],
    "boto3": ["lib/vault/services/"],
    "openai": ["lib/llm/openai/"],
    "anthropic": ["lib/llm/anthropic/"],
    "google": ["lib/llm/google/"],
    "httpx2": ["lib/llm/", "lib/alerts/"],
    "apprise": ["lib/alerts/"],
    "standardwebhooks": ["lib/alerts/"],
    "altair": ["lib/ui/charts/"],
    "pandas": [],  # only Streamlit needs it
    "genai_prices": ["lib/pricing/"],
    "numpy": ["lib/caps/", "lib/exchange/", "lib/alerts/watch.py"],
    "sqlalchemy": [
        f"lib/{room}/"
        for room in (
            "db",
            "access",
            "vault",
            "usage",
            "caps",
            "reports",
            "runs",
            "exchange",
            "ledger",
            "alerts",
            "sample",
        )
    ],
    "alembic": ["lib/db/"],
    "click": ["lib/cli"],
    "prometheus_client": ["lib/metrics/"],
    "pydantic_settings": ["lib/environment/setting_types.py", "lib/settings.py"],
}

# A provider's name stands in its own folder and where it is registered; everybody else is told which one it is.
PROVIDERS = re.compile(r"openai|anthropic|gemini", re.IGNORECASE)
WRITTEN_ONCE = "lib/db/migrations/versions/"  # as long as the schema is
KNOW_PROVIDERS = (
    "lib/sample/",  # made-up calls, in each provider's words
    WRITTEN_ONCE,
    "lib/llm/openai/",
    "lib/llm/anthropic/",
    "lib/llm/google/",
    "lib/llm/registry.py",
    "lib/providers.py",
    "lib/settings.py",
    "lib/pricing/table_gaps.py",  # what a provider publishes and the price table lacks
    "lib/exchange/files/file_kinds.py",  # tells exports of a provider's own console, which are no import
)

# Folders and files of lib/ui that are no screen of their own.
SHARED_BY_SCREENS = {"base", "charts", "main", "parts", "shell"}

FOLDER_FILES = 14
MODULE_LINES = 400
FUNCTION_LINES = 60
EMPTY_NAMES = re.compile(r"(^|_)(utils?|helpers?|managers?|misc|common)(_|$)")

# Written so that this file does not match itself.
FORBIDDEN_TEXTS = {
    "the host of a package registry": re.compile(r"\b(?:pypi|pythonhosted|npmjs|debian)\.(?:org|com|net)\b"),
    "something like a real key": re.compile(r"sk-(?:proj|svcacct|admin)-[\w-]{40}|sk-[A-Za-z0-9]{40}"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY"),
    "a path of one machine": re.compile(r"/(?:root|work)/[a-z.]|/tmp/[w]/"),
}
INSTALLERS = [
    "pyproject.toml",
    "requirements.txt",
    "requirements-dev.txt",
    "Makefile",
    "bin/setup",
    "bin/lock",
]


class Import(NamedTuple):
    """One imported module, and where."""

    path: str
    line: int
    module: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line} imports {self.module}"


def _sources() -> list[Path]:
    found = [*(ROOT / "lib").rglob("*.py"), *(ROOT / "pages").rglob("*.py"), ROOT / "app.py"]
    return sorted(path for path in found if path.exists())


def _kept_small() -> list[Path]:
    return [path for path in _sources() if WRITTEN_ONCE not in path.as_posix()]


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


@cache
def _imports() -> list[Import]:
    return [found for path in _sources() for found in _imports_of(path)]


def _imports_of(path: Path) -> Iterator[Import]:
    place = path.relative_to(ROOT).as_posix()
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            yield from (Import(place, node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(path, node)
            # ``from lib import db`` and ``from lib.usage import prices`` name modules, too.
            yield from (Import(place, node.lineno, f"{base}.{name.name}") for name in node.names)


def _absolute(path: Path, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    parent = path.relative_to(ROOT).parts[: -node.level]
    return ".".join([*parent, *([node.module] if node.module else [])])


def _room(dotted: str) -> str | None:
    """``lib.pricing.prices.Tokens`` -> ``usage``; None outside the house and for ``lib/__init__.py`` itself."""
    head, _, rest = dotted.partition(".")
    if head in {"pages", "app"}:
        return head
    room = rest.partition(".")[0]
    if head != "lib" or room in {"", "__init__"}:
        return None
    return "platform" if room in {"Platform", "Run"} else room


def _room_of_file(path: str) -> str | None:
    return _room(path.removesuffix(".py").replace("/", "."))


def _layer(room: str) -> int:
    return next((number for number, rooms in enumerate(LAYERS) if room in rooms), -1)


def _inner_imports() -> list[tuple[str, str, Import]]:
    """(from room, to room, where) for imports between two rooms of the house."""
    found = [(_room_of_file(each.path), _room(each.module), each) for each in _imports()]
    return [(here, there, each) for here, there, each in found if here and there and here != there]


def test_every_room_has_a_layer() -> None:
    rooms = {_room_of_file(path.relative_to(ROOT).as_posix()) for path in _sources()} - {None}
    assert {room for room in rooms if _layer(str(room)) < 0} == set(), "Give the new room a place in LAYERS."


def test_imports_run_one_way() -> None:
    wrong = [str(each) for here, there, each in _inner_imports() if _layer(there) > _layer(here)]
    assert wrong == [], "A lower layer may not know a higher one (CONTRIBUTING.md, Layers)."


def test_no_file_reaches_itself() -> None:
    targets: dict[str, set[str]] = {}
    for each in _imports():
        targets.setdefault(each.path, set()).update(_files_of(each.module) - {each.path})
    circles = [f"{path} reaches itself" for path in targets if path in _reachable(path, targets)]
    assert circles == []


def _files_of(module: str) -> set[str]:
    """``lib.pricing.prices.Tokens`` -> ``lib/pricing/prices.py``; a package is its ``__init__.py``."""
    parts = module.split(".")
    for end in (len(parts), len(parts) - 1):
        place = "/".join(parts[:end])
        found = {name for name in (f"{place}.py", f"{place}/__init__.py") if (ROOT / name).is_file()}
        if found:
            return found
    return set()


def test_screens_do_not_know_each_other() -> None:
    wrong = [
        str(each)
        for each in _imports()
        if (here := _screen(each.path.replace("/", "."))) and here != (_screen(each.module) or here)
    ]
    assert wrong == [], "What two screens need belongs into a domain of lib, or into lib/ui/parts/."


def _screen(dotted: str) -> str | None:
    head, _, rest = dotted.partition("lib.ui.")
    name = rest.partition(".")[0]
    return None if head or name in {"", *SHARED_BY_SCREENS} else name


def test_folders_stay_small() -> None:
    counts = Counter(path.parent for path in _kept_small())
    large = [f"{path.relative_to(ROOT)}: {files}" for path, files in counts.items() if files > FOLDER_FILES]
    assert large == [], f"Over {FOLDER_FILES} files: a domain hides in there that wants a folder of its own."


def _reachable(room: str, targets: dict[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    waiting = list(targets.get(room, ()))
    while waiting:
        each = waiting.pop()
        if each not in seen:
            seen.add(each)
            waiting.extend(targets.get(each, ()))
    return seen


@pytest.mark.parametrize("package", HOMES)
def test_one_package_has_one_home(package: str) -> None:
    strangers = [
        str(each)
        for each in _imports()
        if each.module.partition(".")[0] == package and not each.path.startswith(tuple(HOMES[package]))
    ]
    assert strangers == [], f"{package} belongs to {', '.join(HOMES[package]) or 'no room of ours'}."


# Each gathers what several files of its folder define.
FACADES = {"lib", "lib.db", "lib.db.tables"}


def test_a_name_has_one_home() -> None:
    """No module passes on what it has imported."""
    defined = {_module(path): _defined(_tree(path)) for path in _sources()}
    wrong = [
        str(each)
        for each in _imports()
        for module, _, name in [each.module.rpartition(".")]
        if module in defined and module not in FACADES and each.module not in defined
        if name not in defined[module]
    ]
    assert wrong == [], "Import it from where it is defined."


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _defined(tree: ast.Module) -> set[str]:
    """Names of functions, classes and variables of a module."""
    found = {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }
    names = {
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    return found | names


LEANING = re.compile(r"(?:The same|Its|Those|Likewise)\b")
PATHS_IN_PROSE = re.compile(r"\blib(?:/\w+)+\.py\b|\b(?:lib|tests)(?:\.[a-z_]+)+\b")


def test_docstrings_stand_alone() -> None:
    """An editor shows one without its neighbours."""
    leaning = [f"{place}: {text.splitlines()[0]}" for place, text in _docstrings() if LEANING.match(text)]
    assert leaning == [], "Say what it is for in its first line."


def test_docstrings_name_what_exists() -> None:
    unknown = [
        f"{place} names {name}"
        for place, text in _docstrings()
        for name in PATHS_IN_PROSE.findall(text)
        if not _files_of(name.removesuffix(".py").replace("/", "."))
    ]
    assert unknown == []


def _docstrings() -> Iterator[tuple[str, str]]:
    for path in _sources():
        for node in ast.walk(_tree(path)):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                place = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}"
                if text := ast.get_docstring(node):
                    yield place, text


@pytest.mark.parametrize("statement", ["import lib", "from lib import Platform"])
def test_a_worker_loads_neither_streamlit_nor_pandas(statement: str) -> None:
    program = f"import sys; {statement}; print(sorted({{'streamlit', 'pandas', 'altair', 'anthropic'}} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


@pytest.mark.parametrize("layer", ["unit", "integration"])
def test_tests_stand_in_the_folder_of_what_they_test(layer: str) -> None:
    folders = {
        path.parent.relative_to(ROOT / "tests" / layer) for path in (ROOT / "tests" / layer).rglob("*.py")
    }
    strangers = [str(folder) for folder in folders if not (ROOT / "lib" / folder).is_dir()]
    assert strangers == [], "A folder of tests has the name of a room in lib/."


def test_modules_stay_small() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in _kept_small()}
    large = [f"{path.relative_to(ROOT)}: {lines}" for path, lines in lengths.items() if lines > MODULE_LINES]
    assert large == [], f"Over {MODULE_LINES} lines. Aim at 200, pages at 120; look hard at more than 300."


def test_functions_stay_small() -> None:
    large = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {_length(node)}"
        for path in _kept_small()
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _length(node) > FUNCTION_LINES
    ]
    assert large == [], f"Over {FUNCTION_LINES} lines. Most functions have fewer than 10, few more than 40."


def _length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def test_a_providers_name_stands_in_its_folder_and_where_it_is_registered() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in _sources()
        if not path.relative_to(ROOT).as_posix().startswith(KNOW_PROVIDERS)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if PROVIDERS.search(line)
    ]
    assert found == [], "Take what differs into lib/llm/provider.py, the title from lib.providers."


def test_modules_are_named_for_what_they_hold() -> None:
    empty = [str(path.relative_to(ROOT)) for path in _sources() if EMPTY_NAMES.search(path.stem)]
    assert empty == [], "Name it by its subject."


def test_git_ignores_no_source_file() -> None:
    """GitHub's usual Python ignore file hides ``lib/``."""
    names = "\n".join(path.relative_to(ROOT).as_posix() for path in _sources())
    done = subprocess.run(
        ["git", "check-ignore", "--no-index", "--stdin"],
        cwd=ROOT,
        input=names,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == []


@cache
def _texts() -> dict[str, str]:
    """Every text file of the repository, as committed or about to be."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    contents = {path: path.read_bytes() for path in paths if path.is_file()}
    return {
        path.relative_to(ROOT).as_posix(): content.decode(errors="replace")
        for path, content in contents.items()
        if b"\0" not in content
    }


@pytest.mark.parametrize("what", FORBIDDEN_TEXTS)
def test_no_file_holds(what: str) -> None:
    assert [name for name, text in _texts().items() if FORBIDDEN_TEXTS[what].search(text)] == []


@pytest.mark.parametrize("name", INSTALLERS)
def test_what_installs_packages_names_no_address(name: str) -> None:
    """They install from whatever index a machine has."""
    assert re.findall(r"https?://(?!localhost)\S+|--(?:extra-)?index-url\b", _texts().get(name, "")) == []
