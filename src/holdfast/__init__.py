"""Holdfast: carries Stripe and Twilio traffic for many merchants, and runs the incident runbooks."""

__version__ = "0.1.0"
