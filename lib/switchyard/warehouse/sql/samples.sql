-- Run once per experiment, with the variables model, config, dataset and scores (a path) set.

INSERT INTO samples
SELECT getvariable('model'), getvariable('config'), getvariable('dataset'), sample_id, text_preview, tokens, loss, loss_tokens, bytes,
    words, log_likelihood, target_tokens, characters, predicted, predicted_norm, target, correct, correct_norm,
    NULL
FROM read_parquet(getvariable('scores')) ORDER BY sample_id;
