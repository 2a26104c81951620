"""A broker that plays what Mosquitto cannot: it answers what the test tells it to."""

import socket
import threading

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK = 0x10, 0x20, 0x30, 0x40, 0x80, 0x90
UNSUBSCRIBE, PINGREQ, PINGRESP, DISCONNECT = 0xA0, 0xC0, 0xD0, 0xE0


def packet(kind, body):
    size, length = len(body), b""
    while True:
        length += bytes([size % 128 | (0x80 if size > 127 else 0)])
        size //= 128
        if not size:
            return bytes([kind]) + length + body


def text(words):
    data = words.encode()
    return len(data).to_bytes(2, "big") + data


def connack(reason=0, properties=b""):
    """MQTT 5"""
    return packet(CONNACK, bytes([0, reason, len(properties)]) + properties)


def server_reference(words):
    return b"\x1c" + text(words)


class Scripted:
    """Speaks MQTT 5 to one client after the other. `connack` is the answer to CONNECT; `answers`
    goes after it; whoever gets a refusal or a DISCONNECT is hung up on."""

    def __init__(self, answer=None, suback=1):
        self.answer = answer or connack()
        self.farewell = b""  # sent after the answer, then the connection ends
        self.suback = suback
        self.connects = 0
        self.topics = []  # of what was published, in order
        self.changed = threading.Condition()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, client):
        with client, client.makefile("rb") as stream:
            try:
                while self._answer(client, stream):
                    pass
                # what is left unread becomes a reset, which may overtake the last word
                client.shutdown(socket.SHUT_WR)
                client.settimeout(5)
                while client.recv(4096):
                    pass
            except (OSError, IndexError):
                pass

    def _read(self, stream):
        kind = stream.read(1)[0]
        length = shift = 0
        while True:
            byte = stream.read(1)[0]
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return kind, stream.read(length)

    def _answer(self, client, stream):
        kind, body = self._read(stream)
        if kind & 0xF0 == CONNECT:
            with self.changed:
                self.connects += 1
                self.changed.notify_all()
            client.sendall(self.answer + self.farewell)
            return not self.farewell and self.answer[3] == 0
        if kind & 0xF0 == PUBLISH:
            size = int.from_bytes(body[:2], "big")
            with self.changed:
                self.topics.append(body[2:2 + size].decode())
                self.changed.notify_all()
            if kind & 6:
                client.sendall(packet(PUBACK, body[2 + size:4 + size]))
        elif kind & 0xF0 == SUBSCRIBE:
            client.sendall(packet(SUBACK, body[:2] + bytes([0, self.suback])))
        elif kind & 0xF0 == UNSUBSCRIBE:
            client.sendall(packet(0xB0, body[:2] + bytes([0, 0])))
        elif kind == PINGREQ:
            client.sendall(packet(PINGRESP, b""))
        return kind != DISCONNECT

    def wait(self, condition, timeout, what):
        with self.changed:
            assert self.changed.wait_for(condition, timeout), f"not within {timeout:g} s: {what}"

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
