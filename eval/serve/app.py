"""The web application: the page, its files and the API."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, File, Form, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response, StreamingResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from lipscore import __version__
from lipscore.errors import LipscoreError
from lipscore.eval.report.page import page
from lipscore.eval.serve import work
from lipscore.eval.serve.guard import Guard
from lipscore.eval.serve.intake import RefusedError, shown_name, take_below, take_upload, videos_below
from lipscore.eval.serve.jobs import Job, Queue
from lipscore.eval.serve.options import ServeOptions
from lipscore.eval.setup import Setup

LOOK_S, PING_S = 0.1, 15.0  # between looks at a job, and between signs of life of a stream of events
STATIC = {"page.css": "text/css", "panel.js": "text/javascript", "serve.css": "text/css", "serve.js": "text/javascript"}
TYPES = {".mp4": "video/mp4", ".mov": "video/quicktime", ".webm": "video/webm", ".mkv": "video/x-matroska"}


def build(setup: Setup, options: ServeOptions, hosts: list[str] | None) -> ASGIApp:
    """The application.

    Args:
        setup: the protocol and the models that score the videos.
        options: the server's folder, token and limits.
        hosts: the Host headers that it answers; None: any.
    """
    jobs = Queue(options.max_waiting, options.keep_seconds, options.max_seconds)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        jobs.close()

    # the pages that show the API by themselves load scripts from the network
    app = FastAPI(title="lipscore", version=__version__, docs_url=None, redoc_url=None, lifespan=lifespan)
    _errors(app)
    _page(app, options)
    _api(app, setup, options, jobs)
    return Guard(app, hosts, options.token, options.max_mb * 1_000_000)


def _errors(app: FastAPI) -> None:
    """Return every error as {"success": false, "error": ...}."""

    @app.exception_handler(RefusedError)
    async def refused(_: Request, error: RefusedError) -> Response:
        return _error(error.status, error.reason)

    @app.exception_handler(LipscoreError)
    async def failed(_: Request, error: LipscoreError) -> Response:
        return _error(500, str(error))

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        wrong = [f"{one['loc'][-1]}: {one['msg']}" for one in error.errors()]
        return _error(400, "; ".join(wrong))

    @app.exception_handler(HTTPException)
    async def other(_: Request, error: HTTPException) -> Response:
        return _error(error.status_code, str(error.detail))


def _error(status: int, reason: str) -> Response:
    return JSONResponse({"success": False, "error": reason}, status)


def _page(app: FastAPI, options: ServeOptions) -> None:
    """The page and its files."""
    loader = PackageLoader("lipscore.eval.serve")
    template = Environment(loader=loader, autoescape=True, undefined=StrictUndefined).get_template("serve.html")

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def index() -> str:
        return template.render(version=__version__, max_mb=options.max_mb, folder=options.folder is not None)

    @app.get("/static/{name}", include_in_schema=False)
    async def static(name: str) -> Response:
        if name not in STATIC:
            raise RefusedError(404, "no such file")
        own = Path(__file__).parent / "static" / name
        text = own.read_text("utf-8") if own.is_file() else page.static(name)
        return Response(text, media_type=STATIC[name])


def _api(app: FastAPI, setup: Setup, options: ServeOptions, jobs: Queue) -> None:
    """The API's routes."""

    @app.get("/api/status")
    async def status() -> dict[str, Any]:
        """The server's state, the model it scores with, and the number of waiting videos."""
        return {
            "status": "ok",
            "pretrained_available": setup.models.sync.name == "vgg",
            "version": __version__,
            "protocol": setup.protocol.name,
            "model": setup.models.sync.name,
            "comparable": setup.comparable,
            "waiting": jobs.waiting,
            "max_mb": options.max_mb,
        }

    @app.get("/api/files")
    async def files() -> dict[str, list[str]]:
        """The videos below the server's folder; empty without a folder."""
        return {"files": [] if options.folder is None else await asyncio.to_thread(videos_below, options.folder)}

    @app.post("/api/analyze")
    async def analyze(
        video: Annotated[UploadFile | None, File(description="The video.")] = None,
        file: Annotated[str | None, Form(description="Instead of an upload: a name from /api/files.")] = None,
        wait: Annotated[
            bool, Form(description="true: answer when the job is done; false: answer at once, with the job's id.")
        ] = True,
        window_size: Annotated[int, Form(ge=5, le=100, description="Accepted for compatibility and ignored.")] = 25,
        stride: Annotated[int, Form(ge=1, le=50, description="Accepted for compatibility and ignored.")] = 5,
        buffer_size: Annotated[int, Form(ge=10, le=500, description="Accepted for compatibility and ignored.")] = 100,
    ) -> Response:
        """Score a video; the answer has its offset, its confidence and the whole record."""
        job = jobs.new()
        try:
            await asyncio.to_thread(_take, job, video, file, options.folder)
        except BaseException:
            jobs.remove(job)
            raise
        unused = {"window_size": window_size, "stride": stride, "buffer_size": buffer_size}
        jobs.submit(job, lambda job: _analyse(job, setup))
        if not wait:
            return JSONResponse(_described(job, jobs), 202)
        try:
            while job.state in ("queued", "running"):
                await asyncio.sleep(LOOK_S)
        finally:
            jobs.remove(job)
        if job.answer is None:
            return _error(job.status, job.error)
        return JSONResponse({**job.answer.reply, "unused": unused}, job.status)

    @app.get("/api/jobs/{id}")
    async def job(id: str) -> dict[str, Any]:
        """A job's progress, and its result when it is done."""
        return _described(jobs.get(id), jobs)

    @app.delete("/api/jobs/{id}")
    async def remove(id: str) -> dict[str, bool]:
        """Forget a job and remove its files."""
        jobs.remove(jobs.get(id))
        return {"success": True}

    @app.get("/api/jobs/{id}/events")
    async def events(id: str) -> StreamingResponse:
        """Server-sent events: the answer of GET /api/jobs/ID at every change, until the job has ended."""
        return StreamingResponse(_events(jobs.get(id), jobs), media_type="text/event-stream")

    @app.get("/api/jobs/{id}/video")
    async def video(id: str) -> FileResponse:
        """The video itself, for playback."""
        taken = jobs.get(id).taken
        if taken is None:
            raise RefusedError(404, "the job has no video")
        return FileResponse(taken.path, media_type=TYPES.get(taken.suffix, "application/octet-stream"))

    @app.post("/api/jobs/{id}/mend")
    async def mend(id: str) -> Response:
        """Move the audio by the offset that was found; the events say when the file is ready."""
        job = jobs.get(id)
        if job.state != "done" or job.answer is None or not job.answer.reply["success"]:
            raise RefusedError(409, "only a scored video can be fixed")
        if job.mending in (None, "failed"):
            job.tell(mending="queued", mended=None, stage="")
            jobs.submit(job, lambda job: _mend(job, setup))
        return JSONResponse(_described(job, jobs), 202)

    @app.get("/api/jobs/{id}/mended")
    async def mended(id: str) -> FileResponse:
        """The mended file."""
        job = jobs.get(id)
        if job.taken is None or job.mended is None or job.mended.path is None:
            raise RefusedError(404, "there is no mended file")
        name = f"{Path(job.taken.name).stem}-mended{job.taken.suffix}"
        return FileResponse(job.mended.path, media_type="application/octet-stream", filename=name)


