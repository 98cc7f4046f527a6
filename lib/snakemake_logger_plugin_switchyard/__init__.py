"""A logger plugin of snakemake: after a failed run, one line for each cause (`snakemake --logger switchyard`)."""

from __future__ import annotations

import sys
from logging import LogRecord

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from switchyard.errors import ERROR_LINE
from switchyard.launcher.causes import Failure, summary


class LogHandler(LogHandlerBase):
    """Collects failed jobs while snakemake runs, and prints why they failed when it ends."""

    writes_to_stream = False  # snakemake's own messages stay
    writes_to_file = False
    has_filter = True  # --quiet must not hide a failure
    has_formatter = True
    needs_rulegraph = False

    def __post_init__(self) -> None:
        self.begun: dict[int, LogRecord] = {}
        self.errors: dict[int | None, str] = {}  # the last of each thread, before its job's failure
        self.failed: dict[int, Failure] = {}
        self.went_wrong = False

    def emit(self, record: LogRecord) -> None:
        event = getattr(record, "event", None)
        self.went_wrong |= event in (LogEvent.ERROR, LogEvent.JOB_ERROR, LogEvent.GROUP_ERROR)
        if event == LogEvent.JOB_INFO:
            self.begun[record.jobid] = record
        elif event == LogEvent.JOB_FINISHED:
            self.failed.pop(record.job_id, None)
        elif event == LogEvent.ERROR:
            self.errors[record.thread] = record.getMessage()
        elif event == LogEvent.JOB_ERROR and not record.indent:
            self._add(vars(record), exception=self.errors.pop(record.thread, ""))
        elif event == LogEvent.GROUP_ERROR:
            for job in record.job_error_info:
                self._add(job, group=record.groupid, cluster_logs=record.aux_logs)

    def _add(self, job: dict, *, exception: str = "", group: str = "", cluster_logs: list[str] = ()) -> None:
        begun = self.begun[job["jobid"]]  # snakemake announces every job before it runs it
        self.failed[job["jobid"]] = Failure(
            rule=job["rule_name"],
            logs=tuple(begun.log),
            cluster_logs=tuple(log for log in (*job["log"], *cluster_logs) if log not in begun.log),
            begun_s=begun.created,
            message=job["rule_msg"] or "",
            exception=exception,
            group=group,
        )

    def close(self) -> None:
        for line in summary([*self.failed.values()]) if self.went_wrong else []:
            print(f"{ERROR_LINE}{line}", file=sys.stderr)
        self.went_wrong = False  # Python closes handlers again when it exits
        super().close()
