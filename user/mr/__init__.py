"""MapReduce (MR-1 to MR-13): jobs over files of any size, with maps and reduces of your own, that outlive crashes.

from user.mr import App, Job, output_of, run

job = Job(input="name/s3/~any/books/in", output="name/s3/~any/books/out")
app = App(map=lambda name, lines, emit: [emit(line[:1], 1) for line in lines], reduce=lambda key, ones: sum(ones))
result = run(sc, job, app)
for key, value in output_of(sc, result.job): ...
"""

from user.mr.app import App, add_counts
from user.mr.clnt import AsyncMapReduce, JobInfo, MapReduce, list_jobs, output_of, read_output, run, stop_job
from user.mr.job import Job
from user.mr.results import JobResult, Phase, Progress

__all__ = [
    "App",
    "AsyncMapReduce",
    "Job",
    "JobInfo",
    "JobResult",
    "MapReduce",
    "Phase",
    "Progress",
    "add_counts",
    "list_jobs",
    "output_of",
    "read_output",
    "run",
    "stop_job",
]
