-- Run once per experiment whose trace holds logits, with the variables of trace_counts.sql and trained_top_k set.

-- With p = softmax(x) and m = max(x): entropy = ln(sum exp(x - m)) - sum p (x - m), which never takes ln(0).
-- Ordered sums: the mean must not depend on how threads divide the rows.
INSERT INTO routing_entropy
WITH largest AS (
    SELECT sample_id, sequence, layer, position, router_logits::DOUBLE[] AS logits,
        list_max(router_logits)::DOUBLE AS m
    FROM read_parquet(getvariable('trace'))
),
shifted AS (SELECT *, list_transform(logits, lambda v: v - m) AS x FROM largest),
exponentiated AS (SELECT *, list_transform(x, lambda v: exp(v)) AS e FROM shifted),
entropies AS (
    SELECT sample_id, sequence, layer, position,
        ln(list_sum(e)) - list_dot_product(e, x) / list_sum(e) AS nats
    FROM exponentiated
)
SELECT getvariable('config'), getvariable('dataset'), layer,
    sum(nats ORDER BY sample_id, sequence, position) / count(*), min(nats), max(nats)
FROM entropies GROUP BY layer ORDER BY layer;

INSERT INTO trained_overlaps
WITH thresholds AS (
    SELECT layer, count, experts, router_logits,
        list_last(list_aggregate(router_logits, 'max', getvariable('trained_top_k'))) AS kth_logit
    FROM read_parquet(getvariable('trace'))
),
hits AS (
    SELECT layer, count,
        least(
            len(list_filter(experts, lambda e: router_logits[e + 1] >= kth_logit)),
            getvariable('trained_top_k')
        ) AS shared
    FROM thresholds
)
SELECT getvariable('config'), getvariable('dataset'), layer, shared, count, count(*)
FROM hits GROUP BY layer, shared, count ORDER BY layer, shared, count;
