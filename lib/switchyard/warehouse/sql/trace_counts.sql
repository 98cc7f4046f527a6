-- Run once per experiment, with the variables model, config, dataset, trace (a path), num_layers and num_experts set.

INSERT INTO layer_counts
SELECT getvariable('model'), getvariable('config'), getvariable('dataset'), layer, count, count(*)
FROM read_parquet(getvariable('trace')) GROUP BY layer, count ORDER BY layer, count;

INSERT INTO trace_samples
SELECT getvariable('model'), getvariable('config'), getvariable('dataset'), sample_id, count(*)
FROM read_parquet(getvariable('trace')) WHERE layer = 0 GROUP BY sample_id ORDER BY sample_id;

INSERT INTO rejection_counts
SELECT getvariable('model'), getvariable('config'), getvariable('dataset'), layer, rejections, count(*)
FROM read_parquet(getvariable('trace')) WHERE rejections IS NOT NULL
GROUP BY layer, rejections ORDER BY layer, rejections;

INSERT INTO expert_uses
WITH chosen AS (SELECT layer, unnest(experts) AS expert FROM read_parquet(getvariable('trace'))),
used AS (SELECT layer, expert, count(*) AS uses FROM chosen GROUP BY layer, expert),
every_expert AS (
    SELECT layer, expert FROM range(getvariable('num_layers')) AS layers (layer),
        range(getvariable('num_experts')) AS experts (expert)
)
SELECT getvariable('model'), getvariable('config'), getvariable('dataset'), layer, expert, coalesce(uses, 0)
FROM every_expert LEFT JOIN used USING (layer, expert) ORDER BY layer, expert;

INSERT INTO layer_pairs
WITH routed AS (
    SELECT sample_id, sequence, layer, position, count::BIGINT AS count
    FROM read_parquet(getvariable('trace'))
)
SELECT getvariable('model'), getvariable('config'), getvariable('dataset'), here.layer, count(*), sum(here.count), sum(next.count),
    sum(here.count * here.count), sum(next.count * next.count), sum(here.count * next.count)
FROM routed AS here JOIN routed AS next
    ON here.sample_id = next.sample_id AND here.sequence = next.sequence
    AND here.position = next.position AND here.layer + 1 = next.layer
GROUP BY here.layer ORDER BY here.layer;
