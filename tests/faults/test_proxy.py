"""The proxy does what it is asked to, and counts it: proofs are only as good as the faults they make."""

import socket
import threading
from collections.abc import Iterator

import pytest

from tests.faults.proxy import Proxy, Towards


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that repeats what it is told."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        ended = threading.Event()

        def answer(one: socket.socket) -> None:
            with one:
                try:
                    while said := one.recv(4096):
                        one.sendall(said)
                except OSError:
                    return

        def accept() -> None:
            while not ended.is_set():
                try:
                    one, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=answer, args=(one,), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        ended.set()
        socket.create_connection(server.getsockname()).close()
        thread.join(5)


@pytest.fixture
def proxy(echo: int) -> Iterator[Proxy]:
    with Proxy(echo) as proxy:
        yield proxy


def client(proxy: Proxy, seconds: float = 5.0) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=seconds)


def until_closed(one: socket.socket) -> bytes:
    """What comes until the other end closes or resets."""
    heard = b""
    try:
        while piece := one.recv(4096):
            heard += piece
    except ConnectionError:
        pass
    return heard


def test_it_passes_on_what_is_said(proxy: Proxy) -> None:
    with client(proxy) as one:
        one.sendall(b"hello")
        assert one.recv(100) == b"hello"
    assert proxy.counts["accepted"] == 1


@pytest.mark.parametrize("towards", list(Towards))
def test_it_cuts_behind_a_byte(proxy: Proxy, towards: Towards) -> None:
    proxy.cut_after(4, towards)
    with client(proxy) as one:
        one.sendall(b"hello")
        assert until_closed(one) == (b"hell" if towards is Towards.CLIENT else b"")
    assert (proxy.counts["cut"], proxy.planned) == (1, 0)
    with client(proxy) as another:
        another.sendall(b"hello")
        assert another.recv(100) == b"hello", "a cut happens once"


def test_it_cuts_before_the_client_learns_the_answer(proxy: Proxy) -> None:
    proxy.cut_at(b"stored", Towards.CLIENT)
    with client(proxy) as one:
        one.sendall(b"sto")
        assert one.recv(100) == b"sto"
        one.sendall(b"red")
        assert until_closed(one) == b""
    assert proxy.counts["cut"] == 1


def test_it_is_silent_until_it_heals(proxy: Proxy) -> None:
    with client(proxy) as early:
        early.sendall(b"a")
        assert early.recv(1) == b"a"
        proxy.silence()
        with client(proxy) as late:
            for one in (early, late):
                one.sendall(b"hello")
                one.settimeout(0.1)
                with pytest.raises(TimeoutError):
                    one.recv(100)
            proxy.heal()
            for one in (early, late):
                one.settimeout(5)
                assert one.recv(100) == b"hello"
    assert proxy.counts["held"] == 1


@pytest.mark.parametrize("towards", list(Towards))
def test_what_it_drops_never_comes(proxy: Proxy, towards: Towards) -> None:
    with client(proxy, 0.1) as one:
        proxy.drop(towards)
        one.sendall(b"hello")
        with pytest.raises(TimeoutError):
            one.recv(100)
        proxy.heal()
        one.settimeout(5)
        assert until_closed(one) == b""
    assert proxy.counts["dropped"] == 5


def test_it_refuses_at_its_port_and_listens_there_again(proxy: Proxy) -> None:
    with client(proxy) as one:
        one.sendall(b"a")
        assert one.recv(1) == b"a"
        proxy.refuse()
        assert until_closed(one) == b""
        with pytest.raises(ConnectionRefusedError):
            client(proxy)
    proxy.heal()
    with client(proxy) as again:
        again.sendall(b"hello")
        assert again.recv(100) == b"hello"


def test_it_cuts_everybody_and_delays(proxy: Proxy) -> None:
    with client(proxy) as one, client(proxy) as two:
        for each in (one, two):
            each.sendall(b"a")
            assert each.recv(1) == b"a"
        assert proxy.cut() == 2
        assert until_closed(one) + until_closed(two) == b""
    proxy.delay(0.01)
    with client(proxy) as late:
        late.sendall(b"hello")
        assert late.recv(100) == b"hello"
    assert proxy.counts["delayed"] == 2
