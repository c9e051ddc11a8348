"""Answers over HTTP: a photo in, JSON out, within the limits of the web page.

GET  /health    {"task": "faces", "models": 1}
POST /answer    the bytes of a photo as the body, or a form with a field ``photo``
"""

import socket
from collections.abc import Sequence
from typing import Any

import anyio
import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from parse_config import ConfigParser
from trainer.ensemble import require_one_task
from trainer.photo_model import PhotoAnswer, PhotoModel, answer_photo
from utils.devices import choose_device
from utils.errors import DataError, UserError
from utils.images import UPLOAD_BYTES, UPLOAD_PIXELS, decode_image

FIELD = "photo"
SECONDS = 60
"""That sending a photo may take; whoever stops in the middle keeps nobody else waiting."""
WAITING = 32
"""Photos that may wait for the model; whoever comes after them is sent away at once."""


def serve(config: ConfigParser, host: str, port: int, language: str) -> None:
    """Load the models of ``config.resumes``, then answer until Ctrl-C.

    Raises:
        UserError: the address can't be listened on; said before a model is loaded.
        CheckpointError, ConfigError: models that can't be had, or not averaged.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"--host {host} --port {port}: can't be listened on ({reason}); choose another --port"
        ) from error
    with listening:
        # Not prepared like one that ends: memory that a large photo took goes back to the system.
        device = choose_device(config["n_gpu"], config.device)
        members = [
            PhotoModel.restore(config.for_checkpoint(path), path, device) for path in config.resumes
        ]
        require_one_task(dict(zip(config.resumes, (each.task for each in members), strict=True)))
        address = f"{host}:{listening.getsockname()[1]}"
        print(f"answering at http://{address}/answer; Ctrl-C ends it", flush=True)
        options = uvicorn.Config(make_app(members, language), log_level="warning", lifespan="off")
        uvicorn.Server(options).run(sockets=[listening])


def make_app(members: Sequence[PhotoModel], language: str = "en") -> Starlette:
    """The application, as any ASGI server takes it.

    Args:
        members: of one task; their answers are averaged.
        language: of the words in the answers.
    """
    # One photo after the other: a model is not to be shared, and fills the machine alone.
    turn = anyio.Semaphore(1)
    waiting = 0

    async def answer(request: Request) -> JSONResponse:
        nonlocal waiting
        if waiting >= WAITING:
            raise HTTPException(503, f"{WAITING} photos are waiting already; try again later")
        waiting += 1
        try:
            with anyio.fail_after(SECONDS):
                data = await _photo_of(request)
            async with turn:
                return JSONResponse(
                    # In a thread, so that others can send their
                    # photos meanwhile and /health answers.
                    await anyio.to_thread.run_sync(_answer, members, data, language)
                )
        except DataError as error:
            raise HTTPException(415, str(error)) from error
        except TimeoutError as error:
            raise HTTPException(408, f"the photo was not here after {SECONDS} s") from error
        finally:
            waiting -= 1

    async def health(request: Request) -> JSONResponse:
        return JSONResponse({"task": members[0].task.name, "models": len(members)})

    async def refuse(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)

    async def fail(request: Request, error: Exception) -> JSONResponse:
        # Its words may name places of this machine; the log of the server has them.
        return JSONResponse({"error": "the photo could not be answered"}, 500)

    return Starlette(
        routes=[Route("/answer", answer, methods=["POST"]), Route("/health", health)],
        exception_handlers={HTTPException: refuse, Exception: fail},
    )


async def _photo_of(request: Request) -> bytes:
    """The bytes of the photo, whichever way they are sent; no more is read than is allowed."""
    too_large = HTTPException(413, f"at most {UPLOAD_BYTES // 2**20} MB can be sent")
    body = bytearray()
    async for piece in request.stream():
        body += piece
        # Counted as it comes: a Content-Length may be missing, or lie.
        if len(body) > UPLOAD_BYTES:
            raise too_large
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        return bytes(body)

    # The body is read already; the parser of forms is handed it once more.
    async def again() -> Any:
        return {"type": "http.request", "body": bytes(body), "more_body": False}

    # No further files or fields: each would be one more thing to fill the memory with.
    async with Request(request.scope, again).form(max_files=1, max_fields=0) as form:
        sent = form.get(FIELD)
        if sent is None or isinstance(sent, str):
            raise HTTPException(400, f"send the photo as the body, or in a field named {FIELD!r}")
        return await sent.read()


def _answer(members: Sequence[PhotoModel], data: bytes, language: str) -> dict[str, Any]:
    photo = decode_image(data, FIELD, UPLOAD_PIXELS)
    return in_json(answer_photo(members, photo), language)


def in_json(answer: PhotoAnswer, language: str) -> dict[str, Any]:
    """An answer as plain values.

    Returns:
        ``heads``: name → its ``answer`` in words and, of classes, the ``probabilities`` of all;
        ``class``: the code of the product, where the task has one; ``sentence``; ``trusted``:
        whether TRACER found something to cut out that is like what the model knows.
    """
    words = answer.in_words(language)
    heads: dict[str, Any] = {}
    for name, head in answer.task.heads.items():
        heads[name] = {"answer": words[name]}
        if head.settings.kind != "number":
            shares = np.asarray(answer.probabilities[name], float).round(6).tolist()
            names = head.answer_names(language)
            heads[name]["probabilities"] = dict(zip(names, shares, strict=True))
    code = {"class": int(answer.predicted["class"])} if "class" in answer.predicted else {}
    return code | {"heads": heads, "sentence": answer.sentence(language), "trusted": answer.trusted}
