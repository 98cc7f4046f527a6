-- Counts taken from the traces, one file at a time. All are integers but for routing_entropy, so that sums over
-- them do not depend on the order in which threads add.

CREATE TABLE layer_counts (model VARCHAR, config VARCHAR, dataset VARCHAR, layer INTEGER, count INTEGER, tokens BIGINT);
COMMENT ON TABLE layer_counts IS 'How many tokens got how many experts, per layer.';
COMMENT ON COLUMN layer_counts.count IS 'Experts of a token.';
COMMENT ON COLUMN layer_counts.tokens IS 'Tokens with that many experts.';

CREATE TABLE trace_samples (model VARCHAR, config VARCHAR, dataset VARCHAR, sample_id BIGINT, tokens BIGINT);
COMMENT ON TABLE trace_samples IS 'How many tokens of each sample were routed.';
COMMENT ON COLUMN trace_samples.sample_id IS 'Sample of the prepared dataset.';
COMMENT ON COLUMN trace_samples.tokens IS 'Rows of its first layer in the trace, all sequences.';

CREATE TABLE rejection_counts (
    model VARCHAR, config VARCHAR, dataset VARCHAR, layer INTEGER, rejections INTEGER, tokens BIGINT
);
COMMENT ON TABLE rejection_counts IS 'How many tokens had how many rejected hypotheses; empty for rules without tests.';
COMMENT ON COLUMN rejection_counts.rejections IS 'Hypotheses rejected before clamping to min_k..max_k.';
COMMENT ON COLUMN rejection_counts.tokens IS 'Tokens with that many rejections.';

CREATE TABLE expert_uses (model VARCHAR, config VARCHAR, dataset VARCHAR, layer INTEGER, expert INTEGER, uses BIGINT);
COMMENT ON TABLE expert_uses IS 'How often each expert was chosen; experts never chosen have a row with 0.';
COMMENT ON COLUMN expert_uses.expert IS 'Expert of the block, from 0.';
COMMENT ON COLUMN expert_uses.uses IS 'Tokens that chose it.';

CREATE TABLE layer_pairs (
    model VARCHAR, config VARCHAR, dataset VARCHAR, layer INTEGER, tokens BIGINT, sum_here HUGEINT, sum_next HUGEINT,
    squares_here HUGEINT, squares_next HUGEINT, products HUGEINT
);
COMMENT ON TABLE layer_pairs IS 'Sums of the counts of adjacent layers over tokens, for the correlation between them.';
COMMENT ON COLUMN layer_pairs.layer IS 'First layer of the pair; the other is layer + 1.';
COMMENT ON COLUMN layer_pairs.tokens IS 'Tokens.';
COMMENT ON COLUMN layer_pairs.sum_here IS 'Sum of the counts in layer.';
COMMENT ON COLUMN layer_pairs.sum_next IS 'Sum of the counts in layer + 1.';
COMMENT ON COLUMN layer_pairs.squares_here IS 'Sum of the squared counts in layer.';
COMMENT ON COLUMN layer_pairs.squares_next IS 'Sum of the squared counts in layer + 1.';
COMMENT ON COLUMN layer_pairs.products IS 'Sum of the products of both counts.';

CREATE TABLE routing_entropy (
    model VARCHAR, config VARCHAR, dataset VARCHAR, layer INTEGER, mean_nats DOUBLE, min_nats DOUBLE, max_nats DOUBLE
);
COMMENT ON TABLE routing_entropy IS 'Entropy of the router''s probabilities of all experts (a sigmoid''s divided by their sum); empty where a trace has no logits.';
COMMENT ON COLUMN routing_entropy.mean_nats IS 'Mean over tokens, nats.';
COMMENT ON COLUMN routing_entropy.min_nats IS 'Smallest of any token, nats.';
COMMENT ON COLUMN routing_entropy.max_nats IS 'Largest of any token, nats; at most ln(num_experts).';

CREATE TABLE trained_overlaps (
    model VARCHAR, config VARCHAR, dataset VARCHAR, layer INTEGER, shared INTEGER, count INTEGER, tokens BIGINT, tied BIGINT
);
COMMENT ON TABLE trained_overlaps IS 'How many chosen experts are among the trained top-k by logit; empty where a trace has no logits. An expert tied with the k-th logit counts as among them.';
COMMENT ON COLUMN trained_overlaps.shared IS 'Chosen experts among the trained_top_k largest logits.';
COMMENT ON COLUMN trained_overlaps.count IS 'Chosen experts.';
COMMENT ON COLUMN trained_overlaps.tokens IS 'Tokens with that pair of numbers.';
COMMENT ON COLUMN trained_overlaps.tied IS 'Those of them whose k-th and (k+1)-th largest logits are equal, k = trained_top_k.';

CREATE TABLE path_counts (
    model VARCHAR, config VARCHAR, dataset VARCHAR, layer INTEGER, path INTEGER, tokens BIGINT
);
COMMENT ON TABLE path_counts IS 'How many tokens of each layer took each path; empty for rules without paths.';
COMMENT ON COLUMN path_counts.path IS '0 learned, 1 fast, 2 cached.';
COMMENT ON COLUMN path_counts.tokens IS 'Tokens.';

CREATE TABLE repeat_paths (
    model VARCHAR, config VARCHAR, dataset VARCHAR, sample_id INTEGER, alike BOOLEAN, shared INTEGER, either INTEGER,
    rows BIGINT
);
COMMENT ON TABLE repeat_paths IS 'As repeat_overlaps, by sample and by whether the run and its repeat took the same path; empty for rules without paths.';
COMMENT ON COLUMN repeat_paths.alike IS 'Whether both took the same path.';
COMMENT ON COLUMN repeat_paths.shared IS 'Experts chosen in both.';
COMMENT ON COLUMN repeat_paths.either IS 'Experts chosen in either.';
COMMENT ON COLUMN repeat_paths.rows IS 'Rows with that pair of numbers.';

CREATE TABLE repeat_overlaps (
    model VARCHAR, config VARCHAR, dataset VARCHAR, shared INTEGER, either INTEGER, rows BIGINT
);
COMMENT ON TABLE repeat_overlaps IS 'Chosen sets of the run against those of its repeat, over (sample, sequence, layer, position).';
COMMENT ON COLUMN repeat_overlaps.shared IS 'Experts chosen in both; null for a row of the repeat that the run lacks.';
COMMENT ON COLUMN repeat_overlaps.either IS 'Experts chosen in either.';
COMMENT ON COLUMN repeat_overlaps.rows IS 'Rows with that pair of numbers.';
