"""Labelled traces: what Holdfast would measure, second by second, on days that are normal and days that are not.

Simulated, deterministic by seed, without looking at any detector. See `plant` for what is modelled, `life` for what is
normal, `faults` for what is not, and `trace` for how the two are laid out in time.
"""

from bench.traces.call_faults import CALL_CAUSES
from bench.traces.faults import CAUSES, Label
from bench.traces.text_faults import TEXT_CAUSES
from bench.traces.trace import Trace, faulty, faulty_calls, faulty_texts, normal

__all__ = ["CALL_CAUSES", "CAUSES", "TEXT_CAUSES", "Label", "Trace", "faulty", "faulty_calls", "faulty_texts", "normal"]
