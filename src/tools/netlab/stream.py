"""One end of a measurement: round trips of a byte, then a stream.

    stream.py serve ADDRESS          says "ready"
    stream.py ask ADDRESS BYTES      says seconds of a round trip, bytes/s
"""

import socket
import sys
import time

PORT = 7700
NUM_ROUND_TRIPS = 20
CHUNK_BYTES = 65536


def _serve(address):
    """Give bytes back, then take a stream and say when it was there."""
    with socket.create_server((address, PORT)) as listener:
        print("ready", flush=True)
        connection, _ = listener.accept()
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(NUM_ROUND_TRIPS):
            connection.sendall(connection.recv(1))
        total = int(connection.recv(32).decode())
        connection.sendall(b"1")
        _take(connection, total // 3)
        begin = time.monotonic()
        _take(connection, total - total // 3)
        rate = (total - total // 3) / (time.monotonic() - begin)
        connection.sendall(f"{rate}".encode())


def _take(connection, num_bytes):
    while num_bytes > 0:
        num_bytes -= len(connection.recv(min(CHUNK_BYTES, num_bytes)))


def _ask(address, num_bytes):
    with socket.create_connection((address, PORT)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        times = []
        for _ in range(NUM_ROUND_TRIPS):
            begin = time.monotonic()
            connection.sendall(b"1")
            connection.recv(1)
            times.append(time.monotonic() - begin)
        connection.sendall(str(num_bytes).encode())
        connection.recv(1)
        connection.sendall(bytes(num_bytes))
        rate = connection.recv(64).decode()
    print(sorted(times)[len(times) // 2], rate)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        _serve(sys.argv[2])
    else:
        _ask(sys.argv[2], int(sys.argv[3]))
