"""Figures of what routers do, token by token: each module has a function of its own name, one figure each."""
