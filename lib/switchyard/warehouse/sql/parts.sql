-- What the metrics are made of, one row per experiment. Sums of floats are ordered: the result must not depend on
-- how threads divide the rows.

CREATE VIEW counts_of_experiments AS
WITH pooled AS (
    SELECT model, config, dataset, count, sum(tokens) AS tokens FROM layer_counts GROUP BY model, config, dataset, count
),
sums AS (
    SELECT model, config, dataset, sum(tokens) AS n, sum(count * tokens) AS total,
        sum(count * count * tokens) AS squares, min(count) AS min_experts, max(count) AS max_experts
    FROM pooled GROUP BY model, config, dataset
),
entropies AS (
    SELECT model, config, dataset, sum(-(tokens / n) * ln(tokens / n) ORDER BY count) AS selection_entropy
    FROM pooled JOIN sums USING (model, config, dataset) GROUP BY model, config, dataset
)
SELECT model, config, dataset, n::BIGINT AS routed, total / n AS avg_experts,
    sqrt((n * squares - total * total)::DOUBLE) / n AS std_experts, min_experts, max_experts,
    -- -1 ln(1) is a negative zero
    greatest(selection_entropy, 0.0) + 0.0 AS selection_entropy
FROM sums JOIN entropies USING (model, config, dataset);
COMMENT ON VIEW counts_of_experiments IS 'Number of experts per (layer, token), summed up per experiment.';
COMMENT ON COLUMN counts_of_experiments.routed IS '(layer, token) pairs: the rows of the trace.';
COMMENT ON COLUMN counts_of_experiments.avg_experts IS 'Mean number of experts.';
COMMENT ON COLUMN counts_of_experiments.std_experts IS 'Standard deviation (of the population) of the number of experts.';
COMMENT ON COLUMN counts_of_experiments.min_experts IS 'Fewest experts.';
COMMENT ON COLUMN counts_of_experiments.max_experts IS 'Most experts.';
COMMENT ON COLUMN counts_of_experiments.selection_entropy IS 'Entropy of the distribution of counts, nats.';

CREATE VIEW bounds_of_experiments AS
SELECT model, config, dataset,
    sum(CASE WHEN count = k_or_max_k THEN tokens ELSE 0 END) / sum(tokens) AS ceiling_hit_rate,
    sum(CASE WHEN count = min_k AND NOT is_static THEN tokens ELSE 0 END) / sum(tokens) AS floor_hit_rate,
    sum(CASE WHEN count = k_or_max_k OR (count = min_k AND NOT is_static) THEN 0 ELSE tokens END)
        / sum(tokens) AS mid_rate
FROM layer_counts JOIN experiments USING (model, config, dataset) GROUP BY model, config, dataset;
COMMENT ON VIEW bounds_of_experiments IS 'Share of (layer, token) pairs on the bounds of the rule; the three sum to 1.';
COMMENT ON COLUMN bounds_of_experiments.ceiling_hit_rate IS 'Share with max_k experts; 1 for static rules.';
COMMENT ON COLUMN bounds_of_experiments.floor_hit_rate IS 'Share with min_k experts; 0 for static rules.';
COMMENT ON COLUMN bounds_of_experiments.mid_rate IS 'Share between the bounds.';

CREATE VIEW layers_of_experiments AS
WITH means AS (
    SELECT model, config, dataset, count(*) AS n, sum(mean_count ORDER BY layer) / count(*) AS mean
    FROM layer_moments GROUP BY model, config, dataset
),
variances AS (
    SELECT model, config, dataset,
        sum((mean_count - mean) * (mean_count - mean) ORDER BY layer) / any_value(n) AS layer_expert_variance
    FROM layer_moments JOIN means USING (model, config, dataset) GROUP BY model, config, dataset
),
correlations AS (
    SELECT model, config, dataset, sum(pearson_r ORDER BY layer) / nullif(count(pearson_r), 0) AS layer_consistency_score,
        count(*) - count(pearson_r) AS undefined_layer_pairs
    FROM layer_correlations GROUP BY model, config, dataset
),
usage AS (
    SELECT model, config, dataset, sum(used) / (any_value(num_layers) * any_value(num_experts)) AS expert_utilization,
        sum(gini ORDER BY layer) / nullif(count(gini), 0) AS gini_coefficient, sum(uses)::BIGINT AS uses
    FROM layer_usage JOIN experiments USING (model, config, dataset) GROUP BY model, config, dataset
)
SELECT model, config, dataset, layer_expert_variance, layer_consistency_score,
    coalesce(undefined_layer_pairs, 0) AS undefined_layer_pairs, expert_utilization, gini_coefficient, uses
