-- Run once per experiment with a repeat, with the variables model, config, dataset, trace and trace_repeat set.

INSERT INTO repeat_overlaps
WITH again AS (
    SELECT sample_id, sequence, layer, position, experts FROM read_parquet(getvariable('trace_repeat'))
),
pairs AS (
    SELECT first.experts AS a, again.experts AS b
    FROM again LEFT JOIN read_parquet(getvariable('trace')) AS first
        USING (sample_id, sequence, layer, position)
),
sizes AS (
    SELECT CASE WHEN a = b THEN len(a) ELSE len(list_intersect(a, b)) END AS shared, len(a) + len(b) AS total
    FROM pairs
)
SELECT getvariable('model'), getvariable('config'), getvariable('dataset'), shared, total - shared AS either, count(*)
FROM sizes GROUP BY shared, either ORDER BY shared, either;
