-- Run once per experiment with a repeat whose rule has paths, with the variables of trace_repeat.sql set.

INSERT INTO repeat_paths
WITH pairs AS (
    SELECT again.sample_id, first.path = again.path AS alike,
        CASE WHEN first.experts = again.experts THEN len(first.experts)
            ELSE len(list_intersect(first.experts, again.experts)) END AS shared,
        len(first.experts) + len(again.experts) AS total
    FROM read_parquet(getvariable('trace_repeat')) AS again JOIN read_parquet(getvariable('trace')) AS first
        USING (sample_id, sequence, layer, position)
)
SELECT getvariable('model'), getvariable('config'), getvariable('dataset'), sample_id, alike, shared,
    total - shared AS either, count(*)
FROM pairs GROUP BY sample_id, alike, shared, either ORDER BY sample_id, alike, shared, either;