FROM variances JOIN usage USING (model, config, dataset) LEFT JOIN correlations USING (model, config, dataset);
COMMENT ON VIEW layers_of_experiments IS 'Measures across layers and of expert usage.';
COMMENT ON COLUMN layers_of_experiments.layer_expert_variance IS 'Variance (of the population) over layers of the mean count.';
COMMENT ON COLUMN layers_of_experiments.layer_consistency_score IS 'Mean Pearson''s r of adjacent layers where defined; null if nowhere.';
COMMENT ON COLUMN layers_of_experiments.undefined_layer_pairs IS 'Adjacent pairs whose correlation is undefined.';
COMMENT ON COLUMN layers_of_experiments.expert_utilization IS 'Share of (layer, expert) used at least once.';
COMMENT ON COLUMN layers_of_experiments.gini_coefficient IS 'Mean over layers of the Gini coefficient of uses; null if no expert was ever used.';
COMMENT ON COLUMN layers_of_experiments.uses IS 'Chosen (token, expert) pairs over all layers.';

CREATE VIEW scores_of_experiments AS
WITH sums AS (
    SELECT model, config, dataset, count(*) AS samples, sum(tokens)::BIGINT AS tokens,
        sum(loss ORDER BY sample_id) AS loss, sum(loss_tokens)::BIGINT AS loss_tokens,
        sum(bytes)::BIGINT AS bytes, sum(words)::BIGINT AS words, avg(correct::INTEGER) AS acc,
        avg(correct_norm::INTEGER) AS acc_norm, avg(repeated_alike::INTEGER) AS output_determinism,
        count(repeated_alike) AS repeated_samples
    FROM samples GROUP BY model, config, dataset
)
SELECT *, loss / loss_tokens AS avg_loss,
    CASE WHEN samples > 1 THEN sqrt(acc * (1 - acc) / (samples - 1)) END AS acc_stderr,
    CASE WHEN samples > 1 THEN sqrt(acc_norm * (1 - acc_norm) / (samples - 1)) END AS acc_norm_stderr
FROM sums;
COMMENT ON VIEW scores_of_experiments IS 'Scores summed up per experiment.';
COMMENT ON COLUMN scores_of_experiments.samples IS 'Samples.';
COMMENT ON COLUMN scores_of_experiments.tokens IS 'Input tokens without padding.';
COMMENT ON COLUMN scores_of_experiments.loss IS 'Summed negative log-likelihood, nats.';
COMMENT ON COLUMN scores_of_experiments.loss_tokens IS 'Tokens that loss is summed over.';
COMMENT ON COLUMN scores_of_experiments.bytes IS 'UTF-8 bytes of the original text; null but for text.';
COMMENT ON COLUMN scores_of_experiments.words IS 'Words of the original text; null but for text.';
COMMENT ON COLUMN scores_of_experiments.acc IS 'Share of samples with correct; null for text.';
COMMENT ON COLUMN scores_of_experiments.acc_norm IS 'Share of samples with correct_norm; null but for choice.';
COMMENT ON COLUMN scores_of_experiments.output_determinism IS 'Share of the repeated samples predicted alike; null without a repeat.';
COMMENT ON COLUMN scores_of_experiments.repeated_samples IS 'Samples of the repeat.';
COMMENT ON COLUMN scores_of_experiments.avg_loss IS 'Negative log-likelihood per token, nats.';
COMMENT ON COLUMN scores_of_experiments.acc_stderr IS 'Standard error of acc; null for one sample.';
COMMENT ON COLUMN scores_of_experiments.acc_norm_stderr IS 'Standard error of acc_norm; null for one sample.';

