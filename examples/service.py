"""A small service around a bundle for sentence-similarity: texts in, embeddings out.

    BUNDLE=all-MiniLM-L6-v2.bvx uvicorn --app-dir examples service:app

It needs `pip install "bvx[cpu,serve]"`. POST /embed takes {"texts": ["…", …]}; GET /health says whether the model may
be asked, and what it is.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio import CapacityLimiter, to_thread
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import bvx

__all__ = ["app"]

MOST_TEXTS = 256
"""Of one request. More would keep others waiting for a thread."""

AT_ONCE = 2
"""Requests that compute at the same time. They share the model's threads, so that more would only wait inside it."""


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Load here, in the process that serves, and not when the module is imported: the server may fork in between."""
    with bvx.SentenceEmbedder.load(os.environ["BUNDLE"]) as model:
        report = model.verify()  # warms up as well: it runs short and long batches
        if not report:
            raise RuntimeError(report.summary())
        app.state.model, app.state.limiter = model, CapacityLimiter(AT_ONCE)
        yield


async def health(request: Request) -> JSONResponse:
    model: bvx.SentenceEmbedder = request.app.state.model
    return JSONResponse({"verified": True, "model": model.manifest.model.id, "variant": model.variant.key})


async def embed(request: Request) -> JSONResponse:
    state = request.app.state
    try:
        texts = (await request.json())["texts"]
    except (ValueError, KeyError, TypeError):
        return JSONResponse({"error": 'Send {"texts": ["…"]} as JSON.'}, status_code=400)
    if not isinstance(texts, list) or len(texts) > MOST_TEXTS:
        return JSONResponse({"error": f"texts has to be a list of at most {MOST_TEXTS}."}, status_code=400)
    try:
        # In a thread, so that the event loop goes on answering; bvx lets other threads run while it computes.
        found = await to_thread.run_sync(state.model, texts, limiter=state.limiter)
    except bvx.InputError as error:
        return JSONResponse({"error": error.cause, "next_step": error.next_step}, status_code=422)
    return JSONResponse({"embeddings": [embedding.tolist() for embedding in found]})


app = Starlette(routes=[Route("/health", health), Route("/embed", embed, methods=["POST"])], lifespan=lifespan)
