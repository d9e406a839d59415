"""What browsers load: the page of the service, and the description of its HTTP; nothing comes from elsewhere."""

import base64
import hashlib
import re
from importlib.resources import files
from pathlib import Path

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.staticfiles import StaticFiles

from distributed.serving.guard import POLICY, RefusedError, as_header

PAGE = Path(__file__).resolve().parent / "page"
"""The page's files."""
INLINE = re.compile(r"<script>(.*?)</script>", re.DOTALL)
READ = ["GET", "HEAD"]
FRESH = {"Cache-Control": "no-cache"}
"""A page is asked for anew each time, and sent again if it has changed."""


class PageFiles(StaticFiles):
    """Static files of which a browser looks each time whether they have changed."""

    def file_response(self, *arguments: object, **settings: object) -> Response:
        """Return a file."""
        response = super().file_response(*arguments, **settings)  # type: ignore[arg-type]
        response.headers.update(FRESH)
        return response


def add_pages(app: FastAPI, page: Path = PAGE) -> None:
    """Let ``app`` serve the ``page``, if it is there, and the documentation at /docs."""
    documentation = documentation_page(app.title)

    @app.api_route("/", methods=READ, include_in_schema=False)
    async def index() -> Response:
        if not (page / "index.html").is_file():
            raise RefusedError(404, "This installation has no page: /docs says how to ask it.")
        return FileResponse(page / "index.html", headers=FRESH)

    @app.api_route("/docs", methods=READ, include_in_schema=False)
    async def docs() -> Response:
        return HTMLResponse(*documentation)

    if page.is_dir():
        app.mount("/page", PageFiles(directory=page))
    app.mount("/docs", PageFiles(directory=str(files("fastapi_offline") / "static")))


def documentation_page(title: str) -> tuple[str, int, dict[str, str]]:
    """Return Swagger UI's page, its status and its headers: it alone may run the script that it has in line."""
    html = bytes(
        get_swagger_ui_html(
            openapi_url="openapi.json",
            title=title,
            swagger_js_url="docs/swagger-ui-bundle.js",
            swagger_css_url="docs/swagger-ui.css",
            swagger_favicon_url="docs/favicon.png",
        ).body
    ).decode()
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in INLINE.findall(html)]
    allowed = " ".join(f"'sha256-{each}'" for each in hashes)
    policy = POLICY | {"script-src": f"'self' {allowed}", "style-src": "'self' 'unsafe-inline'"}
    return (
        html,
        200,
        FRESH | {"Content-Security-Policy": as_header(policy)},
    )
