-- The sixteen metrics, and everything else measured.

CREATE TABLE metrics AS
SELECT model, config, dataset,
    exp(avg_loss) AS perplexity,
    CASE kind WHEN 'cloze' THEN acc WHEN 'choice' THEN acc_norm END AS avg_task_accuracy,
    avg_experts / k_or_max_k AS expert_activation_ratio,
    -- cost(x) = 0.6 x / E + 0.4; never clipped
    100 * (1 - (0.6 * avg_experts / num_experts + 0.4) / (0.6 * trained_top_k / num_experts + 0.4))
        AS flops_reduction_pct,
    tokens_per_second,
    latency_ms_per_token,
    expert_utilization,
    gini_coefficient,
    max_experts - min_experts AS adaptive_range,
    selection_entropy,
    ceiling_hit_rate,
    floor_hit_rate,
    layer_expert_variance,
    layer_consistency_score,
    expert_overlap_score,
    output_determinism
FROM experiments
    JOIN counts_of_experiments USING (model, config, dataset)
    JOIN bounds_of_experiments USING (model, config, dataset)
    JOIN layers_of_experiments USING (model, config, dataset)
    JOIN scores_of_experiments USING (model, config, dataset)
    JOIN overlaps_of_experiments USING (model, config, dataset)
    LEFT JOIN speed USING (model, config)
ORDER BY ordinal;
COMMENT ON TABLE metrics IS 'The sixteen metrics of every experiment.';
COMMENT ON COLUMN metrics.perplexity IS 'exp(sum of losses / target tokens): all tokens of a text, the last word of a cloze, the true ending of a choice. Lower is better.';
COMMENT ON COLUMN metrics.avg_task_accuracy IS 'Cloze: acc; choice: acc_norm; null for text. Higher is better.';
COMMENT ON COLUMN metrics.expert_activation_ratio IS 'Mean count / k_or_max_k, share.';
COMMENT ON COLUMN metrics.flops_reduction_pct IS 'The source documents'' formula: cost(x) = 0.6 x/E + 0.4, against the trained top-k, percent; negative above it. Higher is better.';
COMMENT ON COLUMN metrics.tokens_per_second IS 'Prefill, no trace; measured per configuration, the same for each dataset. Higher is better.';
COMMENT ON COLUMN metrics.latency_ms_per_token IS 'Decode, batch size 1, median, milliseconds; measured per configuration. Lower is better.';
COMMENT ON COLUMN metrics.expert_utilization IS 'Share of (layer, expert) used at least once.';
COMMENT ON COLUMN metrics.gini_coefficient IS 'Gini coefficient of usage counts per layer, averaged: 0 even, towards 1 uneven.';
COMMENT ON COLUMN metrics.adaptive_range IS 'Largest count - smallest count, experts.';
COMMENT ON COLUMN metrics.selection_entropy IS 'Entropy of the distribution of counts over min_k..max_k, nats.';
COMMENT ON COLUMN metrics.ceiling_hit_rate IS 'Share of (layer, token) with count = max_k; 1 for static rules.';
COMMENT ON COLUMN metrics.floor_hit_rate IS 'Share of (layer, token) with count = min_k; 0 for static rules.';
COMMENT ON COLUMN metrics.layer_expert_variance IS 'Variance over layers of the mean count.';
COMMENT ON COLUMN metrics.layer_consistency_score IS 'Mean Pearson''s r of counts between adjacent layers over the pairs where it is defined; null if none.';
COMMENT ON COLUMN metrics.expert_overlap_score IS 'Mean Jaccard of chosen sets between the run and its repeat. Higher is better.';
COMMENT ON COLUMN metrics.output_determinism IS 'Share of samples whose argmax at every scored position is the same in the repeat. Higher is better.';

CREATE TABLE quality AS
SELECT model, config, dataset,
    acc, acc_stderr, acc_norm, acc_norm_stderr,
    CASE kind WHEN 'perplexity' THEN exp(loss / words) WHEN 'cloze' THEN exp(loss / samples) END AS word_perplexity,
    CASE WHEN kind = 'perplexity' THEN exp(loss / bytes) END AS byte_perplexity,
    CASE WHEN kind = 'perplexity' THEN loss / bytes / ln(2) END AS bits_per_byte,
    avg_loss, loss_tokens,
    avg_experts, std_experts, min_experts, max_experts, min_k,
    100 * (1 - avg_experts / trained_top_k) AS reduction_vs_baseline,
    100 * (1 - products_per_token / trained_products_per_token) AS flops_reduction_exact_pct,
    latency_p50_ms, latency_p95_ms, latency_p99_ms,
    CASE WHEN k_or_max_k > min_k THEN selection_entropy / ln(k_or_max_k - min_k + 1) ELSE 0.0 END
        AS selection_entropy_normalised,
    mid_rate, mean_rejections, no_rejection_rate, raised_to_floor_rate, cut_by_cap_rate,
    routing_entropy, min_routing_entropy, max_routing_entropy,
    trained_top_k_jaccard, trained_top_k_recall, trained_top_k_tie_rate, undefined_layer_pairs, repeated_samples,
    fast_rate, cached_rate, learned_rate, equal_path_rate, equal_path_overlap_score, equal_path_determinism
FROM experiments
    JOIN counts_of_experiments USING (model, config, dataset)
    JOIN bounds_of_experiments USING (model, config, dataset)
    JOIN layers_of_experiments USING (model, config, dataset)
    JOIN scores_of_experiments USING (model, config, dataset)
    JOIN overlaps_of_experiments USING (model, config, dataset)
    LEFT JOIN products_of_experiments USING (model, config, dataset)
    LEFT JOIN rejections_of_experiments USING (model, config, dataset)
    LEFT JOIN entropy_of_experiments USING (model, config, dataset)
    LEFT JOIN paths_of_experiments USING (model, config, dataset)
    LEFT JOIN speed USING (model, config)
