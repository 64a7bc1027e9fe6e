"""A reference is computed once, found under everything it depends on, and computed again now and then."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from fcos_lib.errors import AuditError, DatasetError, FeedError, StoreError
from fcos_lib.judge.exit_status import outcome_of
from fcos_lib.judge.verdict import Outcome
from fcos_lib.stream import references as module
from fcos_lib.stream.dataset import digest_of_files
from fcos_lib.stream.letterbox import geometry, to_picture
from fcos_lib.stream.references import References
from tests.unit.stream.references_worker import HEIGHT, TINY, WIDTH, Fake, assert_equal, child, draw, opened, records


@pytest.fixture
def pictures(tmp_path):
    """Five pictures."""
    return draw(tmp_path / "pictures", 5)


@pytest.fixture
def root(tmp_path):
    """The folder of the references."""
    return tmp_path / "references"


@pytest.mark.parametrize("verb", ["detections", "with_proposals"])
def test_what_was_stored_is_what_was_computed(root, pictures, verb):
    """The second run gets the same bits without a session, in the order of the pictures."""
    first, second = opened(root), opened(root, Fake(), audit_share=0)
    computed = getattr(first, verb)(pictures)
    assert_equal(getattr(second, verb)(pictures), computed)
    assert (first.facts.hits, first.facts.computed) == (0, 5)
    assert (second.facts.hits, second.facts.computed) == (5, 0)
    assert second._session.runs == 0, "a hit was computed"


def test_detections_are_in_picture_pixels(root, pictures):
    """Boxes come back through the letterbox as `feed.detect` brings them back; proposals stay network pixels."""
    references = opened(root)
    network, _, _ = references.with_proposals(pictures[:1])[0]
    expected = to_picture(network.boxes, geometry(WIDTH, HEIGHT, TINY))
    np.testing.assert_array_equal(references.detections(pictures[:1])[0].boxes, expected)


def test_proposals_are_added_to_a_record_without_them(root, pictures):
    """Asking for more computes once more; afterwards both questions are answered from disk."""
    references = opened(root, audit_share=0)
    references.detections(pictures[:2])
    references.with_proposals(pictures[:2])
    references.with_proposals(pictures[:2])
    references.detections(pictures[:2])
    assert references._session.runs == 4
    assert len(records(root)) == 2


def test_progress_counts_what_is_computed(root, pictures):
    """Hits are no work."""
    seen = []
    opened(root).detections(pictures[:2])
    opened(root).detections(pictures, lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_the_key_covers_model_contract_and_runtime(root):
    """What a result depends on decides where it is kept."""
    other_runtime = Fake()
    other_runtime.numerics = {"runtime": "fake 2"}
    folders = [
        opened(root).folder,
        opened(root, onnx="b" * 64).folder,
        opened(root, contract=replace(TINY, score_threshold=0.06)).folder,
        opened(root, other_runtime).folder,
    ]
    assert len(set(folders)) == 4
    assert opened(root).folder == folders[0], "nothing changed, and the key did"


def test_the_key_covers_the_code_behind_the_references(root, monkeypatch):
    """Decoding, letterbox, session: what the module imports is in the key by the one rule for all keys (`test_sources.py`)."""
    makers = []
    before = opened(root).folder
    monkeypatch.setattr(module, "dependencies", lambda *names: makers.extend(names) or {"sources": "other"})
    assert opened(root).folder != before, "results of other code are found"
    assert makers == ["fcos_lib.stream.references"]


def test_a_picture_that_gets_lost_on_the_way_is_named(root, pictures, monkeypatch):
    """The one who prepares pictures drops the last two: that is the feed's fault, and said with their ids."""
    prepared = References._prepared
    monkeypatch.setattr(References, "_prepared", lambda self, missing: list(prepared(self, missing))[:-2])
    with pytest.raises(FeedError, match=r"ended without 2 of the pictures that it was given: \d, \d"):
        opened(root).detections(pictures)


