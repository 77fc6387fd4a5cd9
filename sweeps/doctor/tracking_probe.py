"""Check that sweeps can write to an MLflow server: rights and artifacts."""

from __future__ import annotations

from collections.abc import Iterator

from care.system.redaction import redact
from sweeps.doctor.finding import Finding, bad, note, ok
from sweeps.tracking.background import describe_error
from sweeps.tracking.server_probe import ProbeResult, client_login, probe_writing

_RIGHTS = (
    "ask the server's admin for the right to write ('docker/tracking/server user role NAME writer')"
)


def check_writing(uri: str) -> Iterator[Finding]:
    """Write a run with an artifact, read it back and delete both."""
    result = probe_writing(uri)
    if result.deleted:
        fix = "restore it on MLflow's page, or name another one in MLFLOW_EXPERIMENT_NAME"
        yield bad("MLflow experiment", f"{result.experiment!r} is deleted", fix)
    elif result.run_error is not None:
        yield _judge_run(uri, result.run_error, result.experiment)
    else:
        yield _judge_artifacts(result)
    if result.left:
        text = f"not deleted: {', '.join(result.left)}"
        yield note("MLflow probe", text, "delete it on MLflow's page")


def _judge_artifacts(result: ProbeResult) -> Finding:
    subject = "MLflow artifacts"
    if result.local:
        where = redact(result.artifacts.rpartition("/artifacts")[0])
        fix = "start the server with --serve-artifacts, so that all clients write to its storage"
        return bad(
            subject, f"clients write them to their own disk ({where}), not to the server", fix
        )
    if result.artifact_error is not None:
        fix = "on the server: is the artifacts' folder writable and its disk not full? See its log"
        text = f"cannot be written and read ({describe_error(result.artifact_error)})"
        return bad(subject, text, _RIGHTS if _is_refused(result.artifact_error) else fix)
    if result.changed:
        return bad(
            subject, "a file came back changed", "look for a cache or filter before the server"
        )
    return ok(subject, "a run and a file were written, read back and deleted")


def _judge_run(uri: str, error: Exception, experiment: str) -> Finding:
    if _is_refused(error):
        user = client_login(uri).name
        text = f"user {user!r} may not write experiment {experiment!r}"
        return bad("MLflow rights", text, _RIGHTS)
    if "out-of-date database schema" in str(error):
        fix = "back up, then 'mlflow db upgrade' ('docker/tracking/server upgrade') on the server"
        return bad("MLflow", "its database has the schema of another MLflow", fix)
    return bad(
        "MLflow", f"a run cannot be written: {describe_error(error)}", "see the server's log"
    )


def _is_refused(error: Exception) -> bool:
    text = str(error)
    return "403" in text or "PERMISSION_DENIED" in text
