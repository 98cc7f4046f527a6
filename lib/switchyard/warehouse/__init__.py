"""The study's DuckDB database: the sixteen metrics in SQL, and the tables and logs made from it."""
