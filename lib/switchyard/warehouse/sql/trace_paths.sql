-- Run once per experiment whose rule has paths, with the variables of trace_counts.sql set.

INSERT INTO path_counts
SELECT getvariable('model'), getvariable('config'), getvariable('dataset'), layer, path, count(*)
FROM read_parquet(getvariable('trace')) GROUP BY layer, path ORDER BY layer, path;
