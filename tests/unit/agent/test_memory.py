# SPDX-License-Identifier: Apache-2.0
"""What is taken for unchanged, against a world in which things change."""

from __future__ import annotations

import copy
import dataclasses
import datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from nova_diskaudit.agent import memory
from nova_diskaudit.agent.memory import Remembered
from nova_diskaudit.facts import (
    DiskSighting,
    Doubt,
    Layer,
    LayerFacts,
    Listed,
    Process,
    Sighting,
    Signature,
)
from nova_diskaudit.findings import CATALOGUE
from tests.unit.engine.builders import NOW, UUID, claims, disk, domain, facts, layer, sighting

LISTED = Listed(uuid=UUID, name="instance-00000001", number=1, state=(1, 1))
PROCESS = Process(pid=7, start_ticks=1)
#: what may be over in the next cycle, with no trace of that in description or images
PASSING = {
    "agent-frozen",
    "audit-deadline",
    "domain-unreadable",
    "evidence-missing",
    "libvirt-busy",
    "qemu-unresponsive",
    "storage-unresponsive",
}
LATER = NOW + datetime.timedelta(minutes=5)


def signature(number: int = 1, **changes: Any) -> Signature:
    plain: dict[str, Any] = {
        "device": 1,
        "inode": 1,
        "changed_ns": number,
        "modified_ns": number,
        "blocks": 8,
        "size_bytes": 4096,
        "counters": (),
    }
    return Signature(**plain | changes)


def remembered(seen: Sighting, before: Remembered | None = None) -> Remembered:
    return memory.remember(seen, listed=LISTED, process=PROCESS, status_file=None, before=before)


def proven(**changes: Any) -> LayerFacts:
    return facts(**{"signature": signature()} | changes)


def whole(*layers: Layer, seen: tuple[LayerFacts, ...] = (), **changes: Any) -> Sighting:
    """A domain of one disk with these layers, each proven unless ``seen`` says otherwise."""
    of = domain(disk(layers=layers or (layer(),)), digest=b"1", **changes)
    looked = seen or tuple(proven() for _ in of.disks[0].layers)
    return sighting(of, {"vda": DiskSighting(layers=looked)})


def is_quiet(known: Remembered, listed: Listed = LISTED, digest: bytes | None = b"1") -> bool:
    """When every image has the signature that it had."""
    return memory.is_quiet(known, listed, None, digest, dict(known.proof or {}))


# --- a world ----------------------------------------------------------------------------------


@dataclasses.dataclass
class World:
    """What can be true of one domain; every number only ever grows."""

    number: int = 1
    state: tuple[int, int] = (1, 1)
    description: int = 1
    #: how often libvirt wrote its record, with or without a change of the description
    record: int = 1
    #: by image: how often it was written to
    written: dict[str, int] = dataclasses.field(default_factory=dict)
    #: images that were written to a moment ago, and libvirt's record if it was
    fresh: set[str] = dataclasses.field(default_factory=set)
    #: disks, as the images each is made of
    disks: list[list[str]] = dataclasses.field(default_factory=lambda: [["a"], ["b", "base"]])

    def images(self) -> list[str]:
        return [image for chain in self.disks for image in chain]

    def truth(self) -> Any:
        """All that a report says something about."""
        written = {image: self.written.get(image, 0) for image in self.images()}
        return copy.deepcopy((self.number, self.state, self.description, self.disks, written))


