-- The published tables.

CREATE VIEW logs AS
SELECT experiments.* EXCLUDE (min_k), samples AS total_samples, tokens AS total_tokens,
    metrics.* EXCLUDE (model, config, dataset), quality.* EXCLUDE (model, config, dataset)
FROM experiments JOIN scores_of_experiments USING (model, config, dataset)
    JOIN metrics USING (model, config, dataset) JOIN quality USING (model, config, dataset)
ORDER BY ordinal;
COMMENT ON VIEW logs IS 'The summary of every experiment in one row: head, metrics, quality; columns as in those tables.';
COMMENT ON COLUMN logs.total_samples IS 'Samples.';
COMMENT ON COLUMN logs.total_tokens IS 'Input tokens without padding.';

CREATE VIEW bh_routing_results AS
SELECT model, config AS config_name, strategy AS routing_type, k_or_max_k, alpha, dataset,
    metrics.* EXCLUDE (model, config, dataset),
    avg_experts, std_experts, min_experts, max_experts, reduction_vs_baseline, avg_loss
FROM experiments JOIN metrics USING (model, config, dataset) JOIN quality USING (model, config, dataset)
ORDER BY ordinal;
COMMENT ON VIEW bh_routing_results IS 'The published results: one row per experiment; columns as in metrics and quality.';
COMMENT ON COLUMN bh_routing_results.routing_type IS 'Routing rule: topk, bh, ...';

CREATE VIEW configurations AS
SELECT model, config AS config_name, any_value(set_name) AS set_name, any_value(strategy) AS routing_type,
    any_value(label) AS label, max(k_or_max_k) AS k_or_max_k, min(min_k) AS min_k, any_value(alpha) AS alpha,
    any_value(target_k) AS target_k, any_value(null_name) AS null_name, any_value(weighting) AS weighting,
    any_value(matched) AS matched
FROM experiments GROUP BY model, config ORDER BY min(ordinal);
COMMENT ON VIEW configurations IS 'The configurations of the study in its order; a matched one has the widest limits of any dataset.';
COMMENT ON COLUMN configurations.routing_type IS 'Routing rule: topk, bh, ...';

-- Perplexities of different texts have no arithmetic mean; of one text it is that text's, to the last digit.
-- An accuracy task is a dataset with an accuracy; avg() ignores the others. Speed is the configuration's own.
CREATE VIEW bh_routing_configs AS
WITH rows AS (
    SELECT experiments.ordinal, experiments.model, experiments.config, strategy, k_or_max_k, alpha, kind,
        metrics.* EXCLUDE (model, config, dataset),
        avg_loss, avg_experts, std_experts, min_experts, max_experts, reduction_vs_baseline,
        flops_reduction_exact_pct,
        CASE kind WHEN 'cloze' THEN acc_stderr WHEN 'choice' THEN acc_norm_stderr END AS stderr
    FROM experiments JOIN metrics USING (model, config, dataset) JOIN quality USING (model, config, dataset)
)
SELECT model, config AS config_name, any_value(strategy) AS routing_type, max(k_or_max_k) AS k_or_max_k,
    any_value(alpha) AS alpha,
    count(*) AS datasets,
    count(avg_task_accuracy) AS accuracy_tasks,
    CASE count(*) FILTER (kind = 'perplexity')
        WHEN 0 THEN NULL
        WHEN 1 THEN max(perplexity) FILTER (kind = 'perplexity')
        ELSE exp(avg(avg_loss ORDER BY ordinal) FILTER (kind = 'perplexity')) END AS perplexity,
    avg(avg_task_accuracy ORDER BY ordinal) AS avg_task_accuracy,
    sqrt(sum(stderr * stderr ORDER BY ordinal)) / nullif(count(stderr), 0) AS avg_task_accuracy_stderr,
    avg(expert_activation_ratio ORDER BY ordinal) AS expert_activation_ratio,
    avg(flops_reduction_pct ORDER BY ordinal) AS flops_reduction_pct,
    avg(flops_reduction_exact_pct ORDER BY ordinal) AS flops_reduction_exact_pct,
    max(tokens_per_second) AS tokens_per_second,
    max(latency_ms_per_token) AS latency_ms_per_token,
    avg(expert_utilization ORDER BY ordinal) AS expert_utilization,
    avg(gini_coefficient ORDER BY ordinal) AS gini_coefficient,
    avg(adaptive_range ORDER BY ordinal) AS adaptive_range,
    avg(selection_entropy ORDER BY ordinal) AS selection_entropy,
    avg(ceiling_hit_rate ORDER BY ordinal) AS ceiling_hit_rate,
    avg(floor_hit_rate ORDER BY ordinal) AS floor_hit_rate,
    avg(layer_expert_variance ORDER BY ordinal) AS layer_expert_variance,
    avg(layer_consistency_score ORDER BY ordinal) AS layer_consistency_score,
    avg(expert_overlap_score ORDER BY ordinal) AS expert_overlap_score,
    avg(output_determinism ORDER BY ordinal) AS output_determinism,
    avg(avg_experts ORDER BY ordinal) AS avg_experts,
    min(min_experts) AS min_experts,
    max(max_experts) AS max_experts,
    avg(reduction_vs_baseline ORDER BY ordinal) AS reduction_vs_baseline
FROM rows GROUP BY model, config ORDER BY min(ordinal);
COMMENT ON VIEW bh_routing_configs IS 'One row per configuration: accuracy is the mean over the accuracy tasks, perplexity is that of the texts, every other measure is the mean over all datasets.';
COMMENT ON COLUMN bh_routing_configs.routing_type IS 'Routing rule: topk, bh, ...';
COMMENT ON COLUMN bh_routing_configs.datasets IS 'Datasets.';
COMMENT ON COLUMN bh_routing_configs.accuracy_tasks IS 'Datasets with an accuracy (cloze and choice).';
COMMENT ON COLUMN bh_routing_configs.perplexity IS 'Perplexity of the text; of several texts exp of the mean of their losses per token; null without text.';
COMMENT ON COLUMN bh_routing_configs.avg_task_accuracy IS 'Mean over the accuracy tasks.';
COMMENT ON COLUMN bh_routing_configs.avg_task_accuracy_stderr IS 'Standard error of that mean, tasks taken as independent.';
COMMENT ON COLUMN bh_routing_configs.min_experts IS 'Fewest experts of a (layer, token) of any dataset.';
COMMENT ON COLUMN bh_routing_configs.max_experts IS 'Most experts of a (layer, token) of any dataset.';
