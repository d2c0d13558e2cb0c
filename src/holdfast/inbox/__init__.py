"""Events: appended verbatim, once each, in the lane their type asks for."""
