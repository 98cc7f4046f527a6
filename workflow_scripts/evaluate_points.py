"""Rule evaluate_points: model + text + points before it -> a batch of points with what each is worth.

Imports nothing heavy: a worker (`switchyard.runtime.workers`) does the work, by preference one that has the model in
memory.
"""

from switchyard.runtime.workers import call

if __name__ == "__main__":
    call(
        "switchyard.search.job:evaluate_points",
        {
            **snakemake.params.job,
            "model": snakemake.input.model,
            "batch": snakemake.params.batch,
            "text": snakemake.params.text,
            "earlier": list(snakemake.input.get("earlier", [])),
            "others": list(snakemake.input.get("others", [])),
            "output": snakemake.output[0],
            "threads": snakemake.threads,
            "gpu_mem_gb": snakemake.resources.gpu_mem_gb,
            "code": snakemake.params.code,
        },
        log=snakemake.log[0],
        home=f"{snakemake.input.model} {snakemake.params.job['model_entry']['dtype']}",
        loads=snakemake.input.model,
    )
