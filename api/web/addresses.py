"""Addresses that webhooks may reach: public ones, and those in the settings."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Self

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# IANA's special-purpose address registries (RFC 6890 and its successors), multicast, and one
# address of a cloud's own that is in none of them.
NOT_PUBLIC_4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this network; 0.0.0.0 reaches the machine itself
        "10.0.0.0/8",
        "100.64.0.0/10",  # shared by carriers' customers; also a cloud's metadata
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's host, from within its machines
        "169.254.0.0/16",  # link-local, clouds' metadata among them
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",  # relays from 6to4
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
PUBLIC_6 = IPv6Network("2000::/3")
"""Global unicast; all that is mapped, compatible, local, multicast or reserved lies outside."""
NOT_PUBLIC_6 = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarks
        "2001:db8::/32",
        "2002::/16",  # 6to4: an IPv4 address in disguise
        "2620:4f:8000::/48",
        "3fff::/20",
    )
)
NAT64 = IPv6Network("64:ff9b::/96")
"""How networks without IPv4 spell IPv4 addresses (RFC 6052): as public as the last 32 bits."""
NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*")
NUMBER = re.compile(r"([0-9]+|0x[0-9a-f]*)")


def is_public(address: Address) -> bool:
    """Whether an address is one machine's on the public internet."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in NOT_PUBLIC_4)
    if address.scope_id is not None:
        return False
    if address in NAT64:
        return is_public(IPv4Address(int(address) & 0xFFFF_FFFF))
    return address in PUBLIC_6 and not any(address in network for network in NOT_PUBLIC_6)


def is_name(host: str) -> bool:
    """Whether a host, in lower case, is a name of the DNS and no number in any spelling."""
    if len(host) > 253 or NAME.fullmatch(host) is None:
        return False
    # `127.1`, `0x7f000001` and `2130706433` are addresses to the system's resolver.
    return NUMBER.fullmatch(host.rpartition(".")[2]) is None


@dataclass(frozen=True)
class Allowed:
    """Hosts and networks that may be called although they are not public."""

    names: frozenset[str]
    networks: tuple[Network, ...]

    @classmethod
    def of(cls, entries: Collection[str]) -> Self:
        """From names, addresses and networks as people write them.

        Raises:
            ValueError: one is none of these.
        """
        names, networks = set(), []
        for entry in sorted(entries):
            try:
                networks.append(ip_network(entry))
            except ValueError as error:
                name = entry.lower().removesuffix(".")
                if not is_name(name):
                    raise ValueError(
                        f"{entry!r} is neither a name nor an address nor a network: {error}"
                    ) from None
                names.add(name)
        return cls(frozenset(names), tuple(networks))

    def has(self, address: Address) -> bool:
        """Whether an address lies in one of the networks."""
        return any(address in network for network in self.networks)

    def has_all(self, host: str, addresses: Iterable[Address]) -> bool:
        """Whether a host is named here, or all of its addresses lie in the networks."""
        return host in self.names or all(self.has(address) for address in addresses)
