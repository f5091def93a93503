"""The HTML that every page of Streamlit's begins as, so that a browser's console stays clean.

Streamlit's own looks for its server below the page first (``/usage/_stcore/health``), two refused requests on each
load, and has an inline script, which our content policy blocks unless it knows its hash. What
it lacks for people is in ``static/page_shell.js`` and ``.css``: our words for a server that is gone, and rows that open
by a click. And it loads its parts for charts and tables only when the first of them has arrived, one after the other:
ours loads them while the page waits for its server.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Collection
from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

# The dashboard is served at the root of its host name, so there is nothing to look for.
_SERVER = "<script>window.__streamlit = {BACKEND_BASE_URL: window.location.origin}</script>"
_OURS = Path(__file__).parent / "static"
_INLINE = re.compile(r"<script>(.*?)</script>", re.DOTALL)

_SOON = (
    *("PageLink", "Button", "Selectbox", "Metric", "Html", "ArrowVegaLiteChart", "embed", "vega-interpreter"),
    *("DataFrame", "Multiselect"),
)
"""Modules of Streamlit's that Overview and Usage need; in the order of their use."""


class PageShell:
    """Streamlit's ``index.html`` as we serve it.

    Args:
        index: the installed file; read once, so that what is hashed is what is served.
    """

    def __init__(self, index: Path) -> None:
        script, style = ((_OURS / f"page_shell.{kind}").read_text(encoding="utf-8") for kind in ("js", "css"))
        ours = f"<script>\n{script}</script>\n    <style>\n{style}</style>"
        text = index.read_text(encoding="utf-8").replace("<title>Streamlit</title>", "<title>Qodex</title>")
        head, mark, rest = text.partition("<script")
        self.html = f"{head}{_soon(index)}\n    {_SERVER}\n    {ours}\n    {mark}{rest}"

    @property
    def script_hashes(self) -> tuple[str, ...]:
        """What a content policy says to allow the inline scripts in it, and no others."""
        return tuple(_hash(script) for script in _INLINE.findall(self.html))

    def routes(self, paths: Collection[str]) -> list[Route]:
        """Answers for the addresses of pages; whether there is something to see is decided behind the web socket."""
        return [Route(path, self._answer, methods=["GET"]) for path in paths]

    async def _answer(self, _: Request) -> Response:
        return HTMLResponse(self.html, headers={"Cache-Control": "no-cache"})


def _soon(index: Path) -> str:
    """Names the modules that are needed soon, for ``page_shell.js`` to load while the page waits for its server."""
    folder = index.parent / "static" / "js"
    found = [path.name for name in _SOON for path in sorted(folder.glob(f"{name}.*.js"))]
    return f'<meta name="soon" content="{" ".join(f"/static/js/{name}" for name in found)}" />'


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
