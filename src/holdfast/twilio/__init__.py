"""Twilio: its accounts, what it signs, and its REST API."""
