"""Rule evaluate_experiment: model + dataset + routing rule -> trace, scores, their repeats, internal log.

Imports nothing heavy: a worker (`switchyard.runtime.workers`) does the work, by preference one that has the model in
memory.
"""

from switchyard.runtime.workers import call

if __name__ == "__main__":
    call(
        "switchyard.evaluation.job:evaluate",
        {
            "identity": {
                "study": snakemake.params.study,
                "model": snakemake.params.model,
                "setting": snakemake.params.setting,
                "dataset": snakemake.wildcards.dataset,
            },
            "model": snakemake.input.model,
            "dtype": snakemake.params.dtype,
            "dataset": snakemake.input.dataset,
            "reads": snakemake.params.reads,
            "files": list(snakemake.output),
            "max_length": snakemake.params.max_length,
            "samples": snakemake.params.samples,
            "run": snakemake.params.run,
            "gpu_mem_gb": snakemake.resources.gpu_mem_gb,
            "code": snakemake.params.code,
        },
        log=snakemake.log[0],
        home=f"{snakemake.input.model} {snakemake.params.dtype}",
    )
