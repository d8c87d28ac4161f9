"""The application: paths of the HTTP API and the page, over a pool of workers and a list of jobs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeVar

from fastapi import FastAPI, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException

from voigt import __version__
from voigt.app import catalog
from voigt.app.guard import Guard
from voigt.app.home import home_folder
from voigt.app.job_schema import Job, PhononsQuery, PhononsRequest, RespondQuery, RespondRequest
from voigt.app.job_work import JobTask
from voigt.app.jobs import Jobs
from voigt.app.limits import MOST_LETTERS, Limits
from voigt.app.metrics import Metrics
from voigt.app.pool import Pool
from voigt.app.predicting import MEDIA, Answer, PredictTask
from voigt.app.problems import FAILED, RequestError, of_error, refusal
from voigt.app.requests import BODIES, body_schema, faults_text, read_job, read_structure
from voigt.app.schema import (
    ElementsAnswer,
    ExamplesAnswer,
    Health,
    ModelsAnswer,
    PredictAnswer,
    PredictQuery,
    Problem,
    StructureArrays,
    StructureText,
)
from voigt.app.static import INDEX, static_files
from voigt.errors import VoigtError
from voigt.prediction.result import Settings
from voigt.text import printable

ResultT = TypeVar("ResultT")

_NO_PAGE = (
    "voigt serve: the page is not part of this installation; the API is at /api, its description at /api/openapi.json\n"
)
_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": meaning}
    for status, meaning in (
        (400, "not understood"), (403, "of another host or page"), (404, "not there"), (408, "upload too slow"),
        (413, "too large"), (415, "neither a form nor JSON"), (422, "cannot be used"), (429, "too many jobs"),
        (503, "busy"),
    )
}  # fmt: skip
_KINDS = {404: "not_found", 405: "not_allowed", 413: "too_large"}
Identity = Annotated[str, Path(max_length=64)]


@dataclass(frozen=True)
class ServerOptions:
    """How a server is run: address that it listens at, worker processes, device of the networks, limits."""

    host: str = "127.0.0.1"
    workers: int = 1
    device: str = "auto"
    limits: Limits = field(default_factory=Limits)


@dataclass
class _Parts:
    """What the application works with while it runs."""

    pool: Pool
    jobs: Jobs


def create_app(options: ServerOptions | None = None) -> FastAPI:
    """The application; workers start with its lifespan.

    Examples
    --------
    >>> app = create_app()
    >>> "/api/predict" in app.openapi()["paths"]
    True
    """
    options = options or ServerOptions()
    limits, metrics = options.limits, Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        with ExitStack() as stack:
            home = stack.enter_context(home_folder())
            pool = Pool(options.workers, home, limits, metrics, options.device)
            parts = _Parts(pool, Jobs(options.workers, home, limits))
            app.state.parts = parts
            await parts.pool.start()
            reading = threading.Thread(target=catalog.shipped)  # the page asks for it first
            reading.start()
            try:
                yield
            finally:
                reading.join()
                await parts.jobs.stop()
                await parts.pool.stop()

    app = FastAPI(
        title="Voigt",
        summary="Response tensors of crystals from their structure.",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,  # these pages load code from other hosts
        redoc_url=None,
        openapi_url="/api/openapi.json",
        responses=_ERRORS,
    )
    app.state.device = options.device
    _add_errors(app)
    _add_catalog(app, limits)
    _add_predict(app)
    _add_jobs(app)
    _add_service(app, metrics)
    _add_page(app)
    app.add_middleware(Guard, bound=options.host, limits=limits, metrics=metrics)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]  # as FastAPI's manual does it
    return app


def _parts(request: Request) -> _Parts:
    parts: _Parts | None = getattr(request.app.state, "parts", None)
    if parts is None:
        raise refusal(503, "busy", "the server is starting; try again in a moment", {"Retry-After": "2"})
    return parts


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(RequestError)
    async def refused(_request: Request, error: RequestError) -> Response:
        return JSONResponse(error.problem.model_dump(), error.status, headers=error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> Response:
        problem = Problem(kind="wrong_input", text=faults_text(list(error.errors())))
        return JSONResponse(problem.model_dump(), FAILED)

    @app.exception_handler(VoigtError)
    async def impossible(_request: Request, error: VoigtError) -> Response:
        return JSONResponse(of_error(error).model_dump(), FAILED)

    @app.exception_handler(HTTPException)
    async def missing(request: Request, error: HTTPException) -> Response:
        if error.status_code == 404:
            text = f"there is nothing at {printable(request.url.path)}; /api/openapi.json describes what there is"
        else:
            text = printable(f"{request.method} {request.url.path}: {error.detail}")
        problem = Problem(kind=_KINDS.get(error.status_code, "bad_request"), text=text)
        return JSONResponse(problem.model_dump(), error.status_code, headers=error.headers)


def _add_catalog(app: FastAPI, limits: Limits) -> None:
    @app.get("/api/models")
    def models() -> ModelsAnswer:
        """Models that ship, what they predict, potentials, and limits of requests."""
        return catalog.models(limits)

    @app.get("/api/elements")
    def elements(model: Annotated[str | None, Query(max_length=MOST_LETTERS)] = None) -> ElementsAnswer:
        """The periodic table of what a model has seen; by default of the default model."""
        return catalog.elements(model)

    @app.get("/api/examples")
    def examples() -> ExamplesAnswer:
        """Measured crystals to try."""
        return catalog.examples()


def _add_predict(app: FastAPI) -> None:
    files = {
        media.split(";")[0]: {"schema": {"type": "string"}} for name, (media, _) in MEDIA.items() if name != "json"
    }

    @app.post(
        "/api/predict",
        response_model=PredictAnswer,
        responses={200: {"content": files, "description": "Crystals with their tensors, or a file of them"}},
        openapi_extra=body_schema(StructureText, StructureArrays),
    )
    async def predict(request: Request, query: Annotated[PredictQuery, Query()]) -> Response:
        """Tensors of the crystals in a file, or of one given by its arrays."""
        parts = _parts(request)
        properties = None
        if query.properties is not None:
            properties = tuple(dict.fromkeys(name.strip() for name in query.properties.split(",") if name.strip()))
            if not properties:
                raise refusal(FAILED, "wrong_input", f"'{printable(query.properties)}' names no property")
        settings = Settings(
            properties=properties,
            functional=query.functional,
            symmetrize=query.symmetry,
            sum_rule=query.sum_rule,
            total_charge=query.total_charge,
            symprec=query.symprec,
            allow_unseen=query.allow_unseen,
            device=request.app.state.device,
        )
        task = PredictTask(await read_structure(request), query.model, settings, query.format)
        answer: Answer = await _unless_left(request, parts.pool.predict(task))
        return _response(answer.content, answer.media_type, answer.name, answer.status)


def _add_jobs(app: FastAPI) -> None:
    @app.post("/api/phonons", status_code=202, response_model=Job, openapi_extra=body_schema(PhononsRequest))
    async def phonons(request: Request, query: Annotated[PhononsQuery, Query()]) -> Response:
        """Phonons, LO-TO splitting and infrared response of a phonopy project (zip), or of a structure; a job."""
        return await _submitted(request, query)

    @app.post("/api/respond", status_code=202, response_model=Job, openapi_extra=body_schema(RespondRequest))
    async def respond(request: Request, query: Annotated[RespondQuery, Query()]) -> Response:
        """Every response of a structure, with a potential; a job."""
        return await _submitted(request, query)

    @app.get("/api/jobs/{identity}", response_model=Job)
    async def job(
        request: Request, identity: Identity, wait: Annotated[float, Query(ge=0, le=30, allow_inf_nan=False)] = 0.0
    ) -> Response:
        """State of a job; answers when there is news, or after `wait` seconds."""
        return _response(await _unless_left(request, _parts(request).jobs.state(identity, wait)))

    @app.delete("/api/jobs/{identity}", response_model=Job)
    async def cancel(request: Request, identity: Identity) -> Response:
        """Stop a job, or forget a finished one."""
        return _response(_parts(request).jobs.cancel(identity))

    @app.get(
        "/api/jobs/{identity}/files/{name}",
        response_class=Response,
        responses={200: {"content": {"application/octet-stream": {}}, "description": "The file"}},
    )
    async def job_file(request: Request, identity: Identity, name: Annotated[str, Path(max_length=200)]) -> Response:
        """A file of a finished job."""
        content, media_type = _parts(request).jobs.file(identity, name)
        return _response(content, media_type, name)

    @app.get(
        "/api/jobs/{identity}/files.zip",
        response_class=Response,
        responses={200: {"content": {"application/zip": {}}, "description": "All files"}},
    )
    async def job_files(request: Request, identity: Identity) -> Response:
        """All files of a finished job."""
        content, media_type = _parts(request).jobs.file(identity, "files.zip")
        return _response(content, media_type, "files.zip")


def _add_service(app: FastAPI, metrics: Metrics) -> None:
    @app.get("/healthz")
    async def health(request: Request) -> Health:
        """Whether every worker is ready."""
        parts: _Parts | None = getattr(request.app.state, "parts", None)
        ready, size = (parts.pool.ready, parts.pool.size) if parts is not None else (0, 1)
        status: Literal["ok", "starting"] = "ok" if ready == size else "starting"
        return Health(status=status, version=__version__, workers=ready)

    @app.get("/metrics", response_class=PlainTextResponse)
    async def measured(request: Request) -> PlainTextResponse:
        """Counters for Prometheus."""
        parts: _Parts | None = getattr(request.app.state, "parts", None)
        gauges = {} if parts is None else {("voigt_waiting", ""): float(parts.pool.waiting), **parts.jobs.counts()}
        return PlainTextResponse(metrics.text(gauges), media_type="text/plain; version=0.0.4; charset=utf-8")


def _add_page(app: FastAPI) -> None:
    table = static_files()

    @app.get("/", include_in_schema=False)
    async def index() -> Response:
        if INDEX not in table:
            return PlainTextResponse(_NO_PAGE)
        content, media_type = table[INDEX]
        return Response(content, media_type=media_type, headers={"Cache-Control": "no-cache"})

    @app.get("/{name:path}", include_in_schema=False)
    async def static(name: str) -> Response:
        if name not in table:
            raise HTTPException(404)
        content, media_type = table[name]
        return Response(content, media_type=media_type, headers={"Cache-Control": "no-cache"})


async def _submitted(request: Request, query: PhononsQuery | RespondQuery) -> Response:
    parts = _parts(request)
    upload = await read_job(request)
    client = request.client.host if request.client is not None else ""
    return _response(parts.jobs.submit(JobTask(upload, query, request.app.state.device), client), status=202)


async def _unless_left(request: Request, work: Awaitable[ResultT]) -> ResultT:
    """The result of `work`, which is cancelled when the client leaves."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise refusal(400, "cancelled", "the client has left")
        return working.result()
    finally:
        for task in (working, leaving):
            task.cancel()


async def _left(request: Request) -> None:
    """Return once the client has left."""
    with suppress(RequestError):  # of a body that nobody reads, and that is too long
        await request.body()  # before its end, what comes next would be a part of it
        while (await request.receive())["type"] != "http.disconnect":
            pass


def _response(
    content: bytes, media_type: str = "application/json", name: str | None = None, status: int = 200
) -> Response:
    """An answer, as a download where it has a name of its own."""
    headers = {"Cache-Control": "no-store"}
    if name is not None:
        plain = name.encode("ascii", "replace").decode().replace("?", "_").replace('"', "_")
        headers["Content-Disposition"] = f'attachment; filename="{plain}"'
    return Response(content, status, headers, media_type)


def _openapi(app: FastAPI) -> dict[str, Any]:
    """FastAPI's schema, with the models of bodies that are read by hand."""
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
        components = schema.setdefault("components", {}).setdefault("schemas", {})
        for model in BODIES:
            own = model.model_json_schema(ref_template="#/components/schemas/{model}")
            components.update(own.pop("$defs", {}))
            components[model.__name__] = own
        app.openapi_schema = schema
    return app.openapi_schema
