"""Incidents: what people work on, with a commander, a log and one run of a runbook."""
