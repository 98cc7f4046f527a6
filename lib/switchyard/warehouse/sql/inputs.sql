-- What made this database.
CREATE TABLE provenance (stamp VARCHAR);
COMMENT ON TABLE provenance IS 'One row: the run stamp of this database.';
COMMENT ON COLUMN provenance.stamp IS 'JSON: code, config, inputs and library versions that made every number here; speed aside, the inputs are those of the experiments.';

-- What the study evaluated: one row per experiment, per sample, per configuration timed.

CREATE TABLE experiments (
    ordinal INTEGER, model VARCHAR, config VARCHAR, dataset VARCHAR, schema_version VARCHAR, study VARCHAR,
    strategy VARCHAR, kind VARCHAR, set_name VARCHAR, label VARCHAR, matched VARCHAR, target_k DOUBLE, k_or_max_k INTEGER, min_k INTEGER, alpha DOUBLE, null_name VARCHAR,
    weighting VARCHAR, num_experts INTEGER, num_layers INTEGER, trained_top_k INTEGER, is_static BOOLEAN,
    trace VARCHAR, scores VARCHAR, trace_repeat VARCHAR, scores_repeat VARCHAR, provenance VARCHAR,
    PRIMARY KEY (model, config, dataset)
);
COMMENT ON TABLE experiments IS 'One row per experiment: a configuration of the router on a dataset.';
COMMENT ON COLUMN experiments.ordinal IS 'Place in the study''s own order, from 0.';
COMMENT ON COLUMN experiments.config IS 'Name of the configuration, as in file names.';
COMMENT ON COLUMN experiments.dataset IS 'Key of the dataset in the study''s config.';
COMMENT ON COLUMN experiments.schema_version IS 'Version of the layout of the logs.';
COMMENT ON COLUMN experiments.study IS 'Name of the study.';
COMMENT ON COLUMN experiments.model IS 'Name of the model.';
COMMENT ON COLUMN experiments.strategy IS 'Routing rule: topk, bh, ...';
COMMENT ON COLUMN experiments.kind IS 'perplexity (running text), cloze (last word) or choice (endings).';
COMMENT ON COLUMN experiments.set_name IS 'Set of configurations in the study''s config that it comes from.';
COMMENT ON COLUMN experiments.label IS 'The configuration as readers call it.';
COMMENT ON COLUMN experiments.matched IS 'Configuration whose number of experts it takes over, dataset by dataset; null for others.';
COMMENT ON COLUMN experiments.target_k IS 'Mean number of experts on calibration text that alpha was solved for; null for others.';
COMMENT ON COLUMN experiments.k_or_max_k IS 'Experts per token of a static rule, the most of another one.';
COMMENT ON COLUMN experiments.min_k IS 'Fewest experts per token; equal to k_or_max_k for a static rule.';
COMMENT ON COLUMN experiments.alpha IS 'Level of the rule (for BH and BY a false discovery rate), as given or as solved for a budget; null for rules without one.';
COMMENT ON COLUMN experiments.null_name IS 'Null distribution that the rule was given by name; null for rules that take none.';
COMMENT ON COLUMN experiments.weighting IS 'How the weights of the chosen experts are scaled.';
COMMENT ON COLUMN experiments.num_experts IS 'Experts per MoE block.';
COMMENT ON COLUMN experiments.num_layers IS 'MoE blocks.';
COMMENT ON COLUMN experiments.trained_top_k IS 'Experts per token that the model was trained with.';
COMMENT ON COLUMN experiments.is_static IS 'Every token gets k_or_max_k experts: ceiling rate 1, floor rate 0.';
COMMENT ON COLUMN experiments.trace IS 'Trace file, relative to the study''s folder.';
COMMENT ON COLUMN experiments.scores IS 'Scores file, relative to the study''s folder.';
COMMENT ON COLUMN experiments.trace_repeat IS 'Trace of the repeated samples; null if none.';
COMMENT ON COLUMN experiments.scores_repeat IS 'Scores of the repeated samples; null if none.';
COMMENT ON COLUMN experiments.provenance IS 'JSON: which code, config, model, data and library versions made it.';

