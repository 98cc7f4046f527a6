-- Run once per experiment with a repeat, with the variables model, config, dataset, scores and scores_repeat set.

UPDATE samples SET repeated_alike = pairs.alike
FROM (
    SELECT again.sample_id, first.argmax_ids = again.argmax_ids AS alike
    FROM read_parquet(getvariable('scores')) AS first
    JOIN read_parquet(getvariable('scores_repeat')) AS again USING (sample_id)
) AS pairs
WHERE samples.model = getvariable('model') AND samples.config = getvariable('config') AND samples.dataset = getvariable('dataset')
    AND samples.sample_id = pairs.sample_id;
