"""Rule validate_search: model + best configurations + final text -> what they are worth there.

Imports nothing heavy: a worker (`switchyard.runtime.workers`) does the work, by preference one that has the model in
memory.
"""

from switchyard.runtime.workers import call_for

if __name__ == "__main__":
    methods, texts = snakemake.params.methods, snakemake.params.texts
    call_for(
        snakemake,
        "switchyard.search.job:validate_search",
        {
            **snakemake.params.job,
            "tuning": texts["dataset"],
            "final": texts["final"],
            "manual": snakemake.params.manual,
            "best": dict(zip(methods, snakemake.input.best, strict=True)),
            "outputs": dict(zip(methods, snakemake.output.validations, strict=True)),
            "manual_output": snakemake.output.manual,
            "threads": snakemake.threads,
        },
        dtype=snakemake.params.job["model_entry"]["dtype"],
    )