CREATE VIEW overlaps_of_experiments AS
WITH trained AS (
    SELECT model, config, dataset,
        sum(tokens * shared / (count + trained_top_k - shared) ORDER BY layer, shared, count)
            / sum(tokens) AS trained_top_k_jaccard,
        sum(tokens * shared) / (sum(tokens) * any_value(trained_top_k)) AS trained_top_k_recall,
        sum(tied) / sum(tokens) AS trained_top_k_tie_rate
    FROM trained_overlaps JOIN experiments USING (model, config, dataset) GROUP BY model, config, dataset
),
repeated AS (
    SELECT model, config, dataset,
        sum(rows * CASE WHEN either = 0 THEN 1 ELSE shared / either END ORDER BY shared, either)
            / sum(rows) AS expert_overlap_score
    FROM repeat_overlaps GROUP BY model, config, dataset
)
SELECT model, config, dataset, expert_overlap_score, trained_top_k_jaccard, trained_top_k_recall,
    trained_top_k_tie_rate
FROM experiments LEFT JOIN trained USING (model, config, dataset) LEFT JOIN repeated USING (model, config, dataset);
COMMENT ON VIEW overlaps_of_experiments IS 'Chosen sets against those of the repeat and of the trained top-k.';
COMMENT ON COLUMN overlaps_of_experiments.expert_overlap_score IS 'Mean Jaccard between the run and its repeat; two empty sets count 1.';
COMMENT ON COLUMN overlaps_of_experiments.trained_top_k_jaccard IS 'Mean Jaccard with the trained top-k by logit.';
COMMENT ON COLUMN overlaps_of_experiments.trained_top_k_recall IS 'Mean share of the trained top-k that is chosen.';
COMMENT ON COLUMN overlaps_of_experiments.trained_top_k_tie_rate IS 'Share of (layer, token) whose trained top-k is tied at its last rank.';

CREATE VIEW rejections_of_experiments AS
SELECT model, config, dataset, sum(rejections * tokens) / sum(tokens) AS mean_rejections,
    sum(CASE WHEN rejections = 0 THEN tokens ELSE 0 END) / sum(tokens) AS no_rejection_rate,
    sum(CASE WHEN rejections < min_k THEN tokens ELSE 0 END) / sum(tokens) AS raised_to_floor_rate,
    sum(CASE WHEN rejections > k_or_max_k THEN tokens ELSE 0 END) / sum(tokens) AS cut_by_cap_rate
FROM rejection_counts JOIN experiments USING (model, config, dataset) GROUP BY model, config, dataset;
COMMENT ON VIEW rejections_of_experiments IS 'What the test said before min_k and max_k clamped it; no row for rules without tests.';
COMMENT ON COLUMN rejections_of_experiments.mean_rejections IS 'Mean number of rejected hypotheses per (layer, token).';
COMMENT ON COLUMN rejections_of_experiments.no_rejection_rate IS 'Share of (layer, token) with none.';
COMMENT ON COLUMN rejections_of_experiments.raised_to_floor_rate IS 'Share with fewer than min_k, raised to min_k.';
COMMENT ON COLUMN rejections_of_experiments.cut_by_cap_rate IS 'Share with more than max_k, cut to max_k.';

