"""What every stage shares: the checked study, names of files, resources, and the entries of the HTML report."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(workflow.basedir) / "lib"))

from switchyard.errors import ERROR_LINE, InputError
from switchyard.launcher import interpreter
from switchyard.planning.resources import JobResources, minutes
from switchyard.runtime import workers
from switchyard.study.config import complete
from switchyard.study.study import Study
from switchyard.text.corpus import versions

ROOT = Path(workflow.basedir)
try:
    interpreter.check(sys.executable)
    config = complete(config, workflow.configfiles, ROOT)
    STUDY = Study(config, ROOT)
except InputError as error:
    raise SystemExit(f"{ERROR_LINE}{error}")  # a WorkflowError would add its own lines

RESOURCES = JobResources(STUDY)
OUT = STUDY.folder
LOGS = f"{OUT}/job-logs"
os.environ.update(STUDY.environment())


onstart:
    workers.start()  # none runs before a job asks


if workflow.remote_exec and "SWITCHYARD_REMOTE" not in os.environ:
    # A job of a cluster has workers of its own, which all steps of it share; nobody else waits for its memory.
    workers.start(idle_s=300)
    os.environ.update(SWITCHYARD_REMOTE="1")


wildcard_constraints:
    **STUDY.wildcards(),


def figure(name, folder="figures", category="Figures"):
    """The files of a figure of one model; the interactive page and the drawing are in the HTML report."""
    stem = f"{OUT}/publish/{folder}/{{model}}/{name}"
    labels = {"model": "{model}", "figure": name}
    shown = {"caption": f"../reports/captions/{name}.rst", "category": category}
    drawing = report(f"{stem}.svg", **shown, labels={**labels, "format": "SVG"})
    interactive = report(f"{stem}.html", **shown, labels={**labels, "format": "interactive"})
    return [drawing, interactive, f"{stem}.png"]


def page(name, category):
    """A table or text as a page of the HTML report."""
    path = f"{OUT}/publish/tables/{name}.html"
    return report(path, caption=f"../reports/captions/{name}.rst", category=category, labels={"table": name})
