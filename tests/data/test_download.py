"""Downloads from a server of this machine, and without a network."""

from __future__ import annotations

import contextlib
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from care.config import DataConfig
from care.data import load_dataset, prepare
from care.errors import CareError
from care.files import DiskError
from care.vision import datasets
from tests.data.archives import pack_stl10, write_stl10
from tests.data.listener import Listener
from tests.data.network import no_network, this_machine_only

STL10 = DataConfig(name="stl10")
NoSpace = Callable[[int], contextlib.AbstractContextManager[None]]


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


class CuttingHandler(Handler):
    """Promises a whole file and hangs up after half of it."""

    def copyfile(self, source: Any, outputfile: Any) -> None:
        content = source.read()
        outputfile.write(content[: len(content) // 2])


class Server(ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:
        """A client that hangs up is what is tested here."""


@contextlib.contextmanager
def serving(folder: Path, handler: type[Handler] = Handler) -> Iterator[str]:
    server = Server(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the archive of a small STL-10 that lies nowhere else."""
    this_machine_only(monkeypatch)
    folder = write_stl10(tmp_path / "origin", monkeypatch)
    (tmp_path / "remote").mkdir()
    pack_stl10(folder, tmp_path / "remote" / "stl10_binary.tar.gz", monkeypatch)
    shutil.rmtree(tmp_path / "origin")
    return tmp_path / "remote"


def point_to(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.STL10, "url", f"{address}/stl10_binary.tar.gz")


def test_what_is_missing_is_downloaded_once(
    remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, listener = tmp_path / "new" / "data", Listener()
    with serving(remote) as address:
        point_to(address, monkeypatch)
        prepare(STL10, root, listener)
    assert f"downloading {address}/stl10_binary.tar.gz to {root}" in listener.lines[0]
    assert len(load_dataset(STL10, root).train) == 16
    prepare(STL10, root, Listener())  # the server is gone


def test_an_archive_put_there_by_hand_needs_no_network(
    remote: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_network(monkeypatch)
    prepare(STL10, remote, Listener())
    assert len(load_dataset(STL10, remote).test) == 4


def test_a_transfer_that_is_cut_is_no_data_set_and_is_tried_again(
    remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "data"
    with serving(remote, CuttingHandler) as address:
        point_to(address, monkeypatch)
        with pytest.raises(CareError, match="cannot be downloaded"):
            prepare(STL10, root, Listener())
    with serving(remote) as address:
        point_to(address, monkeypatch)
        prepare(STL10, root, Listener())
    assert len(load_dataset(STL10, root).train) == 16


def test_another_content_is_refused(
    remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (remote / "stl10_binary.tar.gz").write_bytes(b"an error page")
    with serving(remote) as address:
        point_to(address, monkeypatch)
        with pytest.raises(CareError, match=f"md5 {datasets.STL10.tgz_md5}"):
            prepare(STL10, tmp_path / "data", Listener())


def test_files_that_were_half_unpacked_are_unpacked_again(
    remote: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(STL10, remote, Listener())
    file = remote / "stl10_binary" / "unlabeled_X.bin"
    file.write_bytes(file.read_bytes()[: 3 * 96 * 96])
    prepare(STL10, remote, Listener())
    assert len(load_dataset(STL10, remote).train) == 16


def test_a_full_disk_is_told(
    remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_space: NoSpace
) -> None:
    with serving(remote) as address:
        point_to(address, monkeypatch)
        with no_space(1000), pytest.raises(DiskError):
            prepare(STL10, tmp_path / "data", Listener())
        prepare(STL10, tmp_path / "data", Listener())
    assert len(load_dataset(STL10, tmp_path / "data").train) == 16


def test_a_network_that_answers_nothing_is_not_waited_for(
    remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("care.data.download._PATIENCE_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        point_to(f"http://127.0.0.1:{mute.getsockname()[1]}", monkeypatch)
        with pytest.raises(CareError, match="timed out"):
            prepare(STL10, tmp_path / "data", Listener())
    assert socket.getdefaulttimeout() is None


@pytest.mark.parametrize(
    ("name", "file", "md5"),
    [
        ("cifar10", "cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a"),
        ("cifar100", "cifar-100-python.tar.gz", "eb9058c3a382ffc7106e4002c42a8d85"),
        ("stl10", "stl10_binary.tar.gz", "91f7769df0f17e558f3565bffb0c7dfb"),
        ("flowers102", "flowers-102/102flowers.tgz", "52808999861908f626f3c1f4e79d11fa"),
    ],
)
def test_without_a_network_one_is_told_what_to_put_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, file: str, md5: str
) -> None:
    no_network(monkeypatch)
    with pytest.raises(CareError) as caught:
        prepare(DataConfig(name=name), tmp_path, Listener())
    message = str(caught.value)
    assert f"to {tmp_path / file} (md5 {md5})" in message
    assert "://" in message
    with pytest.raises(CareError, match=f"care data get {name}"):
        load_dataset(DataConfig(name=name), tmp_path)
