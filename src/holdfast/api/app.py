"""The API as a whole: every domain's routes, and every error as a problem (RFC 9457)."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Security
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException

from holdfast import __version__
from holdfast.api import messages
from holdfast.complaints import api as complaints
from holdfast.complaints.model import ComplaintError
from holdfast.complaints.model import RefusedError as ComplaintRefusedError
from holdfast.complaints.model import UnknownError as NoComplaintError
from holdfast.config import Settings
from holdfast.consent import api as consent
from holdfast.consent.keys import PhoneKey
from holdfast.consent.model import ConsentError, KeyMissingError
from holdfast.consent.model import RefusedError as ConsentRefusedError
from holdfast.consent.model import UnknownError as NoConsentError
from holdfast.db.pool import Pool
from holdfast.durations import DurationError
from holdfast.health import api as health
from holdfast.incidents import people_api as people
from holdfast.incidents.model import IncidentError
from holdfast.incidents.model import RefusedError as NotNowError
from holdfast.incidents.model import UnknownError as NoIncidentError
from holdfast.levers import api as levers
from holdfast.levers.model import LeverError, RefusedError, UnknownError
from holdfast.levers.turning import Turner
from holdfast.merchants.model import MerchantError
from holdfast.merchants.names import Names
from holdfast.messaging import api as messaging
from holdfast.messaging import audit_api as audit
from holdfast.messaging import blocking_api as blocking
from holdfast.messaging import inbound_api
from holdfast.messaging.model import AwayError as NotAvailableError
from holdfast.messaging.model import ConflictError, MessagingError
from holdfast.messaging.model import UnknownError as NoTextError
from holdfast.messaging.reviews import NotWaitingError
from holdfast.problems import CONTENT_TYPE
from holdfast.runbooks import api as incidents
from holdfast.runbooks.actions import ActionError
from holdfast.runbooks.model import RunbookError
from holdfast.runbooks.working import Desk
from holdfast.signals import api as signals
from holdfast.signals.readings import ReadingError
from holdfast.twilio.model import TwilioError
from holdfast.verify import api as verify
from holdfast.verify.model import VerifyError
from holdfast.voice import api as voice
from holdfast.voice import calls_api as calls
from holdfast.voice import health_api as voice_health
from holdfast.voice.model import UnknownError as NoNumberError
from holdfast.voice.model import VoiceError
from holdfast.watch import api as watch
from holdfast.watch.settings import UnknownError as NotThereError

STATUSES: Mapping[type[Exception], int] = {
    UnknownError: 404,
    RefusedError: 409,
    LeverError: 422,
    ReadingError: 404,
    DurationError: 422,
    VerifyError: 422,
    NotThereError: 404,
    NoIncidentError: 404,
    NotNowError: 409,
    IncidentError: 422,
    RunbookError: 422,
    ActionError: 422,
    MerchantError: 422,
    TwilioError: 422,
    NoNumberError: 404,
    VoiceError: 422,
    NoComplaintError: 404,
    ComplaintRefusedError: 409,
    ComplaintError: 422,
    ConsentError: 422,
    NoTextError: 404,
    NotWaitingError: 409,
    ConflictError: 409,
    NotAvailableError: 503,
    MessagingError: 422,
    NoConsentError: 404,
    ConsentRefusedError: 409,
    KeyMissingError: 503,
}
"""What the domains' errors mean to a caller; their messages say what to do."""
_PROBLEM = {
    "description": "A problem (RFC 9457).",
    "content": {CONTENT_TYPE.decode(): {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
_SCHEMA = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What was wrong, and what to do."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"field": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}


def build(settings: Settings, pool: Pool, desk: Desk) -> FastAPI:
    """The application that is mounted at `/v1`, behind `door.ApiDoor`."""
    app = FastAPI(
        title="Holdfast",
        version=__version__,
        docs_url=None,  # the pages that FastAPI has load their scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        responses={"default": _PROBLEM},
        # The door has checked the token already; this is for the description of the API.
        dependencies=[Security(HTTPBearer(auto_error=False, description="HOLDFAST_API_TOKEN"))],
    )
    names = Names(pool)
    turner = Turner(pool, settings, names)
    app.include_router(levers.router(pool, turner))
    app.include_router(voice.router(pool, turner, settings.twilio_account_sid))
    app.include_router(calls.router(pool))
    app.include_router(signals.router(pool))
    app.include_router(watch.router(pool, names))
    app.include_router(incidents.router(desk))
    app.include_router(people.router(pool))
    app.include_router(health.router(pool, settings))
    app.include_router(complaints.router(pool, settings))
    app.include_router(verify.router(pool, settings))
    app.include_router(voice_health.router(pool))
    app.include_router(inbound_api.router(pool))
    app.include_router(audit.router(pool))
    app.include_router(messaging.router(pool))
    key = PhoneKey.load(settings)
    app.include_router(consent.router(pool, key))
    app.include_router(blocking.router(pool, settings, key))
    for kind, status in STATUSES.items():
        app.add_exception_handler(kind, _domain(status))
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _refused)
    _describe(app)
    return app


def _domain(status: int) -> Any:
    async def answer(_request: Request, error: Exception) -> Response:
        return _problem(status, str(error))

    return answer


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    said = error.detail
    if error.status_code == 404 and said == HTTPStatus.NOT_FOUND.phrase:
        said = f"there is nothing at {request.url.path[:200]}; see /v1/openapi.json"
    if error.status_code == 405:
        said = f"{request.method} is not for this address"
    return _problem(error.status_code, said, headers=error.headers)


async def _invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [_mistake(item) for item in error.errors()[:20]]
    return _problem(422, "; ".join(f"{one['field']}: {one['detail']}" for one in errors), errors=errors)


def _mistake(item: Mapping[str, Any]) -> dict[str, str]:
    place, message = list(item["loc"]), str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "json_invalid":
        return {"field": "body", "detail": f"this is not JSON: {item['ctx']['error']}"}
    if item["type"] == "model_attributes_type" and place == ["body"]:
        message = "send a JSON object, with content-type: application/json"
    if item["type"] == "extra_forbidden":
        message = "there is no such field"
    if item["type"] == "missing" and len(place) > 1:
        message = "this field must be given"
    return {"field": _field(place), "detail": message}


def _field(place: Sequence[Any]) -> str:
    names = [str(one) for one in place if not (isinstance(one, str) and one.startswith("function-"))]
    return ".".join(names[1:]) if names[0] in ("body", "query", "path") and len(names) > 1 else ".".join(names)


def _problem(status: int, detail: str, *, headers: Mapping[str, str] | None = None, **more: Any) -> Response:
    content = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail, **more}
    return JSONResponse(content, status, headers, media_type=CONTENT_TYPE.decode())


def _describe(app: FastAPI) -> None:
    """Errors are described as what they are, not as FastAPI's own."""
    made = app.openapi

    def described() -> dict[str, Any]:
        schema = made()
        schemas = schema.setdefault("components", {}).setdefault("schemas", {})
        schemas["Problem"] = _SCHEMA
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        for path in schema["paths"].values():
            for operation in path.values():
                operation["responses"].pop("422", None)
        hot = messages.described()
        schemas.update(hot["schemas"])
        for address, operations in hot["paths"].items():
            schema["paths"].setdefault(address, {}).update(operations)
        return schema

    app.openapi = described  # type: ignore[method-assign]
