"""Ends of connections for test/support/tier-lab.ts, each ended by itself or by SIGTERM:

  serve PORT BYTES PAUSE SEED, connect PORT BYTES PAUSE SEED ADDRESS
      both send BYTES, with PAUSE seconds after each 64 KiB, read all there is, print what they sent and got
  hear PORT FILE, say PORT RATE SIZES ADDRESS BATCH
      numbered datagrams; FILE: number, kernel's time of arrival in ns, size; say prints how many it sent,
      BATCH of them, of one size, as one super-packet (UDP_SEGMENT)
  finish PORT HOW, begin PORT HOW ADDRESS
      512 KiB in small segments, a word back; then HOW is fin: `finish` closes first; or reset: by `begin`
  watch DEVICE MARK
      how many frames with MARK in them passed this device, either way
  intrude DEVICE MARK PEER OWN FOREIGN ROUNDS
      frames that nobody asked for, with MARK in them, into DEVICE, whose other end has the MAC PEER; OWN and FOREIGN:
      SOURCE:PORT:DESTINATION:PORT of datagrams of this pod's and of another's; says how many
  programs
      a line for each device of this namespace that has BPF programs by TCX: its name and how many, in and out
"""
import ctypes
import hashlib
import platform
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
    s = socket.create_server(('', port), family=socket.AF_INET6, dualstack_ipv6=True)
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
    sizes, batch = [int(size) for size in args[2].split(',')], int(args[4])
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    # Bigger than the MTU: in fragments.
    s.setsockopt(socket.IPPROTO_IP, 10, 0)  # IP_MTU_DISCOVER
    s.bind(('', 40000 + port))
    if batch > 1: s.setsockopt(socket.IPPROTO_UDP, 103, sizes[0])  # UDP_SEGMENT
    # No connect(): what an ICMP error says is not heard.
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(1))
    sent, began = 0, time.monotonic()
    while not stopping:
        due = int((time.monotonic() - began) * rate)
        # Behind by more than a moment: this process was not run, and makes no burst of it.
        if due - sent > max(1, rate // 50):
            began += (due - sent - 1) / rate
            due = sent + 1
        while batch > 1 and sent + batch <= due:
            all = b''.join(struct.pack('<Q', sent + i).ljust(sizes[0], b'x') for i in range(batch))
            s.sendto(all, (address, port))
            sent += batch
        while batch == 1 and sent < due:
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

elif what == 'programs':
    libc = ctypes.CDLL(None, use_errno=True)
    number = {'x86_64': 321, 'aarch64': 280}[platform.machine()]
    for index, name in socket.if_nameindex():
        counts = []
        for hook in (46, 47):  # BPF_TCX_INGRESS, BPF_TCX_EGRESS
            query = ctypes.create_string_buffer(struct.pack('=IIIIQIIQQQQ', index, hook, *[0] * 9), 64)
            if libc.syscall(number, 16, query, 64) != 0:  # BPF_PROG_QUERY
                raise OSError(ctypes.get_errno(), name)
            counts.append(struct.unpack_from('=I', query, 24)[0])
        if any(counts): print(name, *counts)

elif what == 'watch':
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))  # ETH_P_ALL
    s.setsockopt(socket.SOL_SOCKET, 33, 32 << 20)
    s.bind((args[0], 0))
    s.settimeout(0.05)
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(1))
    mark, n = args[1].encode(), 0
    print('ready', flush=True)
    while True:
        try:
            if mark in s.recv(1 << 17): n += 1
        except socket.timeout:
            if stopping: break
    print(n, flush=True)