class Model(RuleBasedStateMachine):
    """Quiet means that the truth is that of the moment when the last look began."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.known: Remembered | None = None
        self.truth_then: Any = None
        self.provable = False
        self.fresh_images = 0

    @initialize()
    def first_look(self) -> None:
        self.look(None, 0, redefined=False)

    def listed(self) -> Listed:
        return msgspec.structs.replace(LISTED, number=self.world.number, state=self.world.state)

    def layer(self, image: str) -> Layer:
        return layer(source=f"/{image}", format="raw")

    def signature(self, image: str) -> Signature | None:
        if image in self.world.fresh:
            return None
        return signature(self.world.written.get(image, 0))

    @rule(
        doubt=st.none() | st.sampled_from(sorted(CATALOGUE)),
        late_writes=st.integers(0, 2),
        redefined=st.booleans(),
    )
    def look(self, doubt: str | None, late_writes: int, redefined: bool) -> None:
        """In full; a doubt of some kind may be left, and the guest may write meanwhile.

        :param redefined: it changes between the look at libvirt's record and the description.
        """
        world = self.world
        listed = self.listed()
        of = domain(
            *(
                disk(f"vd{chr(ord('a') + n)}", layers=tuple(map(self.layer, chain)))
                for n, chain in enumerate(world.disks)
            ),
            digest=str(world.description).encode(),
        )
        seen = {
            one.target: DiskSighting(
                layers=tuple(facts(signature=self.signature(image)) for image in chain)
            )
            for one, chain in zip(of.disks, world.disks, strict=True)
        }
        status_file = self.status_file()
        if redefined:
            self.its_agent_comes_or_goes()
            of = msgspec.structs.replace(of, digest=str(world.description).encode())
        self.truth_then = world.truth()
        self.provable = not world.fresh & set(world.images())
        for image in world.images()[:late_writes]:
            self.write(image)
        self.known = memory.remember(
            sighting(of, seen, doubts=(Doubt(code=doubt),) if doubt else ()),
            listed=listed,
            process=PROCESS,
            status_file=status_file,
            before=self.known,
        )
        if doubt in PASSING:
            self.provable = False

    def write(self, image: str) -> None:
        self.world.written[image] = self.world.written.get(image, 0) + 1
        self.world.fresh.add(image)

    @rule(data=st.data())
    def a_guest_writes(self, data: st.DataObject) -> None:
        self.write(data.draw(st.sampled_from(self.world.images())))

    @rule()
    def time_passes(self) -> None:
        self.world.fresh.clear()

    @rule()
    def it_starts_anew(self) -> None:
        self.world.number += 1

    @rule()
    def it_is_paused_and_resumed(self) -> None:
        self.world.state = (1, self.world.state[1] + 1)

    def status_file(self) -> Signature | None:
        return None if "record" in self.world.fresh else signature(self.world.record)

    @rule()
    def libvirt_writes_its_record(self) -> None:
        self.world.record += 1
        self.world.fresh.add("record")

    @rule()
    def its_agent_comes_or_goes(self) -> None:
        self.world.description += 1
        self.libvirt_writes_its_record()

    @rule(which=st.integers(0, 1))
    def a_snapshot_is_taken(self, which: int) -> None:
        """Nothing is written to what was the top, and what is the top now is new."""
        self.fresh_images += 1
        self.world.disks[which].insert(0, f"snapshot{self.fresh_images}")
        self.its_agent_comes_or_goes()

    @rule(has_record=st.booleans(), rewritten=st.booleans())
    def a_cycle_asks(self, has_record: bool, rewritten: bool) -> None:
        """As the observatory does: the record first, the description only where that is new.

        :param rewritten: libvirt writes its record between the two.
        """
        assert self.known is not None
        known, now = self.known, self.world.truth()
        status_file = self.status_file() if has_record else None
        if rewritten:
            self.libvirt_writes_its_record()
        digest = None
        if not memory.is_described_alike(known, status_file, None):
            digest = str(self.world.description).encode()
        images = [one for one, _ in memory.images(known)]
        signatures = {one: self.signature((one.source or "")[1:]) for one in images}
        quiet = memory.is_quiet(known, self.listed(), status_file, digest, signatures)
        if quiet:
            assert now == self.truth_then
            self.it_is_renewed(status_file, 1)
        # And whatever can be proven is, once it has settled.
        if self.provable and now == self.truth_then:
            assert quiet

    @rule()
    def libvirt_does_not_describe(self) -> None:
        assert self.known is not None
        images = {one: self.signature((one.source or "")[1:]) for one in self.known.proof or {}}
        assert not memory.is_quiet(self.known, self.listed(), None, None, images)

    def it_is_renewed(self, status_file: Signature | None, minutes: int) -> None:
        """Which changes nothing but times, and what is known of libvirt's record."""
        assert self.known is not None
        at = NOW + datetime.timedelta(minutes=minutes)
        again = memory.renewed(self.known, at, status_file)
        assert again.proof == self.known.proof and again.listed == self.known.listed
        assert again.sighting.as_of == again.instance.as_of == at
        assert again.instance.disks == self.known.instance.disks
        self.known = again


Model.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
TestModel = Model.TestCase


# --- what is no proof -------------------------------------------------------------------------


def test_a_whole_domain_is_quiet() -> None:
    known = remembered(whole())
    assert is_quiet(known)
    assert memory.images(known) == [(layer(), PROCESS)]


def test_a_domain_without_disks_or_with_an_empty_drive_is_quiet() -> None:
    empty = domain(disk(layers=()), digest=b"1")
    assert is_quiet(remembered(sighting(empty)))
    none = msgspec.structs.replace(empty, disks=())
    assert is_quiet(remembered(sighting(none, {})))


