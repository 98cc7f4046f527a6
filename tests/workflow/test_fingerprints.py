"""What a job has imported when it ends is in its fingerprint, or decides what is printed only."""

from __future__ import annotations

from pathlib import Path

from switchyard.artifacts.fingerprints import EXCLUDED, reachable
from switchyard.routing.registry import rule_module
from switchyard.study.config import complete, merge, read
from switchyard.study.study import Study
from workflow.checkout import STUDY
from workflow.recorder import ALONE, recorded

NOT_HERE = {"fetch_model", "generate_code", "score_code", "compare_code", "compare_quantised"}
"""Scripts without a job: both models are trained, and the smoke study has no programs and no quantised model."""


def test_every_module_that_a_job_imports_is_in_its_fingerprint(smoke: Path) -> None:
    config = merge(read(smoke / "config.yaml"), read(smoke / STUDY))
    study = Study(complete(config, [], smoke), smoke)
    jobs = recorded(smoke)
    for job in jobs:
        script = smoke / "workflow_scripts" / f"{job['rule']}.py"
        rules = {rule_module(one.rule) for one in routed(study, job)}
        if job["rule"] == "profile_model":
            rules |= {*study.profiled_modules(job["wildcards"]["model"])}
        covered = {*reachable(script, *rules, root=smoke / "lib"), *EXCLUDED}
        assert set(job["modules"]) <= covered, job
    scripts = {path.stem for path in (smoke / "workflow_scripts").glob("*.py")} - {"run_study"}
    assert {job["rule"] for job in jobs} == scripts - NOT_HERE
    alone = [job for job in jobs if "switchyard.evaluation.job" in job["modules"]]
    assert {job["wildcards"]["config"] for job in alone} == set(ALONE)


def routed(study: Study, job: dict) -> list:
    """The configurations whose routing rules a job makes."""
    model, rule = job["wildcards"].get("model"), job["rule"]
    if rule == "evaluate_experiment":
        return [study.configurations[model, job["wildcards"]["config"]]]
    if rule == "measure_speed":
        return list(study.of(model).values())
    return [study.of(model)[name] for name in study.inspected(model)] if rule == "write_inspector" else []