CREATE VIEW paths_of_experiments AS
WITH taken AS (
    SELECT model, config, dataset, sum(tokens) FILTER (path = 1) AS fast, sum(tokens) FILTER (path = 2) AS cached,
        sum(tokens) AS n
    FROM path_counts GROUP BY model, config, dataset
),
alike AS (
    SELECT model, config, dataset, sum(rows) AS n, sum(rows) FILTER (alike) AS same,
        sum(rows * CASE WHEN either = 0 THEN 1 ELSE shared / either END ORDER BY sample_id, shared, either)
            FILTER (alike) AS overlap
    FROM repeat_paths GROUP BY model, config, dataset
),
whole AS (
    SELECT model, config, dataset, sample_id, bool_and(alike) AS alike
    FROM repeat_paths GROUP BY model, config, dataset, sample_id
),
predicted AS (
    SELECT model, config, dataset, avg(repeated_alike::INTEGER) FILTER (alike) AS determinism
    FROM whole JOIN samples USING (model, config, dataset, sample_id) GROUP BY model, config, dataset
)
SELECT model, config, dataset, coalesce(fast, 0) / taken.n AS fast_rate, coalesce(cached, 0) / taken.n AS cached_rate,
    1 - (coalesce(fast, 0) + coalesce(cached, 0)) / taken.n AS learned_rate, same / alike.n AS equal_path_rate,
    overlap / same AS equal_path_overlap_score, determinism AS equal_path_determinism
FROM taken LEFT JOIN alike USING (model, config, dataset) LEFT JOIN predicted USING (model, config, dataset);
COMMENT ON VIEW paths_of_experiments IS 'Paths of rules that have several; no row for others.';
COMMENT ON COLUMN paths_of_experiments.fast_rate IS 'Share of (layer, token) whose route is from the table.';
COMMENT ON COLUMN paths_of_experiments.cached_rate IS 'Share whose route is from the cache.';
COMMENT ON COLUMN paths_of_experiments.learned_rate IS 'Share that the model''s own router routed.';
COMMENT ON COLUMN paths_of_experiments.equal_path_rate IS 'Share on the same path in the repeat.';
COMMENT ON COLUMN paths_of_experiments.equal_path_overlap_score IS 'Mean Jaccard with the repeat of those; null if none.';
COMMENT ON COLUMN paths_of_experiments.equal_path_determinism IS 'Share predicted alike of the samples whose every (layer, token) took the same path in the repeat; null if none.';

CREATE VIEW entropy_of_experiments AS
SELECT model, config, dataset, sum(mean_nats ORDER BY layer) / count(*) AS routing_entropy,
    min(min_nats) AS min_routing_entropy, max(max_nats) AS max_routing_entropy
FROM routing_entropy GROUP BY model, config, dataset;
COMMENT ON VIEW entropy_of_experiments IS 'Entropy of the probabilities of all experts, over layers; no row for traces without logits.';
COMMENT ON COLUMN entropy_of_experiments.routing_entropy IS 'Mean over (layer, token), nats.';
COMMENT ON COLUMN entropy_of_experiments.min_routing_entropy IS 'Smallest of any (layer, token), nats.';
COMMENT ON COLUMN entropy_of_experiments.max_routing_entropy IS 'Largest of any (layer, token), nats.';

-- Multiplications of matrix products per token; scores and values of attention, whose cost grows with the context,
-- norms and embeddings are left out. An expert, and the feed-forward block
-- of a layer without experts, is three matrices: gate, up and down.
CREATE VIEW products_of_experiments AS
WITH parts AS (
    SELECT model, config, dataset, vocab_size * hidden_size AS head,
        num_hidden_layers * (
            2 * hidden_size * num_heads * head_dim + 2 * hidden_size * num_key_value_heads * head_dim
        ) + num_layers * hidden_size * num_experts
        + (num_hidden_layers - num_layers) * 3 * hidden_size * coalesce(dense_intermediate_size, 0) AS fixed,
        3 * num_layers * hidden_size * intermediate_size AS per_expert, trained_top_k
    FROM experiments JOIN model_structure USING (model)
)
SELECT model, config, dataset, head + fixed + per_expert * avg_experts AS products_per_token,
    head + fixed + per_expert * trained_top_k AS trained_products_per_token
FROM parts JOIN counts_of_experiments USING (model, config, dataset);
COMMENT ON VIEW products_of_experiments IS 'Multiplications of the matrix products per token: projections, router, experts, head.';
COMMENT ON COLUMN products_of_experiments.products_per_token IS 'With the mean number of experts of the experiment.';
COMMENT ON COLUMN products_of_experiments.trained_products_per_token IS 'With the trained top-k.';
