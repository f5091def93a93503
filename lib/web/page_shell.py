"""The HTML that every page of Streamlit's begins as, so that a browser's console stays clean and pages come fast.

Streamlit's own looks for its server below the page first (``/usage/_stcore/health``), two refused requests on each
load, and has an inline script, which our content policy blocks unless it knows its hash. What it lacks for people is in
``static/page_shell.js`` and ``.css``: our words for a server that is gone, and rows that open by a click. And it loads
its parts for charts and tables only when the first of them has arrived, one after the other, and draws a page as a
whole: ``static/page_loading.js`` loads them while the page waits for its server, and has the first chart drawn first.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections import deque
from collections.abc import Collection, Iterable
from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

# The dashboard is served at the root of its host name, so there is nothing to look for: with what Streamlit would ask
# its server for first, it connects at once. Should that fail, it asks after all.
_SERVER = (
    "<script>window.__streamlit = {BACKEND_BASE_URL: window.location.origin, "
    "HOST_CONFIG: {allowedOrigins: [window.location.origin], useExternalAuthToken: false}}</script>"
)
_OURS = Path(__file__).parent / "static"
_JS = "/static/js/"
_IMPORTED = re.compile(r"""\b(?:from|import)\s*["']\./([^"']+\.js)["']""")
_INLINE = re.compile(r"<script>(.*?)</script>", re.DOTALL)

_SOON = (
    "PageLink",
    "Button",
    "Selectbox",
    "Metric",
    "Html",
    "ArrowVegaLiteChart",
    "embed",
    "vega-interpreter",
)
"""Modules of Streamlit's that Overview and Usage need until their first chart is drawn; in the order of their use."""
_LATER = ("DataFrame", "Pagination", "TextInput", "Multiselect")
"""What they need below it."""


class PageShell:
    """Streamlit's ``index.html`` as we serve it.

    Args:
        index: the installed file; read once, so that what is hashed is what is served.
    """

    def __init__(self, index: Path) -> None:
        loading, script, style = (
            (_OURS / name).read_text(encoding="utf-8")
            for name in ("page_loading.js", "page_shell.js", "page_shell.css")
        )
        ours = f"<script>\n{loading}{script}</script>\n    <style>\n{style}</style>"
        text = index.read_text(encoding="utf-8").replace("<title>Streamlit</title>", "<title>Qodex</title>")
        head, mark, rest = text.partition("<script")
        first, end, body = rest.partition("</head>")
        soon = _soon(index.parent / "static" / "js", text)
        self.html = f"{head}{_SERVER}\n    {ours}\n    {mark}{first}  {soon}\n  {end}{body}"

    @property
    def script_hashes(self) -> tuple[str, ...]:
        """What a content policy says to allow the inline scripts in it, and no others."""
        return tuple(_hash(script) for script in _INLINE.findall(self.html))

    def routes(self, paths: Collection[str]) -> list[Route]:
        """Answers for the addresses of pages; whether there is something to see is decided behind the web socket."""
        return [Route(path, self._answer, methods=["GET"]) for path in paths]

    async def _answer(self, _: Request) -> Response:
        return HTMLResponse(self.html, headers={"Cache-Control": "no-cache"})


def _soon(folder: Path, known: str) -> str:
    """Names the modules that are needed soon, for ``page_loading.js`` to load while the page waits for its server.

    What they import is fetched with them: asked for by each when it has come, it would take a trip a step.

    Args:
        folder: where Streamlit's modules are.
        known: the HTML, which has the others fetched.
    """
    found, later = (
        [path.name for name in names for path in sorted(folder.glob(f"{name}.*.js"))]
        for names in (_SOON, _LATER)
    )
    fetched = [name for name in _with_imports(folder, [*found, *later]) if name not in known]
    texts = {"soon": found, "fetched": fetched}
    return "\n    ".join(
        f'<meta name="{kind}" content="{" ".join(_JS + name for name in names)}" />'
        for kind, names in texts.items()
    )


def _with_imports(folder: Path, names: Iterable[str]) -> list[str]:
    """These modules and all that they need to run, each once."""
    found: dict[str, None] = {}
    waiting = deque(names)
    while waiting:
        name = waiting.popleft()
        if name not in found and (folder / name).is_file():
            found[name] = None
            waiting.extend(_IMPORTED.findall((folder / name).read_text(encoding="utf-8")))
    return list(found)


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
