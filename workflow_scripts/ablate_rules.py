"""Rule ablate_rules: model + text + routing table and nulls -> what each component of its rules is worth.

Imports nothing heavy: a worker (`switchyard.runtime.workers`) does the work, by preference one that has the model in
memory.
"""

from switchyard.runtime.workers import call_for

if __name__ == "__main__":
    call_for(
        snakemake,
        "switchyard.search.ablation_job:ablate_rules",
        {
            **snakemake.params.job,
            "wholes": snakemake.params.wholes,
            "text": snakemake.params.text,
            "output": snakemake.output[0],
            "threads": snakemake.threads,
        },
        dtype=snakemake.params.job["model_entry"]["dtype"],
    )
