"""Runbooks: Markdown files that people read, tick off, and that run."""
