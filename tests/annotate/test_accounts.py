import pytest

from ilf.annotate import accounts
from ilf.annotate.store import Refused


def test_an_invitation_works_once(store):
    token = accounts.invite(store, "annotator")
    assert accounts.peek(store, token) is not None
    person = accounts.use_link(store, token, " Ann\u202e  Smith ")
    assert (person.name, person.role) == ("Ann Smith", "annotator")
    assert accounts.peek(store, token) is None
    with pytest.raises(Refused, match="used already"):
        accounts.use_link(store, token, "Eve")


def test_links_run_out(store, clock):
    token = accounts.invite(store, "reviewer")
    clock.now += 15 * 86400
    with pytest.raises(Refused):
        accounts.use_link(store, token, "Ann")


def test_a_taken_name_leaves_the_invitation_usable(store):
    accounts.named(store, "Ann")
    token = accounts.invite(store, "annotator")
    with pytest.raises(Refused, match="taken"):
        accounts.use_link(store, token, "ann")
    with pytest.raises(Refused, match="name"):
        accounts.use_link(store, token, "\u200b\u202e")
    assert accounts.use_link(store, token, "Ann B").role == "annotator"


def test_a_new_owner_link_replaces_the_old_one(store):
    first = accounts.owner_link(store)
    second = accounts.owner_link(store)
    assert accounts.peek(store, first) is None
    assert accounts.use_link(store, second).role == "owner"


def test_no_secret_is_stored(store):
    token = accounts.invite(store, "annotator")
    key = accounts.make_key(store, accounts.named(store, "V"), "vendor", 1)
    with store.read() as session:
        dump = b"".join(str(row).encode() for t in ("links", "api_keys", "history")
                        for row in session.connection().exec_driver_sql(f"SELECT * FROM {t}"))  # fmt: skip
    assert token.encode() not in dump and key.encode() not in dump


def test_keys_can_be_revoked_and_closed_accounts_lose_theirs(store):
    vendor = accounts.named(store, "Vendor")
    one, two = (accounts.make_key(store, vendor, name, vendor) for name in ("one", "two"))
    assert accounts.key_holder(store, one).name == "Vendor"
    accounts.revoke_key(store, 1, vendor)
    assert accounts.key_holder(store, one) is None
    accounts.named(store, "Boss", "owner")
    accounts.change_person(store, vendor, vendor, active=False)
    assert accounts.key_holder(store, two) is None


def test_the_last_owner_stays(store):
    owner = accounts.named(store, "owner", "owner")
    with pytest.raises(Refused, match="owner"):
        accounts.change_person(store, owner, owner, role="annotator")
    assert accounts.person(store, owner).role == "owner"


def test_a_withdrawn_invitation_is_useless(store):
    owner = accounts.named(store, "owner", "owner")
    token = accounts.invite(store, "annotator", owner)
    accounts.withdraw_link(store, accounts.open_links(store)[0].id, owner)
    assert accounts.peek(store, token) is None and accounts.open_links(store) == []


def test_workers_of_a_vendor_are_people_of_their_own(store):
    vendor = accounts.person(store, accounts.named(store, "Vendor"))
    assert accounts.worker(store, vendor, "w1").id == accounts.worker(store, vendor, "w1").id
    assert accounts.worker(store, vendor, "w2").name == "Vendor/w2"


def test_nobody_takes_the_name_of_a_vendors_worker(store):
    token = accounts.invite(store, "reviewer")
    with pytest.raises(Refused, match="slash"):
        accounts.use_link(store, token, "Vendor/w1")
    vendor = accounts.person(store, accounts.named(store, "Vendor"))
    assert accounts.worker(store, vendor, "w1").role == "annotator"
