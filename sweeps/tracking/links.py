"""Addresses of MLflow's pages, below a server's address."""

from __future__ import annotations

from urllib.parse import quote

# Without the type, MLflow may open its pages for language models.
_TYPE = "workflowType=machine_learning"


def runs_page(experiment: str) -> str:
    """Return the address of the table of an experiment's runs."""
    return f"#/experiments/{experiment}/runs?{_TYPE}"


def view_page(experiment: str, view: str) -> str:
    """Return the address of a saved view, as charts: the view does not contain that mode."""
    key = quote(view, safe="")
    return f"#/experiments/{experiment}/runs?viewStateShareKey={key}&compareRunsMode=CHART&{_TYPE}"


def run_page(experiment: str, run: str) -> str:
    """Return the address of a run."""
    return f"#/experiments/{experiment}/runs/{run}?{_TYPE}"


def file_page(experiment: str, run: str, path: str) -> str:
    """Return the address of the page that shows a file of a run."""
    return f"#/experiments/{experiment}/runs/{run}/artifacts/{path}?{_TYPE}"


def file_address(run: str, path: str) -> str:
    """Return the address of a file itself, e.g. of a picture within a description."""
    return f"get-artifact?path={quote(path, safe='')}&run_uuid={run}"
