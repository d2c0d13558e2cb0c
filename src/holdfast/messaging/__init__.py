"""Texts: the gate that every one of them passes, sending them, and what people text back."""
