"""Rule evaluate_points: model + text + points before it -> a batch of points with what each is worth.

Imports nothing heavy: a worker (`switchyard.runtime.workers`) does the work, by preference one that has the model in
memory.
"""

from switchyard.runtime.workers import call_for

if __name__ == "__main__":
    call_for(
        snakemake,
        "switchyard.search.job:evaluate_points",
        {
            **snakemake.params.job,
            "batch": snakemake.params.batch,
            "text": snakemake.params.text,
            "earlier": list(snakemake.input.get("earlier", [])),
            "others": list(snakemake.input.get("others", [])),
            "output": snakemake.output[0],
            "threads": snakemake.threads,
        },
        dtype=snakemake.params.job["model_entry"]["dtype"],
    )
