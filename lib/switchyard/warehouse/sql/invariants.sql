-- What no run can produce. A value that is not finite or leaves low..high by more than rounding is refused.

CREATE VIEW invariants AS
WITH bounds AS (
    SELECT *, ln(num_experts) AS ln_experts, ln(k_or_max_k - min_k + 1) AS ln_bins,
        'infinity'::DOUBLE AS any_height
    FROM experiments
),
shares AS (
    UNPIVOT (
        SELECT model, config, dataset, avg_task_accuracy, expert_activation_ratio, expert_utilization, gini_coefficient,
            ceiling_hit_rate, floor_hit_rate, expert_overlap_score, output_determinism
        FROM metrics
    ) ON COLUMNS(* EXCLUDE (model, config, dataset)) INTO NAME metric VALUE value
    UNION ALL
    UNPIVOT (
        SELECT model, config, dataset, acc, acc_norm, mid_rate, no_rejection_rate, raised_to_floor_rate,
            cut_by_cap_rate, trained_top_k_jaccard, trained_top_k_recall,
            trained_top_k_tie_rate, fast_rate, cached_rate, learned_rate, equal_path_rate, equal_path_overlap_score,
            equal_path_determinism
        FROM quality
    ) ON COLUMNS(* EXCLUDE (model, config, dataset)) INTO NAME metric VALUE value
),
losses AS (
    SELECT model, config, dataset, min(loss) AS smallest, max(loss) AS largest,
        count(*) - count(loss + loss_tokens) AS without_loss,
        count(*) - CASE any_value(kind) WHEN 'cloze' THEN count(correct) WHEN 'choice' THEN count(correct_norm)
            ELSE count(*) END AS without_answer
    FROM samples JOIN experiments USING (model, config, dataset) GROUP BY model, config, dataset
),
layer_tokens AS (
    SELECT model, config, dataset, min(tokens) AS fewest, max(tokens) AS most, count(*) AS layers,
        sum(total_count) AS counted
    FROM layer_moments GROUP BY model, config, dataset
),
differing AS (
    SELECT model, config, dataset, count(*) FILTER (s.tokens IS DISTINCT FROM t.tokens) AS samples
    FROM samples AS s FULL JOIN trace_samples AS t USING (model, config, dataset, sample_id) GROUP BY model, config, dataset
),
lost AS (
    SELECT model, config, dataset, coalesce(sum(rows) FILTER (shared IS NULL), 0) AS rows
    FROM repeat_overlaps GROUP BY model, config, dataset
),
checked AS (
    SELECT model, config, dataset, metric, value, 0.0 AS low, 1.0 AS high FROM shares
    UNION ALL SELECT model, config, dataset, 'ceiling_hit_rate + floor_hit_rate + mid_rate',
        ceiling_hit_rate + floor_hit_rate + mid_rate, 1.0, 1.0
        FROM metrics JOIN quality USING (model, config, dataset)
    UNION ALL SELECT model, config, dataset, 'routing_entropy', routing_entropy, 0.0, ln_experts
        FROM bounds JOIN quality USING (model, config, dataset)
    UNION ALL SELECT model, config, dataset, 'min_routing_entropy', min_routing_entropy, 0.0, ln_experts
        FROM bounds JOIN quality USING (model, config, dataset)
    UNION ALL SELECT model, config, dataset, 'max_routing_entropy', max_routing_entropy, 0.0, ln_experts
        FROM bounds JOIN quality USING (model, config, dataset)
    UNION ALL SELECT model, config, dataset, 'selection_entropy', selection_entropy, 0.0, ln_bins
        FROM bounds JOIN metrics USING (model, config, dataset)
    UNION ALL SELECT model, config, dataset, 'min_experts', min_experts, bounds.min_k, k_or_max_k
        FROM bounds JOIN quality USING (model, config, dataset)
    UNION ALL SELECT model, config, dataset, 'max_experts', max_experts, bounds.min_k, k_or_max_k
        FROM bounds JOIN quality USING (model, config, dataset)
    UNION ALL SELECT model, config, dataset, 'avg_experts', avg_experts, bounds.min_k, k_or_max_k
        FROM bounds JOIN quality USING (model, config, dataset)
    UNION ALL SELECT model, config, dataset, 'layer_consistency_score', layer_consistency_score, -1.0, 1.0 FROM metrics
    UNION ALL SELECT model, config, dataset, 'perplexity', perplexity, 1.0, any_height
        FROM bounds JOIN metrics USING (model, config, dataset)
    UNION ALL SELECT model, config, dataset, 'tokens_per_second', tokens_per_second, 0.0, any_height
        FROM bounds JOIN metrics USING (model, config, dataset)
    UNION ALL SELECT model, config, dataset, 'latency_ms_per_token', latency_ms_per_token, 0.0, any_height
        FROM bounds JOIN metrics USING (model, config, dataset)
    UNION ALL SELECT model, config, dataset, 'smallest loss of a sample', smallest, 0.0, any_height
        FROM bounds JOIN losses USING (model, config, dataset)
    UNION ALL SELECT model, config, dataset, 'largest loss of a sample', largest, 0.0, any_height
        FROM bounds JOIN losses USING (model, config, dataset)
    UNION ALL SELECT model, config, dataset, 'samples without a loss', without_loss, 0, 0 FROM losses
    UNION ALL SELECT model, config, dataset, 'samples without an answer', without_answer, 0, 0 FROM losses
    UNION ALL SELECT model, config, dataset, 'samples whose tokens differ between trace and scores', samples, 0, 0
        FROM differing
    UNION ALL SELECT model, config, dataset, 'layers in the trace', layers, num_layers, num_layers
        FROM bounds JOIN layer_tokens USING (model, config, dataset)
    UNION ALL SELECT model, config, dataset, 'tokens of the emptiest layer of the trace', fewest, tokens, tokens
        FROM layer_tokens JOIN scores_of_experiments USING (model, config, dataset)
    UNION ALL SELECT model, config, dataset, 'tokens of the fullest layer of the trace', most, tokens, tokens
        FROM layer_tokens JOIN scores_of_experiments USING (model, config, dataset)
    UNION ALL SELECT model, config, dataset, 'sum of expert uses', uses, counted, counted
        FROM layers_of_experiments JOIN layer_tokens USING (model, config, dataset)
    UNION ALL SELECT model, config, dataset, 'rows of the repeat trace that the trace lacks', rows, 0, 0 FROM lost
)
SELECT model, config, dataset, metric, value::DOUBLE AS value, low::DOUBLE AS low, high::DOUBLE AS high,
    isfinite(value::DOUBLE) AND value >= low - 1e-9 AND value <= high + 1e-9 AS holds
FROM checked WHERE value IS NOT NULL;
COMMENT ON VIEW invariants IS 'Bounds that every result met before it was published.';
COMMENT ON COLUMN invariants.metric IS 'What is bounded.';
COMMENT ON COLUMN invariants.value IS 'Its value.';
COMMENT ON COLUMN invariants.low IS 'Smallest possible value.';
COMMENT ON COLUMN invariants.high IS 'Largest possible value.';
COMMENT ON COLUMN invariants.holds IS 'Whether the value is finite and between them, up to 1e-9.';
