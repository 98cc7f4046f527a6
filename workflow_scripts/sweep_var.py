"""Rule sweep_var: model + routing table + text -> coverage, loss and cost over VAR's thresholds, and of controls.

Imports nothing heavy: a worker (`switchyard.runtime.workers`) does the work, by preference one that has the model in
memory.
"""

from switchyard.runtime.workers import call_for

if __name__ == "__main__":
    call_for(
        snakemake,
        "switchyard.var.sweep_job:sweep_var",
        {
            "name": snakemake.wildcards.model,
            "table": snakemake.input.table,
            "counts": snakemake.input.counts,
            "text": snakemake.input.text,
            "output": snakemake.output[0],
            "settings": snakemake.params.settings,
            "dataset": snakemake.params.dataset,
            "tokens_per_second": snakemake.params.tokens_per_second,
            "dtype": snakemake.params.dtype,
            "threads": snakemake.threads,
        },
        dtype=snakemake.params.dtype,
    )
