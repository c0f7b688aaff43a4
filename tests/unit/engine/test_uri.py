# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova_diskaudit.audit import uri


@pytest.mark.parametrize(
    "text",
    [
        "qemu:///system",
        "qemu:///session",
        "qemu+unix:///system",
        "qemu:///system?socket=/run/other/libvirt-sock",
        "qemu+unix:///session?mode=direct",
    ],
)
def test_local_qemu(text: str) -> None:
    assert uri.problem(text) is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "not a libvirt URI"),
        ("qemu", "not a libvirt URI"),
        ("/var/run/libvirt-sock", "not a libvirt URI"),
        ("qemu:///system\n", "not a libvirt URI"),
        ("qemu:///" + "a" * 5000, "not a libvirt URI"),
        ("qemu://[::1/system", "not a libvirt URI"),
        ("xen:///system", "'xen'"),
        ("test:///default", "'test'"),
        ("lxc:///system", "'lxc'"),
        ("qemu+ssh://root@host/system", "'ssh'"),
        ("qemu+tcp://host/system", "'tcp'"),
        ("qemu+tls:///system", "'tls'"),
        ("qemu+libssh2://host/system", "'libssh2'"),
        ("qemu+ext:///system", "'ext'"),
        ("qemu://host/system", "'host'"),
        ("qemu://root@/system", "'root@'"),
        ("qemu://:16509/system", "':16509'"),
        ("qemu+unix://host/system", "'host'"),
        ("qemu:///embed?root=/x", "'/embed'"),
        ("qemu:///", "'/'"),
    ],
)
def test_others_are_refused_with_the_reason(text: str, told: str) -> None:
    assert told in (uri.problem(text) or "")


@given(st.text())
def test_any_text_has_an_answer(text: str) -> None:
    told = uri.problem(text)
    assert told is None or told.isprintable()
