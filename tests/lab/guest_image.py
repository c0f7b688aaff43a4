# SPDX-License-Identifier: Apache-2.0
"""The lab's guest: Debian's kernel and tools with the real qemu-ga, in an initramfs.

It is made from the packages of this machine and cached under their versions. It boots without a
boot loader and without a root disk, so every disk of a domain belongs to the scenario. A guest may
have the agent of another Debian release, which comes with that release's loader and libraries.

The small image has the agent and ext4 alone: for crowds of guests, it boots in less than half the
memory.

cpio archives may follow each other: the base is made once, and each domain gets it with a small
archive of its own behind it.
"""

import dataclasses
import hashlib
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

from tests.lab import chroot

_KERNEL = "linux-image-cloud-amd64"

_AGENT = "/usr/sbin/qemu-ga"

#: programs, and the Debian packages that they come from
PROGRAMS = {
    "/bin/busybox": "busybox-static",
    _AGENT: "qemu-guest-agent",
    "/sbin/mke2fs": "e2fsprogs",
    "/sbin/resize2fs": "e2fsprogs",
    "/sbin/mkfs.xfs": "xfsprogs",
    "/sbin/mkfs.btrfs": "btrfs-progs",
    "/bin/btrfs": "btrfs-progs",
    "/sbin/mkfs.vfat": "dosfstools",
    "/sbin/lvm": "lvm2",
    "/sbin/dmsetup": "dmsetup",
    "/usr/sbin/pdata_tools": "thin-provisioning-tools",
    "/sbin/mdadm": "mdadm",
    "/sbin/cryptsetup": "cryptsetup-bin",
    "/sbin/sfdisk": "fdisk",
}

_LINKS = {
    "/usr/sbin/mkfs.ext4": "/sbin/mke2fs",
    "/usr/sbin/thin_check": "/usr/sbin/pdata_tools",
    "/usr/sbin/thin_dump": "/usr/sbin/pdata_tools",
    "/usr/sbin/thin_repair": "/usr/sbin/pdata_tools",
    "/sbin/modprobe": "/bin/busybox",
}

_MODULES = """
virtio_pci virtio_blk virtio_console virtio_scsi sd_mod sr_mod ext4 xfs btrfs vfat isofs nls_cp437
nls_ascii nls_iso8859-1 nls_utf8 dm_mod dm_crypt dm_thin_pool dm_snapshot raid0 raid1 squashfs
loop overlay aesni_intel xts ecb cbc essiv sha256_generic algif_skcipher algif_hash
"""

_SMALL_PROGRAMS = ("/bin/busybox", _AGENT, "/sbin/mke2fs", "/sbin/resize2fs")
_SMALL_MODULES = "virtio_pci virtio_blk virtio_console ext4"

_CONFIGURATION: dict[str, str | pathlib.Path] = {
    # No udev runs in the guest: LVM makes its nodes by itself, and asks nobody which disks exist.
    "/etc/lvm/lvm.conf": """\
activation { udev_sync = 0 udev_rules = 0 monitoring = 0 }
devices { obtain_device_list_from_udev = 0 external_device_info_source = "none"
          use_devicesfile = 0 }
global { use_lvmpolld = 0 }
""",
    # mkfs.ext4 of e2fsprogs without its defaults makes a file system that nobody has.
    "/etc/mke2fs.conf": pathlib.Path("/etc/mke2fs.conf"),
    "/etc/passwd": "root:x:0:0:root:/:/bin/sh\n",
    "/etc/group": "root:x:0:\n",
}

_GUEST = pathlib.Path(__file__).with_name("guest")


@dataclasses.dataclass(frozen=True)
class GuestImage:
    """A kernel and the initramfs that every lab guest starts from."""

    kernel: pathlib.Path
    initramfs: pathlib.Path

    def with_files(
        self, target: pathlib.Path, files: dict[str, str], *, agent_release: str = ""
    ) -> None:
        """Write to *target* the initramfs with *files* (path in the guest: content) added.

        With *agent_release*, the agent of that Debian release stands in place of the machine's.
        """
        with tempfile.TemporaryDirectory() as directory:
            if agent_release:
                files = files | {_AGENT: _copy_foreign(_AGENT, agent_release, directory)}
            for name, content in files.items():
                path = _place(pathlib.Path(directory), name)
                path.write_text(content)
                path.chmod(0o755)
            shutil.copyfile(self.initramfs, target)
            with target.open("ab") as out:
                out.write(b"\0" * (-out.tell() % 512))
                _archive(pathlib.Path(directory), out.fileno())


