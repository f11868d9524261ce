"""What an administrator looks at: who may log in, the rules in force, where results go and what
became of them, whether the audit trail is whole. Shows no secret, and no patient.
"""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Path, Request
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from hilum.serve import actions
from hilum.serve.audit import TrailBroken
from hilum.serve.config import Config, Destination, Rule
from hilum.serve.monitor import shadow
from hilum.serve.routing import conditions, in_force, reached
from hilum.serve.service import Service
from hilum.serve.tables import Delivery
from hilum.serve.users import Users
from hilum.serve.web import shapes
from hilum.serve.web.auth import Admin
from hilum.serve.web.images import service_of

router = APIRouter(prefix="/admin", tags=["admin"])
Name = Annotated[str, Path(pattern=shapes.NAME)]
LETTERS = 50  # dead letters that are listed


@router.get("", response_model=shapes.Administration)
def administration(request: Request, _: Admin) -> Any:
    """Users, rules, destinations with their deliveries, dead letters."""
    service = service_of(request)
    config = service.config
    with service.records.read() as session:
        accepted = shadow.accepted(service, session)
        destinations = [
            _destination(session, name, one, service.clock())
            for name, one in config.destinations.items()
        ]
        letters = _dead_letters(session)
    return {
        "users": _users(config),
        "provider": urlsplit(config.web.oidc.issuer).netloc if config.web.oidc else None,
        "rules": _rules(service, accepted),
        "destinations": destinations,
        "dead_letters": letters,
    }


@router.post("/audit/verify", response_model=shapes.Trail)
def verify(request: Request, _: Admin) -> Any:
    """Go through the whole audit trail, as `hilum audit verify` does."""
    try:
        head = service_of(request).audit.verify()
    except TrailBroken as error:
        return {"whole": False, "entries": None, "head": None, "problem": str(error)}
    return {
        "whole": True,
        "entries": head.number,
        "head": f"{head.number}:{head.hash}",
        "problem": None,
    }


@router.post("/destinations/{name}/retry", status_code=202, response_model=shapes.SentAgain)
def retry_dead(request: Request, name: Name, user: Admin) -> Any:
    """Send again every dead letter of a destination, such as after a long outage."""
    service = service_of(request)
    count = actions.retry_dead(service, name)
    service.audit.tell("changed", user=user.name, text=f"{count} dead letters to {name} sent again")
    return {"deliveries": count}


def _users(config: Config) -> list[dict[str, Any]]:
    """Without their hashes."""
    return [
        {"name": name, "role": user.role, "configured": name in config.web.users}
        for name, user in sorted(Users(config).all().items())
    ]


def _rules(service: Service, accepted: frozenset[str]) -> list[dict[str, Any]]:
    """With the one for what none fits, where something is left for it."""
    rules = service.config.rules
    if all(conditions(rule) for rule in rules):
        rules = (*rules, Rule())
    return [
        _rule(service, rule, accepted) | {"reached": it_is}
        for rule, it_is in zip(rules, reached(rules), strict=True)
    ]


def _rule(service: Service, rule: Rule, accepted: frozenset[str]) -> dict[str, Any]:
    """Conditions as they are written; pipelines as they are in force."""
    plan = in_force(service.config, rule, accepted)
    return {
        "when": conditions(rule),
        "pipelines": plan.pipelines,
        "shadow": plan.shadow,
        "destinations": plan.destinations,
        "priority": rule.priority or "routine",
    }


def _destination(session: Session, name: str, wanted: Destination, now: float) -> dict[str, Any]:
    counts = dict(
        session.execute(
            select(Delivery.state, func.count())
            .where(Delivery.destination == name)
            .group_by(Delivery.state)
        ).all()
    )
    waiting = select(Delivery).where(Delivery.destination == name, Delivery.state == "waiting")
    oldest = session.scalar(waiting.order_by(Delivery.since).limit(1))
    last = select(func.max(Delivery.changed))
    last = last.where(Delivery.destination == name, Delivery.state == "delivered")
    return {
        "name": name,
        "address": _address(wanted),
        "objects": wanted.objects,
        "deidentified": wanted.deidentify,
        "verified_by": wanted.verification,
        "deliveries": counts,
        "last_delivered": session.scalar(last),
        "waits_s": now - oldest.since if oldest else None,
        "reason": oldest.reason if oldest else None,
    }


def _address(wanted: Destination) -> str:
    if wanted.dicom is not None:
        return f"{wanted.dicom.ae_title} at {wanted.dicom.host}:{wanted.dicom.port}"
    assert wanted.web is not None
    parts = urlsplit(wanted.web.url)  # what stands before an @ is nobody's business
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _dead_letters(session: Session) -> list[dict[str, Any]]:
    """The newest."""
    dead = select(Delivery).where(Delivery.state == "dead")
    fields = ("id", "image", "destination", "object", "reason", "changed")
    return [
        {name: getattr(one, name) for name in fields}
        for one in session.scalars(dead.order_by(Delivery.changed.desc()).limit(LETTERS))
    ]
