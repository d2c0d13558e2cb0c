"""`/v1`: what programs see. Each domain offers its routes in an `api.py`; here they are composed and guarded."""