def test_another_picture_under_the_same_name_is_another_record(root, pictures):
    """The key is the content of the file, not its name."""
    references = opened(root, audit_share=0)
    before = references.detections(pictures[:1])
    cv2.imwrite(str(pictures[0].path), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    after = references.detections(pictures[:1])
    assert references.facts.hits == 0
    assert not np.array_equal(before[0].boxes, after[0].boxes)


def test_a_wrong_annotated_size_is_no_hit(root, pictures):
    """A stored result does not hide that annotation and picture do not belong together."""
    opened(root).detections(pictures[:1])
    with pytest.raises(DatasetError, match="annotated as 30 x 40"):
        opened(root, audit_share=0).detections([replace(pictures[0], width=HEIGHT, height=WIDTH)])


def test_a_picture_that_changes_while_it_is_read_is_not_stored(root, pictures, monkeypatch):
    """Or its result would be kept under the name of another picture."""
    read = module.read_picture

    def read_and_change(picture):
        data = read(picture)
        cv2.imwrite(str(picture.path), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
        return data

    monkeypatch.setattr(module, "read_picture", read_and_change)
    with pytest.raises(DatasetError, match="changed while it was read"):
        opened(root).detections(pictures[:1])
    assert records(root) == []


def test_a_missing_picture_is_one_clear_error(root, pictures):
    """As when it is decoded."""
    pictures[0].path.unlink()
    with pytest.raises(DatasetError, match="cannot be read"):
        opened(root).detections(pictures)


@pytest.mark.parametrize(("audit_share", "audited"), [(0.01, 1), (0.5, 3), (1, 5), (0, 0)])
def test_a_share_of_the_hits_is_computed_again(root, pictures, audit_share, audited):
    """At least one, rounded up; none only if that is asked for."""
    opened(root).detections(pictures)
    references = opened(root, audit_share=audit_share)
    references.detections(pictures)
    assert references.facts.audited == references._session.runs == audited


def test_what_this_run_computed_is_not_audited(root, pictures):
    """It would only prove that a file can be read."""
    references = opened(root)
    references.detections(pictures)
    references.detections(pictures)
    assert references._session.runs == 5


def test_the_audit_is_chosen_anew_each_run(root, pictures):
    """Over many runs every picture has its turn."""
    opened(root).detections(pictures)
    audited = set()
    for _ in range(60):  # all five but with a chance of 8e-6
        references = opened(root)
        references._audit = lambda picture, *_: audited.add(picture.id)
        references.detections(pictures)
    assert audited == set(range(5))


def test_an_audit_looks_at_a_picture_with_detections(root, pictures):
    """Most pictures are empty, and an empty record is right whatever the boxes of the others have become."""
    session = Fake()
    honest, seen = session.run, []

    def run(batch):
        outputs = honest(batch)
        seen.append(outputs)
        if len(seen) > 1:
            outputs.dets[...], outputs.labels[...] = 0, 0
        return outputs

    session.run = run
    first = opened(root, session).detections(pictures)
    (telling,) = [number for number, detections in first.items() if len(detections)]
    for _ in range(6):
        references = opened(root)
        audited = []
        references._audit = lambda picture, *_: audited.append(picture.id)  # noqa: B023 - called in this round
        references.detections(pictures)
        assert telling in audited
        assert len(audited) <= 2, f"{len(audited)} records were audited, 2 at most are a share"


@pytest.mark.parametrize("mode", [0o777, 0o1777])
def test_a_folder_that_every_user_may_change_is_refused(root, pictures, mode):
    """Results of others would be believed but for those few that are computed again."""
    folder = opened(root).folder
    for spoilt in (folder, root):
        spoilt.chmod(mode)
        with pytest.raises(StoreError, match="every user of this machine can change") as caught:
            opened(root)
        assert "--references" in caught.value.advice
        spoilt.chmod(0o755)


def test_a_stale_record_fails_the_audit(root, pictures):
    """The error counts as INFRA, names picture, record and machine, and says what to do."""
    opened(root).detections(pictures[:1])
    with pytest.raises(AuditError) as caught:
        opened(root, Fake(shift=0.5)).detections(pictures[:1])
    assert isinstance(caught.value, StoreError)
    assert outcome_of(caught.value) is Outcome.INFRA
    for part in (str(pictures[0].path), str(records(root)[0]), "7 of 7 stored detections", "computed on "):
        assert part in caught.value.found
    assert f"delete {opened(root).folder}" in caught.value.advice


def test_stale_proposals_fail_the_audit(root, pictures):
    """They are compared as well, where they were asked for."""
    session = Fake()
    opened(root).with_proposals(pictures[:1])
    honest = session.run_and_proposals
    session.run_and_proposals = lambda batch: (*honest(batch)[:2], honest(batch)[2] / 2)
    with pytest.raises(AuditError, match="stored proposals"):
        opened(root, session).with_proposals(pictures[:1])


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path):
    """The machine's fault, with the option that helps."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="--references"):
        opened(tmp_path / "file")


def test_two_processes_agree_and_share_the_work(root, tmp_path):
    """Both get every picture, and what one has computed the other takes over."""
    draw(tmp_path / "pictures", 20)
    with child(root, tmp_path / "pictures", "slow") as one, child(root, tmp_path / "pictures", "slow") as other:
        results = [process.communicate()[0].splitlines() for process in (one, other)]
    assert results[0][-1] == results[1][-1], "two processes came to different results"
    computed = [int(lines[0]) for lines in results]
    assert 20 <= sum(computed) <= 30, f"{computed} computed, 20 at best"
    assert len(records(root)) == 20


def test_a_picture_with_another_content_is_noticed_whatever_its_size(pictures):
    """An evaluation that was interrupted is not gone on with then; where the files lie does not count."""
    before = digest_of_files(pictures)
    path = pictures[3].path
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    assert digest_of_files(pictures) != before
    content[-20] ^= 1
    path.write_bytes(content)
    moved = path.parent.rename(path.parent.with_name("moved"))
    assert digest_of_files([replace(picture, path=moved / picture.path.name) for picture in pictures]) == before
    with pytest.raises(DatasetError, match="cannot be read"):
        digest_of_files(pictures)
