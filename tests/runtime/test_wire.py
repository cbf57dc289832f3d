import json
import socket
import struct
import threading

import pytest

from sentiment_train.runtime.wire import Closed, Connection, Inbox


@pytest.fixture
def tcp():
    """Both ends of a TCP connection: one of ours, one plain socket."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        plain = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
    connection = Connection(accepted)
    yield connection, plain
    connection.close()
    plain.close()


def framed(message: bytes) -> bytes:
    return struct.pack(">I", len(message)) + message


def test_messages_arrive_whole_and_in_order_however_they_are_cut(tcp):
    connection, plain = tcp
    messages = [{"kind": "a", "value": i, "text": "ü" * i * 50} for i in range(20)]
    content = b"".join(framed(json.dumps(m).encode()) for m in messages)

    def send_in_pieces():
        for start in range(0, len(content), 7):
            plain.sendall(content[start : start + 7])

    sender = threading.Thread(target=send_in_pieces)
    sender.start()
    found = []
    while len(found) < len(messages):
        found += connection.receive()
    sender.join()
    assert found == messages


def test_what_was_sent_is_read_even_after_the_sender_is_gone(tcp):
    connection, plain = tcp
    other = Connection(plain)
    other.send({"kind": "ended", "sentence": "x" * 100_000})
    other.finish_sending()
    found = []

    def read_all():
        while True:
            found.extend(connection.receive())

    with pytest.raises(Closed, match="closed by the other side"):
        read_all()
    assert [len(message["sentence"]) for message in found] == [100_000]


def test_what_came_together_with_the_first_message_is_not_lost(tcp):
    connection, plain = tcp
    plain.sendall(framed(b'{"kind": "hello"}') + framed(b'{"kind": "end"}'))
    plain.close()
    assert connection.receive_first(10) == {"kind": "hello"}
    assert connection.receive() == [{"kind": "end"}]


@pytest.mark.parametrize(
    "junk",
    [
        b"GET / HTTP/1.1\r\nHost: worker\r\n\r\n",
        bytes.fromhex("16030100c8010000c40303"),  # how TLS begins
        b"SSH-2.0-OpenSSH_9.6\r\n",
        framed(b"no JSON"),
        framed(b"[1, 2]"),
        framed(b"\xff\xfe"),
    ],
    ids=["http", "tls", "ssh", "text", "list", "bytes"],
)
def test_what_is_no_message_closes_the_connection(tcp, junk):
    connection, plain = tcp
    plain.sendall(junk)
    with pytest.raises(Closed, match="not a worker"):
        connection.receive_first(10)


def test_the_first_message_is_not_waited_for_for_ever(tcp):
    connection, plain = tcp
    plain.sendall(framed(b'{"kind": "half"}')[:9])
    with pytest.raises(Closed, match="no answer"):
        connection.receive_first(0.05)


def test_sending_to_nobody_is_noticed(tcp):
    connection, plain = tcp
    plain.close()

    def send_much():
        for _ in range(1000):
            connection.send({"kind": "alive", "text": "x" * 1000})

    with pytest.raises(Closed):
        send_much()


def test_an_inbox_has_the_messages_of_all_connections_and_their_ends(tcp):
    connection, plain = tcp
    inbox, other = Inbox(), Connection(plain)
    inbox.read(connection, 3)
    other.send({"kind": "alive"})
    assert inbox.get(10) == ("message", 3, connection, {"kind": "alive"})
    plain.close()
    assert inbox.get(10) == ("message", 3, connection, None)
