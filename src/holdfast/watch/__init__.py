"""`health_watch`: sees trouble in the signals, says what it is, since when, how bad, and which runbook to run."""
