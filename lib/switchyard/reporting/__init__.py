"""The report in words and tables: what the aggregate tables of a study say, and nothing they do not."""
