"""Rule evaluate_experiment: model + dataset + routing rule -> trace, scores, their repeats, internal log.

Imports nothing heavy: the work is done in a fork of the warm process (`switchyard.runtime.warm`) if there is one, by
preference in one that has the model in memory.
"""

from switchyard.runtime.warm import call

if __name__ == "__main__":
    call(
        "switchyard.evaluation.job:evaluate",
        {
            "experiment": snakemake.params.experiment,
            "model": snakemake.input.model,
            "dataset": snakemake.input.dataset,
            "reads": snakemake.params.reads,
            "files": dict(snakemake.output.items()),
            "gpu_mem_gb": snakemake.resources.gpu_mem_gb,
            "code": snakemake.params.code,
        },
        log=snakemake.log[0],
        prepare="switchyard.evaluation.job:prepare",
        home=f"{snakemake.input.model} {snakemake.params.experiment['model_entry']['dtype']}",
    )
