"""What did the operators switch, and what does that make of the policy?

One frozen value: the orders on the control topic, by key, and what the control file says. The live filter holds a
reference to it and reads it once a batch; a change is another value.
"""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from spamguard.core.policy import Policy
from spamguard.types import Mode, Order

#: Keys of the control topic. What others write under other keys is no concern of these.
ALLOW_ALL: Final = "allow_all"
BREAKER: Final = "breaker"  #: off closes all breakers; a tenant's name behind a slash closes one, once
MODE: Final = "mode"  #: alone for all; a place of `Policy.modes` behind a slash
MODEL: Final = "model"  #: the model that decides, whatever the workers' setting says
SWITCHES: Final = frozenset((ALLOW_ALL, BREAKER, MODE, MODEL))
#: A model's name, name/version or alias; never a path, which would lead out of the worker's own folder of models.
_MODEL: Final = re.compile(r"[A-Za-z0-9_][\w.+-]*(/[A-Za-z0-9_][\w.+-]*)?", re.ASCII)

_DECODER: Final = msgspec.json.Decoder(Order)


def place_of(tenant: str | None, direction: str | None) -> str | None:
    """Return the place of a mode as `Policy.modes` names it, or None for all.

    >>> place_of("acme", None), place_of("acme", "MT"), place_of(None, "MT")
    ('acme', 'acme/MT', '/MT')
    """
    if direction is not None:
        return f"{tenant or ''}/{direction}"
    return tenant


def mode_key(place: str | None) -> str:
    """Return the key under which a place's mode is ordered.

    >>> mode_key("acme/MT"), mode_key(None)
    ('mode/acme/MT', 'mode')
    """
    return MODE if place is None else f"{MODE}/{place}"


def is_model_name(reference: str) -> bool:
    """Return whether an order may name a model so.

    >>> is_model_name("sms-zh-en/2026.11.24.1"), is_model_name("champion"), is_model_name("../other/1")
    (True, True, False)
    """
    return _MODEL.fullmatch(reference) is not None


class Controls(msgspec.Struct, frozen=True, kw_only=True):
    """Every switch at one moment."""

    orders: Mapping[str, Order] = {}  #: by key, as the control topic says
    file: str | None = None  #: what stands in the control file; None when there is none

    @property
    def allow_all(self) -> bool:
        """Return whether the kill switch is on, by the topic or by the file."""
        return self.file is not None or self.ordered(ALLOW_ALL)

    def ordered(self, key: str, *, unless_said: bool = False) -> bool:
        """Return whether the topic says that a switch is on."""
        order = self.orders.get(key)
        return unless_said if order is None else order.on

    @property
    def modes(self) -> dict[str | None, Mode]:
        """Return the ordered modes by place; None is the one for all."""
        found: dict[str | None, Mode] = {}
        for key, order in self.orders.items():
            switch, slash, place = key.partition("/")
            if switch == MODE and order.on and order.mode is not None:
                found[place if slash else None] = order.mode
        return found

    @property
    def model(self) -> str | None:
        """Return the model that is ordered to decide, None where none is."""
        order = self.orders.get(MODEL)
        return order.model if order is not None and order.on else None

    def over(self, policy: Policy) -> Policy:
        """Return a policy with the ordered modes in place of its own."""
        ordered = self.modes
        if not ordered:
            return policy
        places = {place: mode for place, mode in ordered.items() if place is not None}
        return msgspec.structs.replace(policy, mode=ordered.get(None, policy.mode), modes={**policy.modes, **places})

    def told(self, key: str, value: bytes | None) -> "Controls":
        """Return what holds after a record of the control topic. Raises ValueError when it cannot be read.

        Keys of switches that are none of these change nothing.

        >>> Controls().told("allow_all", b'{"on": true, "reason": "wrong model"}').allow_all
        True
        """
        if key.partition("/")[0] not in SWITCHES:
            return self
        orders = dict(self.orders)
        if value is None:
            orders.pop(key, None)
        else:
            order = orders[key] = _DECODER.decode(value)
            if key == MODEL and order.on and not (order.model and is_model_name(order.model)):
                raise ValueError("not the name of a model")
        return msgspec.structs.replace(self, orders=orders)
