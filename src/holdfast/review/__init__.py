"""The post-incident review: figures, timeline, plots, root cause, what is to be done, and trends over months."""
