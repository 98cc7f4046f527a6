"""Where the time of a model under a routing rule goes, what bounds it, and what would pay."""
