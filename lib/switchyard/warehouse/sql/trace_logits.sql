-- Run once per experiment whose trace holds logits, with the variables of trace_counts.sql set and `measured` the
-- MEASURES of switchyard.warehouse.logits, which can be read once.

-- A sum of decimals is exact: the mean does not depend on how threads divide the rows. What is no number has no
-- decimal; it is the largest, and refused as such.
CREATE OR REPLACE TEMP TABLE logit_measures AS
SELECT layer, shared, count, count(*) AS tokens, sum(try_cast(nats AS DECIMAL(18, 15))) AS total_nats,
    min(nats) AS min_nats, max(nats) AS max_nats, count(*) FILTER (tied) AS tied
FROM measured GROUP BY layer, shared, count;

INSERT INTO routing_entropy
SELECT getvariable('model'), getvariable('config'), getvariable('dataset'), layer, sum(total_nats)::DOUBLE / sum(tokens),
    min(min_nats), max(max_nats)
FROM logit_measures GROUP BY layer ORDER BY layer;

INSERT INTO trained_overlaps
SELECT getvariable('model'), getvariable('config'), getvariable('dataset'), layer, shared, count, tokens, tied
FROM logit_measures ORDER BY layer, shared, count;
