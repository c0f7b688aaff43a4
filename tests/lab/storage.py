# SPDX-License-Identifier: Apache-2.0
"""How the storage of a lab disk is made where ``qemu-img create`` alone does not do it."""

import os
import pathlib
import subprocess
import uuid

import libvirt

from tests.lab.domain import MIB, POOL, Prepare
from tests.lab.hypervisor import Hypervisor, HypervisorError


def create(kind: str, size: int, *options: str) -> Prepare:
    """``qemu-img create``."""

    def prepare(hypervisor: Hypervisor, path: pathlib.Path) -> None:
        hypervisor.run("qemu-img", "create", "-q", "-f", kind, *options, str(path), str(size))

    return prepare


def raw_holding(size: int, held: int) -> Prepare:
    """A sparse raw file that holds its first *held* bytes."""

    def prepare(_: Hypervisor, path: pathlib.Path) -> None:
        with path.open("wb") as image:
            image.write(os.urandom(held))
            image.truncate(size)
            os.fsync(image.fileno())

    return prepare


def fallocated(kind: str, size: int, *, keep_size: bool) -> Prepare:
    """An image whose file is reserved afterwards, as Nova's ``preallocate_images = space`` does.

    With *keep_size* the file's length stays (``fallocate -n``), else it grows to *size*.
    """

    def prepare(hypervisor: Hypervisor, path: pathlib.Path) -> None:
        create(kind, size)(hypervisor, path)
        keep = ["--keep-size"] if keep_size else []
        subprocess.run(["fallocate", *keep, "--length", str(size), path], check=True)

    return prepare


def overlay(base: str, size: int, held: int) -> Prepare:
    """A qcow2 overlay; its base is made once and holds *held* bytes."""

    def prepare(hypervisor: Hypervisor, path: pathlib.Path) -> None:
        under = path.with_name(base)
        if not under.exists():
            raw_holding(size, held)(hypervisor, under)
        arguments = ("-q", "-f", "qcow2", "-F", "raw", "-b", str(under), str(path))
        hypervisor.run("qemu-img", "create", *arguments)

    return prepare


def external_data(size: int) -> Prepare:
    """A qcow2 file with its data in another file."""

    def prepare(hypervisor: Hypervisor, path: pathlib.Path) -> None:
        data = path.with_suffix(".data")
        arguments = ("-q", "-f", "qcow2", "-o", f"data_file={data},data_file_raw=on", str(path))
        hypervisor.run("qemu-img", "create", *arguments, str(size))

    return prepare


def with_snapshot(size: int, held: int) -> Prepare:
    """A qcow2 file with an internal snapshot that alone keeps *held* bytes."""

    def prepare(hypervisor: Hypervisor, path: pathlib.Path) -> None:
        create("qcow2", size)(hypervisor, path)
        for command in (f"write -P 7 0 {held}", f"write -P 8 0 {held}"):
            hypervisor.run("qemu-io", "-f", "qcow2", "-c", command, str(path))
            if "-P 7" in command:
                hypervisor.run("qemu-img", "snapshot", "-c", "before", str(path))

    return prepare


def loop(kind: str, size: int) -> Prepare:
    """A block device: *path* becomes a link to it, as LVM makes them.

    For a format other than raw the device gets room for the image's own metadata.
    """

    def prepare(hypervisor: Hypervisor, path: pathlib.Path) -> None:
        under = path.with_suffix(".disk")
        with under.open("wb") as image:
            image.truncate(size if kind == "raw" else size + 4 * MIB)
        attach = ["losetup", "--find", "--show", str(under)]
        done = subprocess.run(attach, capture_output=True, text=True, check=True)
        path.symlink_to(done.stdout.strip())
        if kind != "raw":
            create(kind, size)(hypervisor, path)

    return prepare


