"""The emulated Twilio's resources in the JSON of its API, with every field that the SDK reads.

Sources: https://www.twilio.com/docs/voice/api, /messaging/api, /phone-numbers/api, /usage/monitor-alert.
"""

from datetime import UTC, datetime
from typing import Any

from holdfast.drills.twilio_exchange import API_VERSION, rfc2822
from holdfast.drills.twilio_state import Account, Alert, CallRecord, Message, Number, Recording

Json = dict[str, Any]


def account_uri(account: str) -> str:
    return f"/{API_VERSION}/Accounts/{account}"


def stamp(at: float | None) -> str | None:
    return None if at is None else rfc2822(at)


def iso(at: float) -> str:
    """Unix time as the newer APIs write it."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def account_json(account: Account) -> Json:
    uri = account_uri(account.sid)
    parts = {"calls": "Calls", "messages": "Messages", "recordings": "Recordings"}
    return {
        "sid": account.sid,
        "owner_account_sid": account.parent or account.sid,
        "friendly_name": "Emulated" if account.parent is None else f"Emulated {account.sid[-4:]}",
        "auth_token": account.auth_token,
        "status": "active",
        "type": "Full",
        "date_created": stamp(account.created),
        "date_updated": stamp(account.created),
        "uri": f"{uri}.json",
        "subresource_uris": {name: f"{uri}/{path}.json" for name, path in parts.items()},
    }


def number_json(number: Number) -> Json:
    return {
        "sid": number.sid,
        "account_sid": number.account,
        "phone_number": number.phone,
        "friendly_name": number.friendly_name,
        "voice_url": number.voice_url,
        "voice_method": number.voice_method,
        "voice_fallback_url": number.voice_fallback_url or None,
        "voice_fallback_method": number.voice_fallback_method,
        "voice_caller_id_lookup": False,
        "voice_application_sid": None,
        "voice_receive_mode": "voice",
        "status_callback": number.status_callback,
        "status_callback_method": number.status_callback_method,
        "sms_url": number.sms_url,
        "sms_method": number.sms_method,
        "sms_fallback_url": number.sms_fallback_url,
        "sms_fallback_method": number.sms_fallback_method,
        "sms_application_sid": "",
        "capabilities": {"voice": True, "sms": True, "mms": True, "fax": False},
        "address_requirements": "none",
        "address_sid": None,
        "api_version": API_VERSION,
        "beta": False,
        "bundle_sid": None,
        "date_created": stamp(number.created),
        "date_updated": stamp(number.updated),
        "emergency_address_sid": None,
        "emergency_address_status": "unregistered",
        "emergency_status": "Inactive",
        "identity_sid": None,
        "origin": "twilio",
        "status": "in-use",
        "trunk_sid": None,
        "type": "local",
        "uri": f"{account_uri(number.account)}/IncomingPhoneNumbers/{number.sid}.json",
    }


def call_json(call: CallRecord) -> Json:
    uri = f"{account_uri(call.account)}/Calls/{call.sid}"
    return {
        "sid": call.sid,
        "account_sid": call.account,
        "parent_call_sid": call.parent,
        "from": call.from_,
        "from_formatted": call.from_,
        "to": call.to,
        "to_formatted": call.to,
        "phone_number_sid": call.number_sid or "",
        "status": call.status,
        "direction": call.direction,
        "start_time": stamp(call.started),
        "end_time": stamp(call.ended),
        "duration": None if call.duration is None else str(call.duration),
        "date_created": stamp(call.created),
        "date_updated": stamp(call.updated or call.created),
        "answered_by": None,
        "api_version": API_VERSION,
        "annotation": None,
        "caller_name": "",
        "forwarded_from": None,
        "group_sid": "",
        "price": None,
        "price_unit": "USD",
        "queue_time": "0",
        "trunk_sid": "",
        "uri": f"{uri}.json",
        "subresource_uris": {"recordings": f"{uri}/Recordings.json", "events": f"{uri}/Events.json"},
    }


def recording_json(recording: Recording) -> Json:
    uri = f"{account_uri(recording.account)}/Recordings/{recording.sid}"
    return {
        "sid": recording.sid,
        "account_sid": recording.account,
        "call_sid": recording.call_sid,
        "conference_sid": None,
        "duration": str(recording.duration),
        "channels": 1,
        "source": "RecordVerb",
        "status": "completed",
        "error_code": None,
        "date_created": stamp(recording.created),
        "date_updated": stamp(recording.created),
        "start_time": stamp(recording.created),
        "price": None,
        "price_unit": "USD",
        "encryption_details": None,
        "api_version": API_VERSION,
        "uri": f"{uri}.json",
        "media_url": uri,
        "subresource_uris": {"transcriptions": f"{uri}/Transcriptions.json"},
    }


def message_json(message: Message) -> Json:
    uri = f"{account_uri(message.account)}/Messages/{message.sid}"
    return {
        "sid": message.sid,
        "account_sid": message.account,
        "messaging_service_sid": message.service,
        "from": message.from_,
        "to": message.to,
        "body": message.body,
        "num_media": "0",
        "num_segments": str(max(1, -(-len(message.body) // 160))),
        "status": message.status,
        "direction": message.direction,
        "error_code": message.error_code,
        "error_message": message.error_message,
        "date_created": stamp(message.created),
        "date_sent": stamp(message.sent),
        "date_updated": stamp(message.updated or message.created),
        "price": None,
        "price_unit": "USD",
        "api_version": API_VERSION,
        "uri": f"{uri}.json",
        "subresource_uris": {"media": f"{uri}/Media.json"},
    }


def alert_json(alert: Alert, base_url: str, *, whole: bool = False) -> Json:
    """An alert; only a `whole` one tells request and response, as only fetching a single one does."""
    document: Json = {
        "sid": alert.sid,
        "account_sid": alert.account,
        "error_code": str(alert.error_code),
        "log_level": alert.level,
        "alert_text": alert.text,
        "more_info": f"https://www.twilio.com/docs/errors/{alert.error_code}",
        "api_version": API_VERSION,
        "date_created": iso(alert.created),
        "date_generated": iso(alert.created),
        "date_updated": iso(alert.created),
        "request_method": alert.request_method,
        "request_url": alert.request_url,
        "resource_sid": alert.resource_sid,
        "service_sid": None,
        "url": f"{base_url}/v1/Alerts/{alert.sid}",
    }
    if whole:
        document |= {
            "request_variables": alert.request_variables,
            "request_headers": "",
            "response_headers": alert.response_headers,
            "response_body": alert.response_body,
        }
    return document
