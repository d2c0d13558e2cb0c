"""Proves that what was received came to its end, or says what needs a person."""