def ensure(*, small: bool = False) -> GuestImage:
    """The image for this machine's packages; takes some seconds when it is not in the cache."""
    kind = "small-guest" if small else "guest"
    with chroot.cached(f"{kind}-{_key()}") as path:
        if not path.is_dir():
            partial = path.with_name(f"{path.name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            if small:
                _build(partial, _SMALL_PROGRAMS, _SMALL_MODULES)
            else:
                _build(partial, tuple(PROGRAMS), _MODULES)
            partial.rename(path)
            _forget_old_ones(kind, path)
    return GuestImage(path / "vmlinuz", path / "initramfs")


def unpack_kernel(directory: pathlib.Path) -> None:
    """Lay the kernel of the guests, with all of its modules, into a directory that is not there."""
    partial = directory.with_name(f"{directory.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    _unpack_kernel(partial)
    partial.rename(directory)


def _forget_old_ones(kind: str, path: pathlib.Path, days: int = 7) -> None:
    for other in path.parent.glob(f"{kind}-????????????????"):
        if other != path and other.stat().st_mtime < time.time() - days * 86400:
            shutil.rmtree(other, ignore_errors=True)


def _key() -> str:
    names = sorted({*PROGRAMS.values()})
    versions = _output("dpkg-query", "-W", *names)
    candidate = _output("apt-cache", "policy", _KERNEL).split("Version table")[0]
    scripts = "".join(p.read_text() for p in sorted(_GUEST.iterdir()))
    recipe = pathlib.Path(__file__).read_text()
    everything = "\n".join((versions, candidate, scripts, recipe))
    return hashlib.sha256(everything.encode()).hexdigest()[:16]


def _output(*command: str, cwd: pathlib.Path | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=cwd)
    return done.stdout


def _build(directory: pathlib.Path, programs: tuple[str, ...], modules: str) -> None:
    root = directory / "root"
    kernel = directory / "kernel"
    root.mkdir()
    kernel.mkdir()
    release = _unpack_kernel(kernel)
    (kernel / f"boot/vmlinuz-{release}").rename(directory / "vmlinuz")
    _copy_modules(kernel, release, root, modules)
    for program in programs:
        _copy_program(pathlib.Path(program), root)
    for link, target in _LINKS.items():
        if target in programs:
            _place(root, link).symlink_to(target)
    for name, content in _CONFIGURATION.items():
        text = content.read_text() if isinstance(content, pathlib.Path) else content
        _place(root, name).write_text(text)
    for script in _GUEST.iterdir():
        shutil.copy(script, _place(root, f"/lab/{script.name}"))
    (root / "lab/init").rename(root / "init")
    (root / "init").chmod(0o755)
    # Not compressed: unpacking costs an emulated guest more time than reading.
    with (directory / "initramfs").open("wb") as out:
        _archive(root, out.fileno())
    shutil.rmtree(kernel)
    shutil.rmtree(root)


def _unpack_kernel(directory: pathlib.Path) -> str:
    depends = _output("apt-cache", "depends", "--important", _KERNEL)
    words = (word for word in depends.split() if word != _KERNEL)
    package = next(word for word in words if word.startswith("linux-image-"))
    # apt's own user cannot write here.
    _output("apt-get", "-o", "APT::Sandbox::User=root", "download", package, cwd=directory)
    _output("dpkg", "-x", str(next(directory.glob("*.deb"))), str(directory))
    release = next((directory / "lib/modules").iterdir()).name
    _output("depmod", "-b", str(directory), release)
    return release


def _copy_modules(kernel: pathlib.Path, release: str, root: pathlib.Path, modules: str) -> None:
    command = ("modprobe", "-d", str(kernel), "-S", release, "--show-depends", "--all")
    for line in _output(*command, *modules.split()).splitlines():
        word, _, path = line.partition(" ")
        if word == "insmod":
            source = pathlib.Path(path.split()[0])
            target = _place(root, str(source.relative_to(kernel)))
            if not target.exists():
                shutil.copy(source, target)
    shutil.copy(kernel / f"lib/modules/{release}/modules.order", root / f"lib/modules/{release}")
    shutil.copy(kernel / f"lib/modules/{release}/modules.builtin", root / f"lib/modules/{release}")
    _output("depmod", "-b", str(root), release)


def _copy_program(program: pathlib.Path, root: pathlib.Path) -> None:
    shutil.copy(program.resolve(), _place(root, str(program)))
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=False)
    for word in listed.stdout.split():
        if word.startswith("/") and not (root / word.lstrip("/")).exists():
            shutil.copy(pathlib.Path(word).resolve(), _place(root, word))


def _copy_foreign(program: str, release: str, root: str) -> str:
    """Copy another release's *program* below /RELEASE in *root*; the script that starts it.

    Its C library is not that of the guest, so it brings the loader, and starts by it.
    """
    rootfs = chroot.ensure(release)
    inside = pathlib.Path(root) / release
    words = [w for w in _output("chroot", str(rootfs), "ldd", program).split() if w[0] == "/"]
    for word in (program, *words):
        # Debian's links of directories and libraries are relative, so they stay in the chroot.
        shutil.copy((rootfs / word.lstrip("/")).resolve(), _place(inside, word))
    (loader,) = (word for word in words if "/ld-linux" in word)
    libraries = sorted({f"/{release}{os.path.dirname(word)}" for word in words})
    path = ":".join(libraries)
    return f'#!/bin/sh\nexec /{release}{loader} --library-path {path} /{release}{program} "$@"\n'


def _place(root: pathlib.Path, name: str) -> pathlib.Path:
    path = root / name.lstrip("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _archive(directory: pathlib.Path, output: int) -> None:
    """Write *directory* to the descriptor, as the kernel wants an initramfs."""
    names = [
        os.path.relpath(os.path.join(base, name), directory)
        for base, directories, files in os.walk(directory)
        for name in (*directories, *files)
    ]
    subprocess.run(
        ["cpio", "--create", "--format=newc", "--owner=0:0", "--quiet"],
        input="\n".join(names).encode(),
        stdout=output,
        cwd=directory,
        check=True,
    )
