"""What routers do, token by token: statistics, ceilings of routing tables, and VAR's hypothesis."""
