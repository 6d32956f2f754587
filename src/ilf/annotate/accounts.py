"""People, the links that let them in, and keys for programs.

Only hashes of links and keys are stored. A link works once; an invitation makes an account, a sign-in link
opens one that exists.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import unicodedata
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import func, select, update

from ilf.annotate.schema import Answer, ApiKey, Link, Person
from ilf.annotate.store import Change, Refused, Store

Role = Literal["annotator", "reviewer", "owner"]
ROLES: tuple[Role, ...] = ("annotator", "reviewer", "owner")
"""What each may do includes what those before it may."""
INVITE_DAYS = 14
SIGN_IN_DAYS = 7
OWNER = "owner"
"""Name of the account that comes with the store."""


def hashed(token: str) -> str:
    """What is stored of a link or key (they are random and long: no salt is needed)."""
    return hashlib.sha256(token.encode()).hexdigest()


def secret(store: Store) -> str:
    """The store's signing secret, made once."""
    kept = store.state("secret")
    if kept is None:
        with store.write() as change:
            from ilf.annotate.schema import Setting

            row = change.session.get(Setting, "secret")
            if row is None:
                row = Setting(name="secret", value={"value": secrets.token_urlsafe(48)})
                change.session.add(row)
            kept = row.value
    return str(kept["value"])


def clean_name(name: str) -> str:
    """A name without control and direction characters, 1 to 60 characters long.

    Raises:
        Refused: nothing readable is left.
    """
    name = "".join(
        c for c in unicodedata.normalize("NFC", name) if unicodedata.category(c)[0] != "C" or c == " "
    )
    name = re.sub(r"\s+", " ", name).strip()[:60]
    if not re.search(r"\w", name):
        raise Refused("please give a name", status=422)
    return name


def _add(change: Change, name: str, role: Role, by: int | None, active: bool = True) -> Person:
    if change.session.scalar(select(Person.id).where(func.lower(Person.name) == name.lower())) is not None:
        raise Refused(f"the name {name!r} is taken", status=409)
    person = Person(name=name, role=role, active=active, epoch=0, created=change.now)
    change.session.add(person)
    change.session.flush()
    change.log(by, "add person", f"people/{person.id}", None, {"name": name, "role": role, "active": active})
    return person


def named(store: Store, name: str, role: Role = "annotator", active: bool = True) -> int:
    """The id of the person with a name, added where there is none."""
    with store.write() as change:
        found = change.session.scalar(select(Person.id).where(Person.name == name))
        return found if found is not None else _add(change, name, role, None, active).id


def by_name(store: Store, name: str) -> Person | None:
    """The person with a name."""
    with store.read() as session:
        return session.scalar(select(Person).where(Person.name == name))


def person(store: Store, person_id: int) -> Person | None:
    """One person."""
    with store.read() as session:
        return session.get(Person, person_id)


@dataclass(frozen=True)
class Member:
    """One line of the team page."""

    person: Person
    answers: int
    keys: list[ApiKey]


def team(store: Store) -> list[Member]:
    """Everyone with an account."""
    with store.read() as session:
        counts = dict(
            session.execute(
                select(Answer.person_id, func.count())
                .where(Answer.kind.is_not(None))
                .group_by(Answer.person_id)
            ).all()
        )
        keys = session.scalars(select(ApiKey).where(ApiKey.revoked.is_(None)).order_by(ApiKey.id)).all()
        people = session.scalars(select(Person).order_by(Person.id)).all()
        return [
            Member(p, counts.get(p.id, 0), [key for key in keys if key.person_id == p.id]) for p in people
        ]


def open_links(store: Store) -> list[Link]:
    """Invitations that nobody has used yet."""
    with store.read() as session:
        rows = session.scalars(
            select(Link).where(Link.used.is_(None), Link.expires > store.clock(), Link.person_id.is_(None))
        )
        return list(rows)


def invite(store: Store, role: Role, by: int | None = None, note: str = "") -> str:
    """A link that makes an account with `role`, once; returns its secret part.

    Args:
        store: where accounts are.
        role: of the account.
        by: who invites.
        note: whom it is for, for the list of unused invitations.
    """
    if role not in ROLES:
        raise Refused(f"unknown role {role!r}; allowed: {', '.join(ROLES)}", status=422)
    return _link(store, role, None, by, INVITE_DAYS, " ".join(note.split())[:80])


def sign_in_link(store: Store, person_id: int, by: int | None = None) -> str:
    """A link that signs a person in, once."""
    found = person(store, person_id)
    if found is None or not found.active:
        raise Refused("there is no such person, or the account is closed", status=404)
    return _link(store, found.role, person_id, by, SIGN_IN_DAYS)


def _link(store: Store, role: str, person_id: int | None, by: int | None, days: float, note: str = "") -> str:
    token = secrets.token_urlsafe(24)
    with store.write() as change:
        row = Link(
            token_hash=hashed(token),
            role=role,
            person_id=person_id,
            created_by=by,
            created=change.now,
            expires=change.now + 86400 * days,
            note=note,
        )
        change.session.add(row)
        change.session.flush()
        change.log(by, "make link", f"links/{row.id}", None, {"role": role, "person_id": person_id})
    return token


