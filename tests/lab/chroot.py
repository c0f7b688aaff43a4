# SPDX-License-Identifier: Apache-2.0
"""A second stack on the same machine: another Debian release's libvirt and QEMU in a chroot.

Bootstrapped once from the mirror that this machine's apt uses, and cached. It is only read after
that: everything that a libvirtd writes is mounted over it in a namespace of its own. Its name in
the cache depends on how it is made, so a change of that makes it anew.
"""

import contextlib
import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
from collections.abc import Iterator

#: libvirt-daemon-system pulls in the drivers that Debian's libvirtd wants
PACKAGES = (
    "libvirt-daemon-system",
    "libvirt-daemon-driver-qemu",
    "libvirt-clients",
    "qemu-system-x86",
    "qemu-utils",
    # for guests with an agent that is newer than that of this machine
    "qemu-guest-agent",
)

_INSTALL = """\
set -e
debootstrap --variant=minbase {include} {release} {target} {mirror}
printf '#!/bin/sh\\nexit 101\\n' > {target}/usr/sbin/policy-rc.d
chmod 755 {target}/usr/sbin/policy-rc.d
apt-config dump --no-empty Acquire::http Acquire::https > {target}/etc/apt/apt.conf.d/80acquire
test ! -f {authorities} || install -D -m 644 {authorities} {target}{authorities}
mount --bind /dev {target}/dev
mount -t proc proc {target}/proc
export DEBIAN_FRONTEND=noninteractive
chroot {target} apt-get update --quiet=2
chroot {target} apt-get install --quiet=2 --yes --no-install-recommends {packages}
chroot {target} apt-get clean
"""


class ChrootError(RuntimeError):
    """The chroot could not be made."""


def cache() -> pathlib.Path:
    """Where the lab keeps what is costly to make."""
    given = os.environ.get("NOVA_DISKAUDIT_LAB_CACHE")
    if given:
        return pathlib.Path(given)
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(home) / "nova-diskaudit-lab"


@contextlib.contextmanager
def cached(name: str) -> Iterator[pathlib.Path]:
    """The path of a cache entry, held against others who would make it at the same time."""
    cache().mkdir(parents=True, exist_ok=True)
    descriptor = os.open(cache() / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield cache() / name
    finally:
        os.close(descriptor)


def ensure(release: str) -> pathlib.Path:
    """The chroot of *release*; takes a minute when it is not in the cache."""
    recipe = "\n".join((*PACKAGES, _INSTALL))
    with cached(f"{release}-{hashlib.sha256(recipe.encode()).hexdigest()[:8]}") as path:
        if not path.is_dir():
            _bootstrap(release, path)
    # Not under the lock: who makes one of the others may be about to look at this one.
    _forget_old_ones(release, path)
    return path


def _forget_old_ones(release: str, path: pathlib.Path) -> None:
    """Remove the release's other chroots, unless something runs in them."""
    for other in (path.with_name(release), *path.parent.glob(f"{release}-????????")):
        if other == path or not other.is_dir():
            continue
        with cached(other.name):
            if other.is_dir() and not _is_in_use(other):
                # At once, since whoever finds it takes it for whole.
                partial = other.rename(_partial(other))
                shutil.rmtree(partial)


def _is_in_use(path: pathlib.Path) -> bool:
    """Whether a process has the directory as its root."""
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if (entry / "root").samefile(path):
                    return True
    return False


def _partial(path: pathlib.Path) -> pathlib.Path:
    """What the chroot is called before it is whole; there may be one of a killed run."""
    partial = path.with_name(f"{path.name}.partial")
    if partial.exists():
        # The mounts of a killed run died with its namespace.
        shutil.rmtree(partial)
    return partial


def mirror() -> str:
    """The Debian mirror of this machine's apt; no address stands in this file."""
    command = ["apt-get", "indextargets", "--format", "$(ORIGIN) $(LABEL) $(REPO_URI)"]
    done = subprocess.run(
        [*command, "Created-By: Packages"], capture_output=True, text=True, check=True
    )
    for line in done.stdout.splitlines():
        origin, _, rest = line.partition(" ")
        label, _, uri = rest.rpartition(" ")
        if (origin, label) == ("Debian", "Debian"):
            return uri
    raise ChrootError("apt knows no Debian mirror: run apt-get update first")


def _setting(name: str) -> str:
    done = subprocess.run(["apt-config", "dump", name], capture_output=True, text=True, check=True)
    return done.stdout.partition('"')[2].partition('"')[0]


def _bootstrap(release: str, path: pathlib.Path) -> None:
    partial = _partial(path)
    source = mirror()
    script = _INSTALL.format(
        release=release,
        target=partial,
        mirror=source,
        include="--include=ca-certificates" if source.startswith("https:") else "",
        authorities="/etc/ssl/certs/ca-certificates.crt",
        packages=" ".join(PACKAGES),
    )
    environ = dict(os.environ)
    for scheme in ("http", "https"):
        if proxy := _setting(f"Acquire::{scheme}::Proxy"):
            environ[f"{scheme}_proxy"] = proxy
    log = path.with_name(f"{path.name}.log")
    with log.open("wb") as out:
        done = subprocess.run(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", script],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=environ,
            check=False,
        )
    if done.returncode:
        raise ChrootError(f"debootstrap of {release} failed, see {log}")
    partial.rename(path)
