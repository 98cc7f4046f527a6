"""Rule evaluate_experiment: model + dataset + routing rule -> trace, scores, their repeats, internal log.

Imports nothing heavy: a worker (`switchyard.runtime.workers`) does the work, by preference one that has the model in
memory.
"""

from switchyard.runtime.workers import call_for

if __name__ == "__main__":
    call_for(
        snakemake,
        "switchyard.evaluation.job:evaluate",
        {
            "experiment": snakemake.params.experiment,
            "dataset": snakemake.input.dataset,
            "reads": snakemake.params.reads,
            "files": dict(snakemake.output.items()),
        },
        dtype=snakemake.params.experiment["model_entry"]["dtype"],
    )