elif what == 'intrude':
    device, mark = args[0], args[1].encode()
    GATEWAY, ALL = bytes.fromhex('00005e000100'), b'\xff' * 6
    peer = bytes.fromhex(args[2].replace(':', ''))
    me = bytes.fromhex('020000000001')
    own, foreign = [text.split(':') for text in args[3:5]]

    def total(data):
        n = sum(struct.unpack('!%dH' % (len(data) // 2), data))
        while n >> 16: n = (n & 0xffff) + (n >> 16)
        return ~n & 0xffff

    def ipv4(source, destination, protocol, rest, ttl=64, fragment=0, options=b'', wrong=0):
        def header(checksum):
            words = (0x40 | 5 + len(options) // 4, 0, 20 + len(options) + len(rest), 1, fragment, ttl, protocol, checksum)
            return struct.pack('!BBHHHBBH', *words) + socket.inet_aton(source) + socket.inet_aton(destination) + options
        return header(total(header(0)) ^ wrong) + rest

    def udp(ends, data=mark * 8, **more):
        source, sport, destination, dport = ends
        rest = struct.pack('!HHHH', int(sport), int(dport), 8 + len(data), 0) + data
        return ipv4(source, destination, 17, rest, **more)

    def tcp(ends, flags):
        source, sport, destination, dport = ends
        rest = struct.pack('!HHIIBBHHH', int(sport), int(dport), 1, 1, 0x50, flags, 1000, 0, 0) + mark
        return ipv4(source, destination, 6, rest)

    def arp(operation, sender, target):
        return struct.pack('!HHBBH', 1, 0x0800, 6, 4, operation) + me + socket.inet_aton(sender) + ALL + socket.inet_aton(target) + mark * 4

    inside = udp(foreign)
    tunnelled = udp(['10.9.0.1', 50000, '10.9.0.2', 6635], struct.pack('!I', 16 << 12 | 0x140) + inside)
    inward = udp(['10.9.0.2', 50000, '10.9.0.1', 6635], struct.pack('!I', 16 << 12 | 0x140) + inside)
    host = [own[0], 5000, '10.9.0.1', 7777]
    back = [own[2], own[3], own[0], own[1]]
    ip = 0x0800
    bodies = [
        (ip, udp(foreign)), (ip, udp(foreign[:2] + own[2:])), (ip, udp(own[:3] + [4242])), (ip, udp(back)),
        (ip, tcp(own, 16)), (ip, tcp(foreign, 4)), (ip, tcp(foreign, 2)),
        (ip, udp(own, mark * 1000)), (ip, udp(own, ttl=1)), (ip, udp(own, fragment=0x2000)),
        (ip, udp(own, fragment=100)), (ip, udp(own, options=b'\1\1\1\0')), (ip, udp(own, wrong=0x1111)),
        (ip, udp(own) + mark * 8), (ip, udp(host)), (ip, udp([own[0], 5000, '10.9.0.2', 7777])),
        (ip, udp([own[0], 5000, '224.0.0.1', 7777])), (ip, udp([own[0], 5000, '255.255.255.255', 7777])),
        (ip, tunnelled), (ip, inward), (0x8847, struct.pack('!I', 16 << 12 | 0x140) + inside),
        (0x0806, arp(1, own[0], '10.9.0.1')), (0x0806, arp(2, '10.9.0.2', '10.9.0.1')),
        (0x86dd, struct.pack('!IHBB', 6 << 28, 8 * len(mark), 59, 64) + bytes(31) + b'\1' + b'\xff\2' + bytes(13) + b'\1' + mark * 8),
        (0x8100, struct.pack('!HH', 5, ip) + udp(own)), (0x88cc, mark * 20), (0x88b5, mark * 400), (ip, mark * 3),
    ]
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    s.bind((device, 0))
    n = 0
    for _ in range(int(args[5])):
        for kind, body in bodies:
            for to in (GATEWAY, peer, ALL):
                s.send(to + me + struct.pack('!H', kind) + body)
                n += 1
            time.sleep(0.0005)
        # Right in every other way, but for nobody whose frames go this way.
        s.send(me + peer + struct.pack('!H', ip) + udp(own))
        n += 1
    print(n, flush=True)
