"""Rule ablate_rules: model + text + routing table and nulls -> what each component of its rules is worth.

Imports nothing heavy: a worker (`switchyard.runtime.workers`) does the work, by preference one that has the model in
memory.
"""

from switchyard.runtime.workers import call

if __name__ == "__main__":
    call(
        "switchyard.search.ablation_job:ablate_rules",
        {
            **snakemake.params.job,
            "model": snakemake.input.model,
            "wholes": snakemake.params.wholes,
            "text": snakemake.params.text,
            "output": snakemake.output[0],
            "threads": snakemake.threads,
            "gpu_mem_gb": snakemake.resources.gpu_mem_gb,
            "code": snakemake.params.code,
        },
        log=snakemake.log[0],
        home=f"{snakemake.input.model} {snakemake.params.job['model_entry']['dtype']}",
        loads=snakemake.input.model,
    )
