"""Downloads from a server of this machine, and without a network."""

from __future__ import annotations

import contextlib
import hashlib
import io
import multiprocessing
import os
import shutil
import socket
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from care.config import DataConfig
from care.data.dataset import load_dataset
from care.data.download import Remote, fetch
from care.data.prepare import prepare
from care.errors import CareError
from care.system.files import DiskError
from care.system.torchvision import datasets
from tests.helpers.archives import pack_stl10, write_stl10
from tests.helpers.damage import damaged
from tests.helpers.listener import Listener
from tests.helpers.network import no_network, this_machine_only
from tests.helpers.processes import wait_for

STL10 = DataConfig(name="stl10")
MEMBERS = {"folder/a": b"a" * 700, "folder/b": bytes(range(256)) * 3}


def made_tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in MEMBERS.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


MADE_TAR = made_tar()


def calculated(file: Path) -> str:
    return hashlib.md5(file.read_bytes()).hexdigest()


NoSpace = Callable[[int], contextlib.AbstractContextManager[None]]


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


class CuttingHandler(Handler):
    """Promises a whole file and hangs up after half of it."""

    def copyfile(self, source: Any, outputfile: Any) -> None:
        content = source.read()
        outputfile.write(content[: len(content) // 2])


class ErrorPageHandler(Handler):
    """Answers with a page, as the sign-in of a hotel's network does."""

    def do_GET(self) -> None:
        page = b"<html>please sign in</html>\r\n"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)


class BrokenHandler(Handler):
    def do_GET(self) -> None:
        self.send_error(500)


class CountingHandler(Handler):
    sent = 0

    def copyfile(self, source: Any, outputfile: Any) -> None:
        CountingHandler.sent += 1
        super().copyfile(source, outputfile)


class StallingHandler(Handler):
    """Sends a part and waits."""

    resume = threading.Event()

    def copyfile(self, source: Any, outputfile: Any) -> None:
        outputfile.write(source.read(300_000))
        outputfile.flush()
        StallingHandler.resume.wait(60)


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


def left_in(folder: Path) -> list[str]:
    """Files below a folder, without what care keeps for itself."""
    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    return sorted(str(path) for path in files if not path.parts[0].startswith(".care-"))


@pytest.mark.parametrize(
    ("handler", "reason"),
    [
        (CuttingHandler, r"the transfer ended after [\d,]+ of [\d,]+ bytes"),
        (ErrorPageHandler, r"sent another file: 29 bytes of text/html, md5 "),
        (BrokenHandler, "HTTP Error 500"),
    ],
)
def test_a_failed_transfer_leaves_nothing(
    remote: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    handler: type[Handler],
    reason: str,
) -> None:
    root = tmp_path / "data"
    with serving(remote, handler) as address:
        point_to(address, monkeypatch)
        with pytest.raises(CareError, match=reason):
            prepare(STL10, root, Listener())
    assert not root.exists()


def test_a_damaged_archive_is_replaced_by_a_whole_one_only(
    remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, listener = tmp_path / "data", Listener()
    root.mkdir()
    (root / "stl10_binary.tar.gz").write_bytes(b"<html>an error page</html>")
    with serving(remote, CuttingHandler) as address:
        point_to(address, monkeypatch)
        with pytest.raises(CareError, match="ended after"):
            prepare(STL10, root, Listener())
    assert left_in(root) == ["stl10_binary.tar.gz"]
    with serving(remote) as address:
        point_to(address, monkeypatch)
        prepare(STL10, root, listener)
    assert any(", as the present file is damaged" in line for line in listener.lines)
    assert len(load_dataset(STL10, root).train) == 16


def test_what_a_killed_process_left_is_removed_after_an_hour(
    remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "data"
    root.mkdir()
    old, new = (root / f".stl10_binary.tar.gz.{pid}.partial" for pid in (1, 2))
    for file in (old, new):
        file.write_bytes(b"half")
    os.utime(old, (0, 0))
    with serving(remote) as address:
        point_to(address, monkeypatch)
        prepare(STL10, root, Listener())
    assert not old.exists()
    assert new.exists()  # another machine may be writing to it


def fetching(root: Path) -> multiprocessing.process.BaseProcess:
    """A process that prepares STL-10; it knows what this one does."""
    run = multiprocessing.get_context("fork").Process(
        target=prepare, args=(STL10, root, Listener())
    )
    run.start()
    return run


def test_of_two_processes_one_downloads(
    remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    CountingHandler.sent = 0
    with serving(remote, CountingHandler) as address:
        point_to(address, monkeypatch)
        runs = [fetching(tmp_path / "data") for _ in range(2)]
        for run in runs:
            run.join(60)
    assert [run.exitcode for run in runs] == [0, 0]
    assert len(load_dataset(STL10, tmp_path / "data").train) == 16
    assert CountingHandler.sent == 1


def test_a_killed_download_is_done_again(
    remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "data"
    with serving(remote, StallingHandler) as address:
        point_to(address, monkeypatch)
        run = fetching(root)
        wait_for(lambda: any(root.glob(".stl10_binary.tar.gz.*.partial")))
        run.kill()
        run.join()
        StallingHandler.resume.set()
    assert not (root / "stl10_binary.tar.gz").exists()
    with serving(remote) as address:
        point_to(address, monkeypatch)
        prepare(STL10, root, Listener())
    assert len(load_dataset(STL10, root).train) == 16


def zip_of_tar(path: Path) -> None:
    """An archive as Caltech's, and as macOS makes them: a tar in a zip, with hidden doubles."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("outer/members.tar.gz", MADE_TAR)
        archive.writestr("__MACOSX/outer/._members.tar.gz", b"no archive")
        archive.writestr("lists.txt", b"listed")
        archive.writestr("../outside", b"outside")


def test_an_archive_without_checksum_is_read_before_it_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    this_machine_only(monkeypatch)
    origin, root = tmp_path / "origin", tmp_path / "data"
    origin.mkdir()
    zip_of_tar(origin / "set.zip")
    is_unpacked = (root / "set" / "folder" / "b").exists

    def fetched(address: str) -> None:
        remote = Remote(f"{address}/set.zip", None, "set.zip", unpack="set")
        fetch([remote], is_unpacked, root, Listener())

    with serving(origin, ErrorPageHandler) as address:
        with pytest.raises(CareError, match="sent no archive, or a damaged one") as raised:
            fetched(address)
        assert "md5 not published" in str(raised.value)
    assert not root.exists()
    with serving(origin) as address:
        fetched(address)
    assert left_in(root) == ["set.zip", "set/folder/a", "set/folder/b", "set/lists.txt"]
    assert (root / "set" / "folder" / "b").read_bytes() == MEMBERS["folder/b"]
    fetched("http://127.0.0.1:9")  # nothing is fetched twice


def test_members_outside_the_folder_are_not_unpacked(tmp_path: Path) -> None:
    archive = tmp_path / "data" / "files.tar"
    archive.parent.mkdir()
    with tarfile.open(archive, "w") as tar:
        for name in ("../outside", "/outside", "inside/file"):
            member = tarfile.TarInfo(name)
            member.size = 2
            tar.addfile(member, io.BytesIO(b"hi"))
        link = tarfile.TarInfo("inside/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    remote = Remote("http://127.0.0.1:9/", calculated(archive), "files.tar", unpack="")
    inside = archive.parent / "inside" / "file"
    fetch([remote], inside.exists, archive.parent, Listener())
    assert left_in(tmp_path) == [
        "data/.care-cache/download.lock",
        "data/files.tar",
        "data/inside/file",
    ]


@given(damage=damaged(MADE_TAR))
@settings(max_examples=200, deadline=None)
def test_a_damaged_archive_is_unpacked_or_refused(
    damage: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Even if its checksum were the expected one: whole files or none, and no other error."""
    root = tmp_path_factory.mktemp("data")
    (root / "files.tgz").write_bytes(damage)
    remote = Remote("", calculated(root / "files.tgz"), "files.tgz", unpack="")
    with contextlib.suppress(CareError):
        fetch([remote], (root / "folder" / "b").exists, root, Listener())
    assert not list(root.rglob("*.partial"))


def test_files_that_were_half_unpacked_are_unpacked_again(
    remote: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(STL10, remote, Listener())
    file = remote / "stl10_binary" / "unlabeled_X.bin"
    file.write_bytes(file.read_bytes()[: 3 * 96 * 96])
    prepare(STL10, remote, Listener())
    assert len(load_dataset(STL10, remote).train) == 16


def test_a_full_disk_is_reported(
    remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_space: NoSpace
) -> None:
    with serving(remote) as address:
        point_to(address, monkeypatch)
        with no_space(1000), pytest.raises(DiskError):
            prepare(STL10, tmp_path / "data", Listener())
        prepare(STL10, tmp_path / "data", Listener())
    assert len(load_dataset(STL10, tmp_path / "data").train) == 16


def test_a_disk_that_is_full_while_files_are_unpacked(remote: Path, no_space: NoSpace) -> None:
    with no_space(1000), pytest.raises(DiskError):
        prepare(STL10, remote, Listener())
    assert not list(remote.rglob("*.partial"))
    prepare(STL10, remote, Listener())
    assert len(load_dataset(STL10, remote).train) == 16


def test_a_network_that_answers_nothing_is_not_waited_for(
    remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("care.data.download._TIMEOUT_SECONDS", 0.2)
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
def test_without_a_network_the_message_names_each_file_and_its_folder(
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