def nbd(kind: str, size: int) -> Prepare:
    """An NBD server on the unix socket *path*; it exports the bytes of an image of this format."""

    def prepare(hypervisor: Hypervisor, path: pathlib.Path) -> None:
        under = path.with_suffix(".export")
        create(kind, size)(hypervisor, under)
        if kind != "raw":
            with under.open("r+b") as image:
                image.truncate(size + 4 * MIB)
        options = ("--persistent", "--discard=unmap", "--format=raw", f"--socket={path}")
        hypervisor.run("qemu-nbd", "--fork", *options, str(under))

    return prepare


_LUKS_ATTEMPTS = 50

#: of the secret that opens a LUKS image
LUKS_SECRET = str(uuid.uuid5(uuid.NAMESPACE_DNS, "luks.lab.invalid"))


def luks(size: int) -> Prepare:
    """An image that QEMU encrypts, and the secret in libvirt that opens it."""

    def prepare(hypervisor: Hypervisor, path: pathlib.Path) -> None:
        secret = ("--object", "secret,id=key,data=open-sesame")
        options = ("-o", "key-secret=key,iter-time=10")
        create = ("qemu-img", "create", "-q", "-f", "luks", *secret, *options, str(path), str(size))
        # QEMU times its key derivation by CPU time, which some kernels count in whole ticks: a
        # quick round then took none, and it gives up (crypto/pbkdf.c).
        for attempt in range(_LUKS_ATTEMPTS):
            try:
                hypervisor.run(*create)
                break
            except HypervisorError as error:
                if "accurate CPU usage" not in str(error) or attempt == _LUKS_ATTEMPTS - 1:
                    raise
        connection = libvirt.open(hypervisor.uri)
        xml = f"<secret ephemeral='yes' private='yes'><uuid>{LUKS_SECRET}</uuid></secret>"
        connection.secretDefineXML(xml).setValue(b"open-sesame")
        connection.close()

    return prepare


def volume(kind: str, size: int) -> Prepare:
    """An image that the domain knows by the name of its volume in a storage pool."""

    def prepare(hypervisor: Hypervisor, path: pathlib.Path) -> None:
        create(kind, size)(hypervisor, path)
        connection = libvirt.open(hypervisor.uri)
        if POOL not in connection.listStoragePools():
            connection.storagePoolCreateXML(
                f"<pool type='dir'><name>{POOL}</name>"
                f"<target><path>{path.parent}</path></target></pool>"
            )
        connection.storagePoolLookupByName(POOL).refresh()
        connection.close()

    return prepare


def directory(_: Hypervisor, path: pathlib.Path) -> None:
    """A directory that QEMU shows as a FAT disk."""
    path.mkdir()
    (path / "file").write_bytes(b"x" * MIB)


def vhost_user(size: int) -> Prepare:
    """A disk that another process serves; *path* is its socket."""

    def prepare(hypervisor: Hypervisor, path: pathlib.Path) -> None:
        under = path.with_suffix(".export")
        create("raw", size)(hypervisor, under)
        hypervisor.run(
            "qemu-storage-daemon",
            "--daemonize",
            *("--blockdev", f"driver=file,node-name=file,filename={under}"),
            "--export",
            f"type=vhost-user-blk,id=e,node-name=file,addr.type=unix,addr.path={path},writable=on",
        )

    return prepare


def reflinked(size: int, held: int) -> Prepare:
    """A raw file whose blocks another file shares, on an XFS of its own in *path*'s directory."""

    def prepare(hypervisor: Hypervisor, path: pathlib.Path) -> None:
        filesystem = path.parent.with_suffix(".xfs")
        with filesystem.open("wb") as image:
            image.truncate(512 * MIB)
        subprocess.run(["mkfs.xfs", "-q", "-m", "reflink=1", filesystem], check=True)
        path.parent.mkdir()
        subprocess.run(["mount", "-o", "loop", filesystem, path.parent], check=True)
        origin = path.with_name("origin.raw")
        raw_holding(size, held)(hypervisor, origin)
        subprocess.run(["cp", "--reflink=always", origin, path], check=True)

    return prepare


def length(path: pathlib.Path) -> int:
    """Where the file or the block device ends."""
    with path.open("rb") as image:
        return image.seek(0, os.SEEK_END)
