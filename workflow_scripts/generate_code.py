"""Rule generate_code: model + problems + routing rule -> completions, and the trace of their routing.

Imports nothing heavy: a worker (`switchyard.runtime.workers`) does the work, by preference one that has the model in
memory.
"""

from switchyard.runtime.workers import call_for

if __name__ == "__main__":
    call_for(
        snakemake,
        "switchyard.evaluation.code_job:write_programs",
        {
            "experiment": snakemake.params.experiment,
            "dataset": snakemake.input.dataset,
            "reads": snakemake.params.reads,
            "samples": snakemake.output.samples,
            "trace": snakemake.output.trace,
            "batch_tokens": snakemake.params.batch_tokens,
        },
        dtype=snakemake.params.experiment["model_entry"]["dtype"],
    )
