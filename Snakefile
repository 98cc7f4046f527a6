"""Switchyard: how should a mixture-of-experts language model choose its experts, and what does it cost?"""

from snakemake.utils import min_version

min_version("9.19")


configfile: f"{workflow.basedir}/config.yaml"


report: "reports/workflow.rst"


include: "rules/common.smk"
include: "rules/prepare.smk"
include: "rules/observe.smk"
include: "rules/calibrate.smk"
include: "rules/evaluate.smk"
include: "rules/var.smk"
include: "rules/search.smk"
include: "rules/profile.smk"
include: "rules/aggregate.smk"
include: "rules/publish.smk"


rule all:
    default_target: True
    input:
        rules.prepare_all.input,
        rules.observe_all.input,
        rules.calibrate_all.input,
        rules.evaluate_all.input,
        rules.var_all.input,
        rules.search_all.input,
        rules.profile_all.input,
        rules.aggregate_all.input,
        rules.publish_all.input,
