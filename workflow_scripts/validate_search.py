"""Rule validate_search: model + best configurations + final text -> what they are worth there.

Imports nothing heavy: a worker (`switchyard.runtime.workers`) does the work, by preference one that has the model in
memory.
"""

from switchyard.runtime.workers import call

if __name__ == "__main__":
    methods, texts = snakemake.params.methods, snakemake.params.texts
    call(
        "switchyard.search.job:validate_search",
        {
            **snakemake.params.job,
            "model": snakemake.input.model,
            "tuning": texts["dataset"],
            "final": texts["final"],
            "manual": snakemake.params.manual,
            "best": dict(zip(methods, snakemake.input.best, strict=True)),
            "outputs": dict(zip(methods, snakemake.output.validations, strict=True)),
            "manual_output": snakemake.output.manual,
            "threads": snakemake.threads,
            "gpu_mem_gb": snakemake.resources.gpu_mem_gb,
            "code": snakemake.params.code,
        },
        log=snakemake.log[0],
        home=f"{snakemake.input.model} {snakemake.params.job['model_entry']['dtype']}",
        loads=snakemake.input.model,
    )
