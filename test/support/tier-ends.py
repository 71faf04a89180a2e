"""Ends of connections for test/support/tier-lab.ts, each ended by itself or by SIGTERM:

  serve PORT BYTES PAUSE SEED, connect PORT BYTES PAUSE SEED ADDRESS
      both send BYTES, with PAUSE seconds after each 64 KiB, read all there is, print what they sent and got
  hear PORT FILE, say PORT RATE SIZES ADDRESS
      numbered datagrams; FILE: number, kernel's time of arrival in ns, size; say prints how many it sent
  finish PORT HOW, begin PORT HOW ADDRESS
      512 KiB in small segments, a word back; then HOW is fin: `finish` closes first; or reset: by `begin`
"""
import hashlib
import random
import signal
import socket
import struct
import sys
import threading
import time

CHUNK = 65536
stopping = []
what, args = sys.argv[1], sys.argv[2:]


def listener(port):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(('', port))
    s.listen()
    print('ready', flush=True)
    return s


def exchange(c, size, pause, seed):
    c.settimeout(40)
    sent = hashlib.sha256()

    def send():
        source, left = random.Random(seed), size
        while left > 0:
            part = source.randbytes(min(CHUNK, left))
            c.sendall(part)
            sent.update(part)
            left -= len(part)
            if pause: time.sleep(pause)
        c.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=send)
    sender.start()
    got, n = hashlib.sha256(), 0
    while True:
        part = c.recv(CHUNK)
        if not part: break
        got.update(part)
        n += len(part)
    sender.join()
    c.close()
    print(sent.hexdigest(), got.hexdigest(), n, flush=True)


if what in ('serve', 'connect'):
    port, size, pause, seed = int(args[0]), int(args[1]), float(args[2]), int(args[3])
    if what == 'serve':
        c, _ = listener(port).accept()
    else:
        c = socket.create_connection((args[4], port), 10)
    exchange(c, size, pause, seed)

elif what == 'hear':
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)  # SO_RCVBUFFORCE
    s.setsockopt(socket.SOL_SOCKET, 35, 1)  # SO_TIMESTAMPNS
    s.bind(('', int(args[0])))
    s.settimeout(0.05)
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(1))
    with open(args[1], 'wb', buffering=0) as file:
        print('ready', flush=True)
        while True:
            try:
                data, more, _, _ = s.recvmsg(65536, 256)
            except socket.timeout:
                if stopping: break
                continue
            seconds, ns = struct.unpack('qq', more[0][2])
            number, = struct.unpack('<Q', data[:8])
            file.write(struct.pack('<QQQ', number, seconds * 10**9 + ns, len(data)))

elif what == 'say':
    port, rate, address = int(args[0]), int(args[1]), args[3]
    sizes = [int(size) for size in args[2].split(',')]
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    # Bigger than the MTU: in fragments.
    s.setsockopt(socket.IPPROTO_IP, 10, 0)  # IP_MTU_DISCOVER
    s.bind(('', 40000 + port))
    # No connect(): what an ICMP error says is not heard.
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(1))
    sent, began = 0, time.monotonic()
    while not stopping:
        due = int((time.monotonic() - began) * rate)
        # Behind by more than a moment: this process was not run, and makes no burst of it.
        if due - sent > max(1, rate // 50):
            began += (due - sent - 1) / rate
            due = sent + 1
        while sent < due:
            s.sendto(struct.pack('<Q', sent).ljust(sizes[sent % len(sizes)], b'x'), (address, port))
            sent += 1
        time.sleep(0.0005)
    print(sent)

elif what in ('finish', 'begin'):
    port, how, size = int(args[0]), args[1], 512 * 1024
    if what == 'finish':
        s = listener(port)
        c, _ = s.accept()
    else:
        c = socket.socket()
        c.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        c.bind(('', 30000 + port))
        c.settimeout(10)
        c.connect((args[2], port))
    c.settimeout(10)
    left = size
    if what == 'begin':
        # In pieces that leave as they are.
        c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while left > 0:
            c.sendall(b'y' * 512)
            left -= 512
            if left % 8192 == 0: time.sleep(0.002)
        word = c.recv(4)
        if how == 'reset':
            c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        else:
            word += c.recv(1)
        c.close()
        print(word.decode(), flush=True)
    else:
        while left > 0:
            part = c.recv(min(left, CHUNK))
            if not part: break
            left -= len(part)
        c.sendall(b'done')
        if how == 'fin': c.shutdown(socket.SHUT_WR)
        try:
            end = 'end' if c.recv(1) == b'' else 'more'
        except ConnectionResetError:
            end = 'reset'
        c.close()
        print(left, end, flush=True)
