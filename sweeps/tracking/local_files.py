"""Files of runs and models in a folder beside a database, written and read without MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

from care.system.permissions import make_file, make_folder
from sweeps.tracking.tracking_uri import Destination

_FILE = "file://"


def local_folder(destination: Destination, artifacts: str) -> Path | None:
    """Return the folder of artifacts; None for those of a server or a remote storage.

    Args:
        destination: The server or file.
        artifacts: URI of the artifacts of a run or model.
    """
    if destination.database is None or not artifacts.startswith(f"{_FILE}/"):
        return None
    return Path(unquote(artifacts.removeprefix(_FILE)))


def write_files(folder: Path, files: Mapping[str, str | bytes], *, in_store: bool = False) -> None:
    """Write files, by path, of which none is ever seen half written.

    Args:
        folder: Their folder.
        files: Content by path.
        in_store: Whether they have the modes of a store; else the umask decides.
    """
    for path, content in files.items():
        file = folder / path
        part = file.with_name(f".{file.name}.part")
        encoded = content.encode() if isinstance(content, str) else content
        if in_store:
            make_folder(file.parent)
            make_file(part, encoded)
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(encoded)
        part.replace(file)
