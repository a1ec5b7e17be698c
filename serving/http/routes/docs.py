"""GET /openapi.json and /docs: the OpenAPI document, and the same as a page without scripts."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html import escape
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from serving.http.endpoint import Routes
from serving.http.request.body import json_response

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:56rem;margin:2rem auto;padding:0 1rem}
body{color:#222;background:#fff}
h2{margin-top:2.5rem;border-bottom:1px solid #ddd}code,pre{font:14px/1.45 ui-monospace,monospace}
p code,td code{background:#f0f0f0;padding:.1em .3em;border-radius:3px}
pre{background:#f5f5f5;padding:.8rem;overflow:auto;border-radius:4px}pre code{font-weight:600}
body{overflow-wrap:break-word}pre{white-space:pre-wrap}h2 code{font-size:inherit}a{color:#06c}
table{border-collapse:collapse;display:block;overflow-x:auto}td:nth-child(-n+2){white-space:nowrap}
td,th{text-align:left;padding:.2rem 1rem .2rem 0;vertical-align:top}.method{color:#06c;font-weight:600}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}pre,p code,td code{background:#262626}
.method,a{color:#7bf}}
@media(max-width:600px){table,tbody,tr{display:block}tr{padding:.3rem 0}
td,td:nth-child(-n+2){display:inline;white-space:normal}td:last-child{display:block}}
"""
_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
# Code in the document's texts, marked as in Markdown.
_CODE = re.compile(r"`([^`]+)`")
POLICY = f"default-src 'none'; style-src 'sha256-{_DIGEST}'; frame-ancestors 'none'"


def render_reference(document: dict[str, Any]) -> str:
    """Render the page.

    Args:
        document: OpenAPI 3.1.
    """
    info = document["info"]
    operations = [
        _operation(method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    schemas = [_schema(name, schema) for name, schema in document["components"]["schemas"].items()]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(info["title"])}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>'
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1><p>{_text(info['description'])}</p>"
        '<p>For programs: <a href="openapi.json">openapi.json</a>.</p>'
        f"{''.join(operations)}<h2>Bodies</h2>{''.join(schemas)}</html>"
    )


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    rows = [
        f"<tr><td><code>{escape(item['name'])}</code><td>{escape(_kind(item['schema']))}"
        f"<td>{_text(item.get('description', ''))}"
        for item in operation.get("parameters", [])
    ]
    body = operation.get("requestBody", {}).get("content", {})
    answers = [
        f"<tr><td><code>{escape(status)}</code><td>{_answer(answer)}<td>{_text(answer['description'])}"
        for status, answer in operation["responses"].items()
    ]
    return (
        f'<h2><span class="method">{escape(method.upper())}</span> <code>{escape(path)}</code></h2>'
        f"<p>{_text(operation.get('description', operation['summary']))}</p>"
        + (f"<table>{''.join(rows)}</table>" if rows else "")
        + (f"<p>Body: {', '.join(f'<code>{escape(kind)}</code>' for kind in body)}</p>" if body else "")
        + f"<table>{''.join(answers)}</table>"
    )


def _text(text: str) -> str:
    """Return a text as HTML: everything is escaped, and text between backticks becomes code."""
    return _CODE.sub(r"<code>\1</code>", escape(text))


def _answer(answer: dict[str, Any]) -> str:
    names = [
        content.get("schema", {}).get("$ref", "").rpartition("/")[2]
        for content in answer.get("content", {}).values()
    ]
    return ", ".join(f'<a href="#{escape(name)}">{escape(name)}</a>' for name in names if name)


def _kind(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return " | ".join(schema["enum"])
    bounds = [str(schema[side]) for side in ("minimum", "maximum") if side in schema]
    return f"{schema.get('type', '')} {'–'.join(bounds)}".strip()


def _schema(name: str, schema: dict[str, Any]) -> str:
    shown = schema.get("example") or schema.get("properties", schema)
    text = json.dumps(shown, indent=2, ensure_ascii=False)
    return f'<h3 id="{escape(name)}">{escape(name)}</h3><pre>{_text(text)}</pre>'


routes = Routes("operation")


@routes.add("GET", "/openapi.json", scope="open")
async def openapi(request: Request) -> Response:
    """The OpenAPI document."""
    return json_response(request.app.openapi())


@routes.add("GET", "/docs", scope="open")
async def docs(request: Request) -> Response:
    """The OpenAPI document as a page."""
    page = render_reference(request.app.openapi())
    return HTMLResponse(page, headers={"content-security-policy": POLICY})