@pytest.mark.parametrize(
    "changes", [{"name": "other"}, {"number": 2}, {"number": None}, {"state": (3, 1)}]
)
def test_another_line_in_the_list(changes: dict[str, Any]) -> None:
    assert not is_quiet(remembered(whole()), msgspec.structs.replace(LISTED, **changes))


def test_looked_at_while_libvirt_gave_no_list() -> None:
    known = memory.remember(whole(), listed=None, process=PROCESS, status_file=None, before=None)
    assert not is_quiet(known)


@pytest.mark.parametrize("digest", [b"2", b"", None])
def test_another_description(digest: bytes | None) -> None:
    assert not is_quiet(remembered(whole()), digest=digest)


def test_libvirts_record_stands_for_its_description() -> None:
    known = memory.remember(
        whole(), listed=LISTED, process=PROCESS, status_file=signature(1), before=None
    )
    images = {layer(): signature()}
    assert memory.is_quiet(known, LISTED, signature(1), None, images)
    assert not memory.is_quiet(known, LISTED, signature(2), None, images)
    assert memory.is_quiet(known, LISTED, signature(2), b"1", images)
    assert not memory.is_quiet(known, LISTED, None, None, images)
    # Nothing equals a record that was not there.
    known = msgspec.structs.replace(known, status_file=None)
    assert not memory.is_quiet(known, LISTED, None, None, images)
    assert memory.renewed(known, LATER, signature(3)).status_file == signature(3)


def test_never_described() -> None:
    gone = Sighting(
        uuid=UUID,
        name="x",
        as_of=NOW,
        domain=None,
        disks={},
        claims=None,
        guest_doubt=None,
        doubts=(),
    )
    known = remembered(gone)
    assert known.proof is None
    for digest in (b"", b"1", None):
        assert not is_quiet(known, digest=digest)


@pytest.mark.parametrize("field", Signature.__struct_fields__)
def test_every_part_of_a_signature_counts(field: str) -> None:
    known = remembered(whole())
    other = signature(**{field: (7,) if field == "counters" else 77})
    assert not memory.is_quiet(known, LISTED, None, b"1", {layer(): other})
    assert not memory.is_quiet(known, LISTED, None, b"1", {layer(): None})
    assert not memory.is_quiet(known, LISTED, None, b"1", {})


@given(
    st.lists(st.booleans(), min_size=1, max_size=6).filter(lambda proven: not all(proven)),
)
def test_one_image_without_a_signature_is_enough(has_signature: list[bool]) -> None:
    """A network disk, one that was just written to, one that could not be looked at."""
    layers = tuple(layer(source=f"/{n}") for n in range(len(has_signature)))
    seen = tuple(proven(signature=signature() if one else None) for one in has_signature)
    assert remembered(whole(*layers, seen=seen)).proof is None


def test_an_image_that_was_not_looked_at() -> None:
    assert remembered(whole(layer(), layer(source="/b"), seen=(proven(),))).proof is None
    of = domain(digest=b"1")
    assert remembered(sighting(of, {})).proof is None


@pytest.mark.parametrize(
    ("image_format", "proves"),
    [
        ("raw", True),
        (None, True),
        ("qcow2", True),
        ("qcow", True),
        ("qed", True),
        ("vdi", True),
        ("vpc", True),
        # It may only describe in which files the data are.
        ("vmdk", False),
        ("something-new", False),
    ],
)
@pytest.mark.parametrize("below", [False, True])
def test_formats(image_format: str | None, proves: bool, below: bool) -> None:
    image = layer(source="/x", format=image_format)
    chain = (layer(format="qcow2"), image) if below else (image,)
    assert (remembered(whole(*chain)).proof is not None) == proves


def test_a_qcow2_header_that_was_not_read() -> None:
    """It might name a data file."""
    unread = proven(virtual_bytes=None, code="permission-denied", detail="x")
    image = layer(format="qcow2")
    assert remembered(whole(image, seen=(unread,))).proof is None
    assert remembered(whole(layer(format="raw"), seen=(unread,))).proof is not None


def test_data_in_another_file() -> None:
    image, data = layer(format="qcow2"), layer(source="/data")
    top = proven(has_external_data=True)

    def proof(named: Layer | None, seen: LayerFacts | None, *below: LayerFacts) -> Any:
        layers = (image, *(layer(source=f"/{n}", format="qcow2") for n in range(len(below))))
        of = domain(disk(layers=layers, data_file=named), digest=b"1")
        looked = DiskSighting(layers=(top, *below), data_file=seen)
        return remembered(sighting(of, {"vda": looked})).proof

    assert proof(None, None) is None  # libvirt before 10.10
    assert proof(data, None) is None
    assert proof(data, proven(signature=None)) is None
    assert proof(data, proven(), proven(has_external_data=True)) is None
    assert proof(data, proven(signature=signature(5))) == {image: signature(), data: signature(5)}