CREATE TABLE model_structure (
    model VARCHAR PRIMARY KEY, num_hidden_layers BIGINT, dense_intermediate_size BIGINT, hidden_size BIGINT, intermediate_size BIGINT, num_heads BIGINT, num_key_value_heads BIGINT,
    head_dim BIGINT, vocab_size BIGINT
);
COMMENT ON TABLE model_structure IS 'Sizes of each model''s matrices, from its own config.';
COMMENT ON COLUMN model_structure.num_hidden_layers IS 'Layers, those without experts included.';
COMMENT ON COLUMN model_structure.dense_intermediate_size IS 'Width of the feed-forward block of a layer without experts; null where every layer has experts.';
COMMENT ON COLUMN model_structure.hidden_size IS 'Width of the residual stream.';
COMMENT ON COLUMN model_structure.intermediate_size IS 'Width of one expert.';
COMMENT ON COLUMN model_structure.num_heads IS 'Query heads.';
COMMENT ON COLUMN model_structure.num_key_value_heads IS 'Key and value heads.';
COMMENT ON COLUMN model_structure.head_dim IS 'Width of a head.';
COMMENT ON COLUMN model_structure.vocab_size IS 'Rows of the output head.';

CREATE TABLE speed (
    model VARCHAR, config VARCHAR, tokens_per_second DOUBLE, latency_ms_per_token DOUBLE, latency_p50_ms DOUBLE,
    latency_p95_ms DOUBLE, latency_p99_ms DOUBLE,
    PRIMARY KEY (model, config)
);
COMMENT ON TABLE speed IS 'Speed of each configuration, measured by one job per model, alone on the machine; differs from run to run.';
COMMENT ON COLUMN speed.tokens_per_second IS 'Prefill tokens per second, no trace.';
COMMENT ON COLUMN speed.latency_ms_per_token IS 'Decode at batch size 1, median, milliseconds.';
COMMENT ON COLUMN speed.latency_p50_ms IS '50th percentile of the decode latency, milliseconds.';
COMMENT ON COLUMN speed.latency_p95_ms IS '95th percentile of the decode latency, milliseconds.';
COMMENT ON COLUMN speed.latency_p99_ms IS '99th percentile of the decode latency, milliseconds.';

CREATE TABLE samples (
    model VARCHAR, config VARCHAR, dataset VARCHAR, sample_id BIGINT, text_preview VARCHAR, tokens BIGINT, loss DOUBLE,
    loss_tokens BIGINT, bytes BIGINT, words BIGINT, log_likelihood DOUBLE[], target_tokens INTEGER[],
    characters INTEGER[], predicted INTEGER, predicted_norm INTEGER, target INTEGER, correct BOOLEAN,
    correct_norm BOOLEAN, repeated_alike BOOLEAN,
    PRIMARY KEY (model, config, dataset, sample_id)
);
COMMENT ON TABLE samples IS 'Scores of every sample of every experiment, without the predictions per position.';
COMMENT ON COLUMN samples.sample_id IS 'Sample of the prepared dataset; pairs the configurations.';
COMMENT ON COLUMN samples.text_preview IS 'First 100 characters.';
COMMENT ON COLUMN samples.tokens IS 'Input tokens without padding, all sequences of the sample.';
COMMENT ON COLUMN samples.loss IS 'Summed negative log-likelihood (nats) of what perplexity counts: all tokens of a text, the last word of a cloze, the true ending of a choice.';
COMMENT ON COLUMN samples.loss_tokens IS 'Tokens that loss is summed over.';
COMMENT ON COLUMN samples.bytes IS 'UTF-8 bytes of the original text; null but for text.';
COMMENT ON COLUMN samples.words IS 'Words of the original text; null but for text.';
COMMENT ON COLUMN samples.log_likelihood IS 'Log-likelihood (nats) of each option; one for text and cloze.';
COMMENT ON COLUMN samples.target_tokens IS 'Scored tokens of each option; one number for text and cloze.';
COMMENT ON COLUMN samples.characters IS 'Characters of each option, by which acc_norm divides; null but for choice.';
COMMENT ON COLUMN samples.predicted IS 'Option of the largest log-likelihood; null but for choice.';
COMMENT ON COLUMN samples.predicted_norm IS 'Option of the largest log-likelihood per character; null but for choice.';
COMMENT ON COLUMN samples.target IS 'True option; null but for choice.';
COMMENT ON COLUMN samples.correct IS 'Cloze: every target token is the most probable one. Choice: predicted = target. Null for text.';
COMMENT ON COLUMN samples.correct_norm IS 'Choice: predicted_norm = target. Null otherwise.';
COMMENT ON COLUMN samples.repeated_alike IS 'The repeat run predicts the same token at every scored position; null where not repeated.';
