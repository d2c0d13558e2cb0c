"""How each dependency is: probed in the background, told at once."""
