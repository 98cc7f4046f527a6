"""Rule assess_model: an untouched model's quality against chance, and the balance of its experts.

Imports nothing heavy: a worker (`switchyard.runtime.workers`) does the work, by preference one that has the model in
memory.
"""

from switchyard.runtime.workers import call_for

if __name__ == "__main__":
    call_for(
        snakemake,
        "switchyard.evaluation.assessment_job:assessment",
        {
            "name": snakemake.wildcards.model,
            "datasets": dict(zip(snakemake.params.datasets, snakemake.input.datasets)),
            "max_length": snakemake.params.datasets,
            "output": snakemake.output[0],
            "dtype": snakemake.params.dtype,
            "samples": snakemake.params.samples,
            "batch_tokens": snakemake.params.batch_tokens,
            "threads": snakemake.params.threads,
        },
        dtype=snakemake.params.dtype,
    )
