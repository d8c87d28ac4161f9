"""From the body of a request to an `Upload`: multipart with one file, or JSON. Nothing is written to the disk."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from voigt.app.job_schema import PhononsRequest, RespondRequest
from voigt.app.limits import MOST_BYTES
from voigt.app.problems import FAILED, refusal
from voigt.app.schema import StructureArrays, StructureText, UploadedFile
from voigt.app.structures import Upload, plain_name, upload_of
from voigt.safe_json import load_json
from voigt.text import printable

ModelT = TypeVar("ModelT")

_JSON, _FORM = "application/json", "multipart/form-data"
_MOST_FAULTS = 5
_STRUCTURE: TypeAdapter[StructureText | StructureArrays] = TypeAdapter(StructureText | StructureArrays)


class _InMemory(MultiPartParser):
    """Parts stay in memory: bodies are bounded."""

    spool_max_size = MOST_BYTES + 1


async def read_structure(request: Request) -> Upload:
    """The file or the structure that a request brings; RequestError."""
    if _media_type(request) == _JSON:
        return upload_of(_parsed(_STRUCTURE, await _body(request)))
    return await _read_file(request)


async def read_job(request: Request) -> Upload:
    """The same where JSON has the structure under a key, beside what jobs may be told one day."""
    if _media_type(request) == _JSON:
        return upload_of(_parsed(TypeAdapter(PhononsRequest), await _body(request)).structure)
    return await _read_file(request)


def body_schema(*models: type[BaseModel]) -> dict[str, Any]:
    """What OpenAPI says of a body: one file, or JSON that is one of the models."""
    references = [{"$ref": f"#/components/schemas/{model.__name__}"} for model in models]
    schema = references[0] if len(references) == 1 else {"anyOf": references}
    file = {"$ref": f"#/components/schemas/{UploadedFile.__name__}"}
    return {"requestBody": {"required": True, "content": {_FORM: {"schema": file}, _JSON: {"schema": schema}}}}


BODIES: tuple[type[BaseModel], ...] = (UploadedFile, StructureText, StructureArrays, PhononsRequest, RespondRequest)
"""Models of bodies, which are read by hand."""


def faults_text(errors: list[Any]) -> str:
    """Faults that pydantic has found, in one sentence."""
    told = []
    for error in errors[:_MOST_FAULTS]:
        place = ".".join(str(part) for part in error["loc"] if part not in ("query", "body", "path"))
        told.append(printable(f"{place}: {error['msg']}" if place else str(error["msg"])))
    more = len(errors) - len(told)
    return "; ".join(told) + (f"; and {more} more" if more > 0 else "")


def _media_type(request: Request) -> str:
    found = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if found not in (_JSON, _FORM):
        text = f"the body is {printable(found)[:100] or 'of no stated type'}; send {_FORM} with a file, or {_JSON}"
        raise refusal(415, "unsupported", text)
    return found


async def _body(request: Request) -> bytes:
    try:
        return await request.body()
    except ClientDisconnect:
        raise refusal(400, "bad_request", "the client left before the end of its request") from None


async def _read_file(request: Request) -> Upload:
    content = await _body(request)

    async def pieces() -> AsyncGenerator[bytes]:
        yield content

    try:
        form = await _InMemory(request.headers, pieces(), max_files=1, max_fields=10).parse()
    except (MultiPartException, KeyError, ValueError) as error:
        raise refusal(400, "bad_request", f"the form cannot be read: {printable(str(error))}") from error
    try:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            text = "the form has no file; send one part with the name 'file' and a file name"
            raise refusal(400, "bad_request", text)
        return Upload(plain_name(file.filename), await file.read())
    finally:
        await form.close()


def _parsed(adapter: TypeAdapter[ModelT], content: bytes) -> ModelT:
    try:
        document = load_json(content)
    except ValueError as error:
        raise refusal(400, "bad_request", f"the body is no JSON: {printable(str(error))}") from error
    try:
        return adapter.validate_python(document)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
        text = faults_text(_closest(errors, document))
        raise refusal(FAILED, "wrong_input", f"the body is no structure: {text}") from error


def _closest(errors: list[Any], document: Any) -> list[Any]:
    """Of a structure that is neither text nor arrays: the faults of what it looks like."""
    inner = document.get("structure", document) if isinstance(document, Mapping) else None
    if not isinstance(inner, Mapping):
        return errors
    meant = StructureArrays if {"cell", "species", "positions"} & inner.keys() else StructureText
    chosen = [error for error in errors if meant.__name__ in error["loc"]]
    parts = (StructureArrays.__name__, "structure")
    return [{**e, "loc": tuple(p for p in e["loc"] if p not in (meant.__name__, *parts))} for e in chosen] or errors