def test_scsi_commands_of_the_guest_are_not_counted() -> None:
    of = domain(disk(device="lun", layers=(layer(storage="block"),)), digest=b"1")
    assert remembered(sighting(of, {"vda": DiskSighting(layers=(proven(),))})).proof is None


def test_the_volume_of_a_pool_is_proven_by_what_it_was_found_to_be() -> None:
    volume, file = layer(storage="volume", source="pool/a"), layer(source="/pool/a")
    of = domain(disk(layers=(volume,)), digest=b"1")
    seen = {"vda": DiskSighting(layers=(proven(),), resolved=file)}
    assert remembered(sighting(of, seen)).proof == {file: signature()}


def test_of_two_looks_at_one_image_the_older_is_the_proof() -> None:
    base = layer(source="/base")
    of = domain(disk("vda", layers=(base,)), disk("vdb", layers=(base,)), digest=b"1")
    seen = {
        "vda": DiskSighting(layers=(proven(signature=signature(1)),)),
        "vdb": DiskSighting(layers=(proven(signature=signature(2)),)),
    }
    assert remembered(sighting(of, seen)).proof == {base: signature(1)}


# --- what is asked again anyway ---------------------------------------------------------------


@pytest.mark.parametrize("code", sorted(CATALOGUE))
def test_what_a_domain_lacked_for_a_passing_reason(code: str) -> None:
    seen = msgspec.structs.replace(whole(), doubts=(Doubt(code=code),))
    assert is_quiet(remembered(seen)) == (code not in PASSING)


@pytest.mark.parametrize("code", sorted(PASSING))
def test_what_a_guest_was_not_asked_for_a_passing_reason(code: str) -> None:
    """A freeze is lifted without a write; what only our own host hinders may be over."""
    seen = msgspec.structs.replace(whole(), guest_doubt=Doubt(code=code))
    assert not is_quiet(remembered(seen))


@pytest.mark.parametrize(
    ("channel", "code", "quiet"),
    [
        # The description tells when these end.
        ("absent", "agent-absent", True),
        ("disconnected", "agent-disconnected", True),
        ("connected", "guest-not-running", True),
        ("connected", "guest-stats-off", True),
        # Retried by the quarantine, not by cycles.
        ("connected", "agent-timeout", True),
        ("connected", "agent-reply-invalid", True),
        # Only a full look finds these gone.
        ("connected", "agent-refused", True),
        ("connected", "agent-error", True),
        ("connected", "guest-not-permitted", True),
        ("connected", "guest-not-asked", True),
        # It went between the description and the question, and may be back by now.
        ("connected", "agent-disconnected", False),
        ("unknown", "agent-disconnected", False),
    ],
)
def test_a_guest_that_was_not_heard(channel: str, code: str, quiet: bool) -> None:
    seen = msgspec.structs.replace(whole(channel=channel), guest_doubt=Doubt(code=code))
    assert is_quiet(remembered(seen)) == quiet


# --- times ------------------------------------------------------------------------------------


def test_a_quiet_domain_is_of_now_and_its_guest_was_checked() -> None:
    known = remembered(msgspec.structs.replace(whole(), claims=claims()))
    again = memory.renewed(known, LATER, None)
    assert again.instance.as_of == again.sighting.as_of == LATER
    guest = again.instance.guest
    assert (guest.state, guest.as_of, guest.checked_at) == ("answered", NOW, LATER)
    # What was observed keeps its own time.
    assert again.instance.disks == known.instance.disks
    assert again.instance.filesystems == known.instance.filesystems


def test_a_guest_that_did_not_answer_was_not_checked() -> None:
    doubted = msgspec.structs.replace(whole(), guest_doubt=Doubt(code="agent-timeout"))
    again = memory.renewed(remembered(doubted), LATER, None)
    assert (again.instance.guest.state, again.instance.guest.checked_at) == ("agent-timeout", None)


def test_since_when_a_guest_is_silent_is_kept() -> None:
    spoke = remembered(msgspec.structs.replace(whole(), claims=claims()))
    silent = msgspec.structs.replace(whole(), as_of=LATER, guest_doubt=Doubt(code="agent-timeout"))
    known = spoke
    for _ in range(3):
        known = remembered(silent, before=known)
        assert known.instance.guest.state == "agent-timeout"
        assert known.instance.guest.as_of == NOW
    assert remembered(silent).instance.guest.as_of is None
    again = claims(as_of=LATER)
    known = remembered(msgspec.structs.replace(whole(), claims=again), before=known)
    assert known.instance.guest.as_of == LATER