def _take(job: Job, video: UploadFile | None, file: str | None, folder: Path | None) -> None:
    if video is not None and video.filename:
        job.taken = take_upload(video.file, shown_name(video.filename), job.folder)
    elif file and folder is not None:
        job.taken = take_below(folder, file)
    else:
        raise RefusedError(400, "the request has no video; send one as the form field `video`")


def _analyse(job: Job, setup: Setup) -> None:
    assert job.taken is not None, "a job is submitted with its video"
    job.tell(state="running")
    answer = work.analyse(job.taken, setup, job.stop, lambda stage: job.tell(stage=stage))
    if answer.reply["success"]:
        job.tell(state="done", answer=answer)
    else:
        wrong = 500 if answer.reply["record"]["status"] == "error" else 400
        job.tell(state="failed", answer=answer, status=wrong, error=answer.reply["error"])


def _mend(job: Job, setup: Setup) -> None:
    assert job.taken is not None and job.answer is not None, "only a scored video can be fixed"
    job.tell(mending="running")
    done = work.mend(job.taken, job.folder, job.answer, setup, job.stop, lambda stage: job.tell(stage=stage))
    job.tell(mending="done" if done.path is not None else "failed", mended=done)


def _described(job: Job, jobs: Queue) -> dict[str, Any]:
    """A job in the API's form."""
    found: dict[str, Any] = {
        "id": job.id,
        "state": job.state,
        "stage": job.stage,
        "ahead": jobs.ahead_of(job),
        "error": job.error or None,
        "video_name": job.taken.name if job.taken is not None else None,
        "mending": job.mending,
        "mended": None if job.mended is None else job.mended.message,
    }
    if job.answer is not None:
        found |= {"result": job.answer.reply, "page": job.answer.page}
    return found


async def _events(job: Job, jobs: Queue) -> AsyncIterator[str]:
    told, quiet = None, 0.0
    while True:
        now = (job.version, jobs.ahead_of(job))
        if now != told:
            told, quiet = now, 0.0
            yield f"data: {json.dumps(_described(job, jobs))}\n\n"
            if not job.busy:
                return
        elif quiet > PING_S:
            quiet = 0.0
            yield ": still here\n\n"
        await asyncio.sleep(LOOK_S)
        quiet += LOOK_S
        with suppress(RefusedError):
            jobs.get(job.id)
            continue
        return
