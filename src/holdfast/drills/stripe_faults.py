"""What can go wrong on the emulated Stripe's side, as one value that is replaced at run time."""

from dataclasses import dataclass


class StripeEmulatorError(Exception):
    """The emulated Stripe was set up or used wrongly; the message says what to change."""


@dataclass(frozen=True, slots=True)
class StripeFaults:
    """Misbehaviour in force. Probabilities are 0 to 1, times are real seconds (not compressed).

    - `duplicate`: an event's webhook is sent twice.
    - `reorder_window`: every first try waits up to this long, so events overtake each other.
    - `gap`: an event is listed by the API and counted as pending, but its webhook is never sent.
    - `api_latency`: the API waits this long before it answers. `api_error_rate`: it answers 500.
    - `api_down`: the API closes connections without an answer; the status page stays up, as it is hosted elsewhere.
    - `api_rate_limited`: every API request is answered 429, with `api_retry_after` seconds as `Retry-After` unless 0.
    """

    duplicate: float = 0.0
    reorder_window: float = 0.0
    gap: float = 0.0
    api_latency: float = 0.0
    api_error_rate: float = 0.0
    api_down: bool = False
    api_rate_limited: bool = False
    api_retry_after: int = 0

    def __post_init__(self) -> None:
        for name in ("duplicate", "gap", "api_error_rate"):
            if not 0 <= getattr(self, name) <= 1:
                raise StripeEmulatorError(f"{name} is a probability: give 0 to 1, not {getattr(self, name)}")
        for name in ("reorder_window", "api_latency", "api_retry_after"):
            if getattr(self, name) < 0:
                raise StripeEmulatorError(f"{name} is in seconds: give 0 or more, not {getattr(self, name)}")
