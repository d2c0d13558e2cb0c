"""Notification channels: that there is work to claim. Payloads are empty."""

ROUTE = "holdfast_route"
DELIVER = "holdfast_deliver"
SEND = "holdfast_send"
