"""Rule evaluate_var: model + routing table + text -> quality, throughput and paths, with and without VAR.

Imports nothing heavy: a worker (`switchyard.runtime.workers`) does the work, by preference one that has the model in
memory.
"""

from switchyard.runtime.workers import call_for

if __name__ == "__main__":
    call_for(
        snakemake,
        "switchyard.var.evaluation_job:evaluate_var",
        {
            "name": snakemake.wildcards.model,
            "table": snakemake.input.table,
            "datasets": dict(zip(snakemake.params.var["datasets"], snakemake.input.datasets, strict=True)),
            "outputs": list(snakemake.output),
            "configs": snakemake.params.configs,
            "var": snakemake.params.var,
            "dtype": snakemake.params.dtype,
            "batch_tokens": snakemake.params.batch_tokens,
            "threads": snakemake.threads,
        },
        dtype=snakemake.params.dtype,
    )
