"""Rule collect_router_logits: model + text -> router logits of every layer.

Imports nothing heavy: a worker (`switchyard.runtime.workers`) does the work, by preference one that has the model in
memory.
"""

from switchyard.runtime.workers import call_for

if __name__ == "__main__":
    call_for(
        snakemake,
        "switchyard.evaluation.router_logits_job:router_logits",
        {
            "name": snakemake.wildcards.text,
            "text": snakemake.input.text,
            "output": snakemake.output[0],
            "dtype": snakemake.params.dtype,
            "tokens": snakemake.params.tokens,
            "max_length": snakemake.params.max_length,
            "batch_tokens": snakemake.params.batch_tokens,
            "threads": snakemake.params.threads,
        },
        dtype=snakemake.params.dtype,
    )
