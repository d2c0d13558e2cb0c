"""Texts that somebody did not want: what is owed to them, how it came about, and who else came the same way."""
