"""Levers: settings that an operator turns at run time, with who, why, and until when."""
