"""Texts to and from the people that merchants write to, and what they wish."""
