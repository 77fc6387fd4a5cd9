"""The trials' remarks on their measures, and the points that each holds for."""

from __future__ import annotations

from analysis.comparison import Comparison, Point
from analysis.details import Details
from analysis.labels import point_name


def list_remarks(comparison: Comparison, details: Details) -> list[tuple[str, str]]:
    """List (remark, the points and seeds that it holds for), each remark once."""
    everywhere = {point for point in comparison.points() if details.seeds(point)}
    notes = [
        (note, _describe_points(comparison, details, points, everywhere))
        for note, points in details.notes().items()
    ]
    damage = [
        (
            f"details.npz {problem}: figures leave its arrays out. Delete the file, and the next "
            "run evaluates the trial again.",
            f"{point_name(comparison.axes, point)} (seed {seed})",
        )
        for point, seeds in details.damaged().items()
        for seed, problem in seeds.items()
    ]
    return notes + damage


def _describe_points(
    comparison: Comparison,
    details: Details,
    points: dict[Point, list[int]],
    everywhere: set[Point],
) -> str:
    all_seeds = all(seeds == details.seeds(point) for point, seeds in points.items())
    if all_seeds and set(points) == everywhere:
        return "all points"
    names = []
    for point, seeds in points.items():
        name = point_name(comparison.axes, point)
        some = "" if seeds == details.seeds(point) else f" (seed {', '.join(map(str, seeds))})"
        names.append(name + some)
    return "; ".join(names)
