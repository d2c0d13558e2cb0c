"""What is counted of calls."""

from holdfast.signals.registry import REGISTRY, Counter, Gauge

ANSWERS = REGISTRY.add(
    Counter("call_answers", "What calls were told: dial, voicemail, announcement or over; why.", ("answer", "why"))
)
CALLS = REGISTRY.add(Counter("calls", "Calls that ended, by region of the number, and outcome.", ("region", "outcome")))
LEGS = REGISTRY.add(
    Counter("call_legs", "Targets that calls were put through to, by their region and outcome.", ("region", "outcome"))
)
ALERTS = REGISTRY.add(
    Counter(
        "twilio_alerts", "Twilio's Debugger alerts, by whose fault, product and code.", ("whose", "product", "code")
    )
)
SPOOLED = REGISTRY.add(Gauge("callbacks_spooled", "Callbacks on disk that wait to be stored.", over="sum"))
ILL = REGISTRY.add(
    Gauge("voice_ill", "Share of failed legs, at the least, of what is ill: number, region or target.", ("kind", "key"))
)
ILL_FOR = REGISTRY.add(
    Gauge("voice_ill_seconds", "Since when what is ill fails, in seconds: number, region or target.", ("kind", "key"))
)
