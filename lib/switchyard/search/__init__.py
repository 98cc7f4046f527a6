"""The search for the thresholds that are fastest under a limit on quality: spaces, objective, methods, tables."""
