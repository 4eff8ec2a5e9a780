"""How workers meet."""

import psutil

from raybrain.train.group import interface


def test_the_exchange_goes_by_the_interface_of_the_address_that_ray_knows() -> None:
    loopback = interface("127.0.0.1")
    assert loopback and "127.0.0.1" in {one.address for one in psutil.net_if_addrs()[loopback]}
    assert interface("127.0.1.1") is None, "an address that only the name of the machine leads to"
    assert interface("192.0.2.1") is None
