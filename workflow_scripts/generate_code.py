"""Rule generate_code: model + problems + routing rule -> completions, and the trace of their routing.

Imports nothing heavy: a worker (`switchyard.runtime.workers`) does the work, by preference one that has the model in
memory.
"""

from switchyard.runtime.workers import call

if __name__ == "__main__":
    call(
        "switchyard.evaluation.code_job:write_programs",
        {
            "experiment": snakemake.params.experiment,
            "model": snakemake.input.model,
            "dataset": snakemake.input.dataset,
            "reads": snakemake.params.reads,
            "samples": snakemake.output.samples,
            "trace": snakemake.output.trace,
            "batch_tokens": snakemake.params.batch_tokens,
            "gpu_mem_gb": snakemake.resources.gpu_mem_gb,
            "code": snakemake.params.code,
        },
        log=snakemake.log[0],
        home=f"{snakemake.input.model} {snakemake.params.experiment['model_entry']['dtype']}",
        loads=snakemake.input.model,
    )
