-- Measures of each layer of each experiment.

CREATE VIEW layer_moments AS
WITH sums AS (
    SELECT model, config, dataset, layer, sum(tokens) AS tokens, sum(count * tokens) AS total,
        sum(count * count * tokens) AS squares, min(count) AS min_count, max(count) AS max_count
    FROM layer_counts GROUP BY model, config, dataset, layer
)
SELECT model, config, dataset, layer, tokens::BIGINT AS tokens, total / tokens AS mean_count,
    sqrt((tokens * squares - total * total)::DOUBLE) / tokens AS std_count, min_count, max_count,
    total::BIGINT AS total_count
FROM sums;
COMMENT ON VIEW layer_moments IS 'Mean and spread of the number of experts per token, per layer.';
COMMENT ON COLUMN layer_moments.tokens IS 'Tokens.';
COMMENT ON COLUMN layer_moments.mean_count IS 'Mean number of experts per token.';
COMMENT ON COLUMN layer_moments.std_count IS 'Standard deviation (of the population) of the number of experts per token.';
COMMENT ON COLUMN layer_moments.min_count IS 'Fewest experts of a token.';
COMMENT ON COLUMN layer_moments.max_count IS 'Most experts of a token.';
COMMENT ON COLUMN layer_moments.total_count IS 'Sum of the number of experts over tokens.';

-- Ceiling before floor: where min_k = max_k every token is on the ceiling, as for static rules.
CREATE VIEW layer_bounds AS
SELECT model, config, dataset, layer,
    sum(CASE WHEN count = k_or_max_k THEN tokens ELSE 0 END) / sum(tokens) AS ceiling_rate,
    sum(CASE WHEN count = min_k AND NOT is_static THEN tokens ELSE 0 END) / sum(tokens) AS floor_rate
FROM layer_counts JOIN experiments USING (model, config, dataset) GROUP BY model, config, dataset, layer;
COMMENT ON VIEW layer_bounds IS 'Share of tokens on the bounds of the rule, per layer.';
COMMENT ON COLUMN layer_bounds.ceiling_rate IS 'Share of tokens with max_k experts; 1 for static rules.';
COMMENT ON COLUMN layer_bounds.floor_rate IS 'Share of tokens with min_k experts; 0 for static rules.';

-- Gini = 2 sum(i x_i) / (n sum x) - (n + 1) / n over uses sorted upwards; null where no expert was used.
CREATE VIEW layer_usage AS
WITH ranked AS (
    SELECT model, config, dataset, layer, uses,
        row_number() OVER (PARTITION BY model, config, dataset, layer ORDER BY uses) AS place
    FROM expert_uses
),
sums AS (
    SELECT model, config, dataset, layer, count(*) AS experts, sum(uses) AS uses, sum(place * uses) AS ranked_uses,
        count(*) FILTER (uses > 0) AS used
    FROM ranked GROUP BY model, config, dataset, layer
)
SELECT model, config, dataset, layer, uses::BIGINT AS uses, used, used / experts AS utilization,
    CASE WHEN uses > 0 THEN (2 * ranked_uses - (experts + 1) * uses) / (experts * uses) END AS gini
FROM sums;
COMMENT ON VIEW layer_usage IS 'How evenly the experts of each layer are used.';
COMMENT ON COLUMN layer_usage.uses IS 'Chosen (token, expert) pairs.';
COMMENT ON COLUMN layer_usage.used IS 'Experts used at least once.';
COMMENT ON COLUMN layer_usage.utilization IS 'Share of the experts used at least once.';
COMMENT ON COLUMN layer_usage.gini IS 'Gini coefficient of the uses: 0 even, (n - 1) / n all on one expert; null if none used.';

-- Pearson's r; undefined (null) where a layer gives every token the same count.
CREATE VIEW layer_correlations AS
WITH moments AS (
    SELECT model, config, dataset, layer,
        (tokens * products - sum_here * sum_next)::DOUBLE AS covariance,
        (tokens * squares_here - sum_here * sum_here)::DOUBLE AS variance_here,
        (tokens * squares_next - sum_next * sum_next)::DOUBLE AS variance_next
    FROM layer_pairs
)
SELECT model, config, dataset, layer,
    CASE WHEN variance_here > 0 AND variance_next > 0
        THEN covariance / (sqrt(variance_here) * sqrt(variance_next)) END AS pearson_r
FROM moments;
COMMENT ON VIEW layer_correlations IS 'Correlation over tokens of the number of experts in adjacent layers.';
COMMENT ON COLUMN layer_correlations.layer IS 'First layer of the pair; the other is layer + 1.';
COMMENT ON COLUMN layer_correlations.pearson_r IS 'Pearson''s r; null where either layer gives every token the same count.';

CREATE VIEW routing_by_layer AS
SELECT model, config AS config_name, dataset, layer, mean_count, std_count, floor_rate, ceiling_rate, utilization, gini
FROM layer_moments JOIN layer_bounds USING (model, config, dataset, layer)
    JOIN layer_usage USING (model, config, dataset, layer)
    JOIN experiments USING (model, config, dataset)
ORDER BY ordinal, layer;
COMMENT ON VIEW routing_by_layer IS 'The published table of each layer of each experiment.';
COMMENT ON COLUMN routing_by_layer.mean_count IS 'Mean number of experts per token.';
COMMENT ON COLUMN routing_by_layer.std_count IS 'Standard deviation (of the population) of the number of experts per token.';
COMMENT ON COLUMN routing_by_layer.floor_rate IS 'Share of tokens with min_k experts; 0 for static rules.';
COMMENT ON COLUMN routing_by_layer.ceiling_rate IS 'Share of tokens with max_k experts; 1 for static rules.';
COMMENT ON COLUMN routing_by_layer.utilization IS 'Share of the experts used at least once.';
COMMENT ON COLUMN routing_by_layer.gini IS 'Gini coefficient of the uses: 0 even, (n - 1) / n all on one expert.';

CREATE VIEW expert_usage AS
SELECT model, config AS config_name, dataset, layer, expert, uses
FROM expert_uses JOIN experiments USING (model, config, dataset) ORDER BY ordinal, layer, expert;
COMMENT ON VIEW expert_usage IS 'The published table of expert uses.';
COMMENT ON COLUMN expert_usage.expert IS 'Expert of the block, from 0.';
COMMENT ON COLUMN expert_usage.uses IS 'Tokens that chose it.';

CREATE VIEW count_distribution AS
SELECT model, config AS config_name, dataset, count, sum(tokens)::BIGINT AS tokens
FROM layer_counts JOIN experiments USING (model, config, dataset)
GROUP BY ordinal, model, config, dataset, count ORDER BY ordinal, count;
COMMENT ON VIEW count_distribution IS 'The published table of how many experts tokens got, over all layers.';
COMMENT ON COLUMN count_distribution.count IS 'Experts of a token.';
COMMENT ON COLUMN count_distribution.tokens IS '(layer, token) pairs with that many experts.';