def withdraw_link(store: Store, link_id: int, by: int) -> None:
    """Make an unused link useless."""
    with store.write() as change:
        row = change.session.get(Link, link_id)
        if row is None or row.used is not None:
            raise Refused("there is no such unused link", status=404)
        with change.changing(row, by, "withdraw link"):
            row.expires = change.now


def owner_link(store: Store) -> str:
    """A fresh sign-in link for the owner; those printed before and never used stop working."""
    owner = named(store, OWNER, "owner")
    with store.write() as change:
        change.session.execute(
            update(Link)
            .where(Link.person_id == owner, Link.used.is_(None), Link.created_by.is_(None))
            .values(expires=change.now)
        )
    return sign_in_link(store, owner)


def peek(store: Store, token: str) -> Link | None:
    """The link behind a token, if it still works; looking does not use it up."""
    with store.read() as session:
        link = session.scalar(select(Link).where(Link.token_hash == hashed(token)))
        return link if link is not None and link.used is None and link.expires > store.clock() else None


def use_link(store: Store, token: str, name: str = "") -> Person:
    """Sign in, or make an account, with a link.

    Args:
        store: whose account.
        token: the link's secret part.
        name: of the new account (invitations only).

    Raises:
        Refused: the link does not exist, was used or ran out; the name is empty or taken; the account is
            closed.
    """
    with store.write() as change:
        link = change.session.scalar(select(Link).where(Link.token_hash == hashed(token)))
        if link is None or link.used is not None or link.expires <= change.now:
            raise Refused(
                "this link was used already, has run out or was withdrawn: ask for a new one", status=403
            )
        if link.person_id is None:
            if "/" in name:  # that is how workers behind a key are named
                raise Refused("please choose a name without a slash", status=422)
            role: Role = next(role for role in ROLES if role == link.role)
            found: Person | None = _add(change, clean_name(name), role, link.created_by)
        else:
            found = change.session.get(Person, link.person_id)
        if found is None or not found.active:
            raise Refused("this account is closed", status=403)
        with change.changing(link, found.id, "use link"):
            link.used = change.now
        return found


def change_person(
    store: Store, by: int, person_id: int, role: Role | None = None, active: bool | None = None
) -> None:
    """Give someone another role, or close or open an account; either signs the person out everywhere.

    Raises:
        Refused: it would leave the store without an owner.
    """
    with store.write() as change:
        found = change.session.get(Person, person_id)
        if found is None:
            raise Refused("there is no such person", status=404)
        with change.changing(found, by, "change person"):
            if role is not None:
                if role not in ROLES:
                    raise Refused(f"unknown role {role!r}; allowed: {', '.join(ROLES)}", status=422)
                found.role = role
            if active is not None:
                found.active = active
            found.epoch += 1
        owners = change.session.scalar(
            select(func.count()).select_from(Person).where(Person.role == "owner", Person.active)
        )
        if not owners:
            raise Refused("someone has to stay the owner")


def make_owner(store: Store, name: str) -> None:
    """Give someone the owner's role; the account is made where there is none."""
    number = named(store, clean_name(name), "owner")
    found = person(store, number)
    if found is not None and found.role != "owner":
        change_person(store, number, number, role="owner")


def sign_out(store: Store, person_id: int) -> None:
    """End all of a person's sessions."""
    with store.write() as change:
        found = change.session.get(Person, person_id)
        if found is not None:
            with change.changing(found, person_id, "sign out"):
                found.epoch += 1


def make_key(store: Store, person_id: int, name: str, by: int) -> str:
    """A key for a program that acts for a person; shown once."""
    token = "ilf_" + secrets.token_urlsafe(32)
    with store.write() as change:
        if change.session.get(Person, person_id) is None:
            raise Refused("there is no such person", status=404)
        row = ApiKey(token_hash=hashed(token), name=clean_name(name), person_id=person_id, created=change.now)
        change.session.add(row)
        change.session.flush()
        change.log(by, "make key", f"api_keys/{row.id}", None, {"name": row.name, "person_id": person_id})
    return token


def revoke_key(store: Store, key_id: int, by: int) -> None:
    """Make a key useless."""
    with store.write() as change:
        row = change.session.get(ApiKey, key_id)
        if row is None:
            raise Refused("there is no such key", status=404)
        with change.changing(row, by, "revoke key"):
            row.revoked = change.now


def key_holder(store: Store, token: str) -> Person | None:
    """Whom a key acts for."""
    with store.read() as session:
        row = session.scalar(
            select(ApiKey).where(ApiKey.token_hash == hashed(token), ApiKey.revoked.is_(None))
        )
        found = None if row is None else session.get(Person, row.person_id)
        return found if found is not None and found.active else None


def worker(store: Store, holder: Person, name: str) -> Person:
    """The account of one of a vendor's workers, `KEY HOLDER/NAME`, made when it is first seen.

    It has no link of its own: only the vendor's key acts for it.
    """
    full = f"{holder.name}/{clean_name(name)}"
    with store.read() as session:  # nearly always there: no need to queue with the writers
        found = session.scalar(select(Person).where(Person.name == full))
    if found is None:
        found = person(store, named(store, full))
    assert found is not None
    if not found.active:
        raise Refused("this worker's account is closed", status=403)
    return found