ORDER BY ordinal;
COMMENT ON TABLE quality IS 'Everything measured beside the sixteen metrics.';
COMMENT ON COLUMN quality.acc IS 'Cloze: share of last words predicted greedily in full; choice: share of largest log-likelihoods that are true; null for text.';
COMMENT ON COLUMN quality.acc_stderr IS 'Standard error of acc.';
COMMENT ON COLUMN quality.acc_norm IS 'Choice: as acc, log-likelihoods divided by characters; null otherwise.';
COMMENT ON COLUMN quality.acc_norm_stderr IS 'Standard error of acc_norm.';
COMMENT ON COLUMN quality.word_perplexity IS 'Text: exp(loss / words of the original pages); cloze: exp(loss / samples), the perplexity of LAMBADA; null for choice.';
COMMENT ON COLUMN quality.byte_perplexity IS 'Text: exp(loss / UTF-8 bytes of the original pages).';
COMMENT ON COLUMN quality.bits_per_byte IS 'Text: loss / bytes / ln 2.';
COMMENT ON COLUMN quality.avg_loss IS 'Negative log-likelihood per target token, nats: ln of perplexity.';
COMMENT ON COLUMN quality.loss_tokens IS 'Target tokens.';
COMMENT ON COLUMN quality.avg_experts IS 'Mean number of experts per (layer, token).';
COMMENT ON COLUMN quality.std_experts IS 'Standard deviation (of the population) of the number of experts.';
COMMENT ON COLUMN quality.min_experts IS 'Fewest experts of a (layer, token).';
COMMENT ON COLUMN quality.max_experts IS 'Most experts of a (layer, token).';
COMMENT ON COLUMN quality.min_k IS 'Floor of the rule; k for static rules.';
COMMENT ON COLUMN quality.reduction_vs_baseline IS 'Fewer experts than the trained top-k, percent of it; negative above it.';
COMMENT ON COLUMN quality.flops_reduction_exact_pct IS 'Fewer multiplications of matrix products per token (projections, router, experts, head) than with the trained top-k, percent; attention scores left out. Shared experts and latent attention are not counted yet, so that it is too large for families that have them.';
COMMENT ON COLUMN quality.latency_p50_ms IS '50th percentile of the decode latency, milliseconds.';
COMMENT ON COLUMN quality.latency_p95_ms IS '95th percentile of the decode latency, milliseconds.';
COMMENT ON COLUMN quality.latency_p99_ms IS '99th percentile of the decode latency, milliseconds.';
COMMENT ON COLUMN quality.selection_entropy_normalised IS 'selection_entropy / ln(bins), bins = max_k - min_k + 1; 0 for one bin.';
COMMENT ON COLUMN quality.mid_rate IS 'Share of (layer, token) between floor and ceiling; 0 for static rules.';
COMMENT ON COLUMN quality.mean_rejections IS 'Mean number of rejected hypotheses before clamping; null for rules without tests.';
COMMENT ON COLUMN quality.no_rejection_rate IS 'Share of (layer, token) with no rejection; null for rules without tests.';
COMMENT ON COLUMN quality.raised_to_floor_rate IS 'Share with fewer than min_k rejections; null for rules without tests.';
COMMENT ON COLUMN quality.cut_by_cap_rate IS 'Share with more than max_k rejections; null for rules without tests.';
COMMENT ON COLUMN quality.routing_entropy IS 'Mean entropy of the router''s probabilities of all experts (a sigmoid''s divided by their sum), nats; null without logits.';
COMMENT ON COLUMN quality.min_routing_entropy IS 'Smallest entropy of a (layer, token), nats; null without logits.';
COMMENT ON COLUMN quality.max_routing_entropy IS 'Largest entropy of a (layer, token), nats; null without logits.';
COMMENT ON COLUMN quality.trained_top_k_jaccard IS 'Mean Jaccard of the chosen set with the trained top-k by logit; null without logits.';
COMMENT ON COLUMN quality.trained_top_k_recall IS 'Mean share of the trained top-k that is chosen; null without logits.';
COMMENT ON COLUMN quality.trained_top_k_tie_rate IS 'Share of (layer, token) whose k-th and (k+1)-th largest logits are equal, k = trained_top_k: which of the tied experts is used, the logits do not say; null without logits.';
COMMENT ON COLUMN quality.undefined_layer_pairs IS 'Adjacent layer pairs whose correlation of counts is undefined.';
COMMENT ON COLUMN quality.repeated_samples IS 'Samples that the stability metrics compare.';
COMMENT ON COLUMN quality.fast_rate IS 'Share of (layer, token) whose route is from the table; null for rules without paths.';
COMMENT ON COLUMN quality.cached_rate IS 'Share whose route is from the cache; null for rules without paths.';
COMMENT ON COLUMN quality.learned_rate IS 'Share that the model''s own router routed; null for rules without paths.';
COMMENT ON COLUMN quality.equal_path_rate IS 'Share of (layer, token) on the same path in the repeat; null for rules without paths.';
COMMENT ON COLUMN quality.equal_path_overlap_score IS 'As expert_overlap_score, over those: numerics without the state of a cache.';
COMMENT ON COLUMN quality.equal_path_determinism IS 'As output_determinism, over the samples whose every (layer, token) took the same path; null if none.';
