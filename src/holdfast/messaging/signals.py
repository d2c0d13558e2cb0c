"""What is counted of texts."""

from holdfast.signals.registry import REGISTRY, Counter, Distribution, Gauge

DECIDED = REGISTRY.add(
    Counter("texts_decided", "Texts that were asked for, by purpose and the rule that decided.", ("purpose", "rule"))
)
SENT = REGISTRY.add(Counter("texts_sent", "Texts that were taken to be sent, by what came of it.", ("outcome",)))
REPORTED = REGISTRY.add(
    Counter("texts_reported", "What Twilio told of texts, by status and error code.", ("status", "code"))
)
RECEIVED = REGISTRY.add(Counter("texts_received", "Texts from people, by what they were judged.", ("verdict",)))
MISPLACED = REGISTRY.add(
    Counter("texts_misplaced", "Texts that a merchant's own account brought for a number of another merchant.")
)
STOPPED = REGISTRY.add(
    Counter("texts_stopped", "People who were blocked, by reason and whom it blocks.", ("reason", "scope"))
)
GATE_SECONDS = REGISTRY.add(
    Distribution("text_gate_seconds", "From a text's being asked for to the committed decision.")
)
STOP_SECONDS = REGISTRY.add(
    Distribution("text_stop_seconds", "From a stop's arrival until nothing more can go out to the person.")
)
TO_REVIEW = REGISTRY.add(Gauge("texts_to_review", "Doubtful texts that nobody has judged yet."))
TROUBLE = REGISTRY.add(
    Gauge("texts_trouble", "What is out of line with texts, by kind and whose: a share or a count.", ("kind", "of"))
)
TROUBLE_FACTS = REGISTRY.add(
    Gauge("texts_trouble_facts", "The numbers behind it, and for how many seconds.", ("kind", "of", "fact"))
)
FINDINGS = REGISTRY.add(
    Gauge("audit_findings_open", "Texts that should not have gone out, not settled yet.", ("kind", "severity"))
)
AUDITED = REGISTRY.add(Counter("texts_audited", "Texts looked at by the audit, by whose list.", ("list",)))
