"""Saved views of MLflow's page of runs, as tags of the experiment.

MLflow documents neither the tags nor their content. This module follows version 3.17.2, and
``tests/sweeps/tracking/test_pages.py`` opens the views in a browser.
"""

from __future__ import annotations

import base64
import json
import uuid
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

PREFIX = "mlflow.sharedViewState."
LONGEST = 20_000
"""The longest value of an experiment's tag."""

Chart = dict[str, Any]
_Key = tuple[Literal["PARAM", "METRIC"], str]


@dataclass
class Section:
    """A section of charts; the page sorts sections by name.

    Attributes:
        name: Its heading.
        columns: Charts side by side.
        charts: The charts, in order.
    """

    name: str
    columns: int = 3
    charts: list[Chart] = field(default_factory=list)

    @property
    def uuid(self) -> str:
        """Its identity, which depends on the name only."""
        return _uuid("section", self.name)

    def _add(self, kind: str, *keys: str, **fields: Any) -> None:
        chart = {
            "uuid": _uuid(self.name, kind, *keys),
            "type": kind,
            "metricSectionId": self.uuid,
            "deleted": False,
            "isGenerated": False,
            "runsCountToCompare": 100,
        }
        self.charts.append({**chart, **fields})

    def lines(self, metrics: Sequence[str], *, over: str = "") -> None:
        """Add lines of metrics over the steps, or over another metric."""
        x = "metric" if over else "step"
        self._add(
            "LINE",
            *metrics,
            metricKey=metrics[0],
            selectedMetricKeys=list(metrics),
            xAxisKey=x,
            selectedXAxisMetricKey=over,
            scaleType="linear",
            xAxisScaleType="linear",
            lineSmoothness=0,
            yAxisKey="metric",
            yAxisExpressions=[],
            range={},
            ignoreOutliers=False,
            displayPoints=True,
            useGlobalXaxisKey=False,
            useGlobalLineSmoothing=False,
        )

    def scatter(self, x: _Key, y: _Key) -> None:
        """Add a dot for each run, or for each group's means."""
        axes = [{"type": kind, "key": key} for kind, key in (x, y)]
        self._add("SCATTER", x[1], y[1], xaxis=axes[0], yaxis=axes[1])

    def bars(self, metric: str) -> None:
        """Add a bar for each run, or for each group's mean."""
        self._add("BAR", metric, metricKey=metric)

    def parallel(self, params: Sequence[str], metrics: Sequence[str]) -> None:
        """Add parallel coordinates of all runs."""
        self._add(
            "PARALLEL",
            *params,
            *metrics,
            selectedParams=list(params),
            selectedMetrics=list(metrics),
            showAllRuns=True,
        )


@dataclass(frozen=True)
class View:
    """A saved view.

    Attributes:
        name: Its name in the page's menu.
        query: The filter of runs.
        sections: The sections of charts.
        order: The column to sort by; the start of the runs when empty.
        group: ("param" or "tag", its name) by which runs are grouped; empty for none.
        columns: Columns of the table, e.g. ``metrics.`head/gamma```.
    """

    name: str
    query: str
    sections: Sequence[Section]
    order: str = ""
    group: Sequence[tuple[Literal["param", "tag"], str]] = ()
    columns: Sequence[str] = ()

    def envelope(self) -> str:
        """Serialize the view as the value of a tag; equal views give equal texts.

        Raises:
            ValueError: It is too long for a tag.
        """
        state = json.dumps(self._state(), separators=(",", ":"), ensure_ascii=False).encode()
        packed = "deflate;" + base64.b64encode(zlib.compress(state, 9)).decode()
        value = json.dumps(
            {"name": self.name, "createdAt": 0, "state": packed},
            separators=(",", ":"),
            ensure_ascii=False,
        )
        if len(value) > LONGEST:
            raise ValueError(f"view {self.name}: {len(value)} of {LONGEST} characters")
        return value

    def _state(self) -> dict[str, Any]:
        sections = [
            {
                "uuid": section.uuid,
                "name": section.name,
                "display": True,
                "isReordered": True,
                "deleted": False,
                "isGenerated": False,
                "columns": section.columns,
                "cardHeight": 360,
            }
            for section in self.sections
        ]
        keys = [{"mode": mode, "groupByData": name} for mode, name in self.group]
        return {
            "searchFilter": self.query,
            "orderByKey": self.order or "attributes.start_time",
            "orderByAsc": bool(self.order),
            "startTime": "ALL",
            "lifecycleFilter": "Active",
            "modelVersionFilter": "All Runs",
            "datasetsFilter": [],
            "selectedColumns": list(self.columns),
            "columnOrder": [],
            "columnWidths": {},
            "runsExpanded": {},
            "runsPinned": [],
            "runsHidden": [],
            "runsVisibilityMap": {},
            "runsHiddenMode": "SHOW_ALL",
            "compareRunCharts": [chart for section in self.sections for chart in section.charts],
            "compareRunSections": sections,
            "viewMaximized": False,
            "runListHidden": False,
            "isAccordionReordered": True,
            "useGroupedValuesInCharts": True,
            "hideEmptyCharts": True,
            "groupBy": {"aggregateFunction": "average", "groupByKeys": keys} if keys else None,
            "groupsExpanded": {},
            "autoRefreshEnabled": True,
            "globalLineChartConfig": {
                "xAxisKey": "step",
                "lineSmoothness": 0,
                "selectedXAxisMetricKey": "",
            },
        }


def _uuid(*words: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "/".join(words)))
