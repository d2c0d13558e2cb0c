"""Calls: answered by plan, followed to their end, and kept going round what fails."""
