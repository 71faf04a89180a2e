"""A far end that speaks MPLSoUDP and MPLSoGRE by scapy alone: another mind's reading of the RFCs.

far-end.py INTERFACE NODE_MAC NODE_IP POD LABEL: answers echo requests that come in tunnels to 10.9.0.3 (UDP) and
10.9.0.4 (GRE), for 10.8.1.3 and 10.8.1.4 behind them; asks the pod through both; prints one JSON line at SIGTERM.
"""
import json
import select
import signal
import sys
import time

from scapy.all import GRE, ICMP, IP, UDP, Ether, conf, raw
from scapy.contrib.mpls import MPLS

interface, node_mac, node_ip, pod, label = sys.argv[1:6]
FAR = {"10.9.0.3": "udp", "10.9.0.4": "gre"}
TENANT = {"10.9.0.3": "10.8.1.3", "10.9.0.4": "10.8.1.4"}
MAC = "02:00:0a:09:00:02"
EXPECTED_LABEL = {"10.9.0.3": 103, "10.9.0.4": 104}
seen = {name: {"requests": 0, "answers": 0, "wrong": []} for name in FAR.values()}
stopping = []
signal.signal(signal.SIGTERM, lambda *_: stopping.append(1))
socket = conf.L2socket(iface=interface, promisc=True)


def outer(far):
    frame = Ether(src=MAC, dst=node_mac) / IP(src=far, dst=node_ip, ttl=64)
    if FAR[far] == "udp":
        return frame / UDP(sport=50000, dport=6635, chksum=0)
    return frame / GRE(proto=0x8847)


def send(far, inner):
    socket.send(Ether(raw(outer(far) / MPLS(label=int(label), s=1, ttl=63) / inner)))


def take(frame):
    if IP not in frame or frame[Ether].dst != MAC or frame[IP].dst not in FAR:
        return
    far = frame[IP].dst
    told = seen[FAR[far]]
    head = frame[IP]
    if FAR[far] == "udp":
        if UDP not in head or head[UDP].dport != 6635:
            return
        if not 49152 <= head[UDP].sport <= 65535:
            told["wrong"].append(f"source port {head[UDP].sport}")
        if head[UDP].chksum != 0:
            told["wrong"].append(f"checksum {head[UDP].chksum}")
        body = raw(head[UDP].payload)
    else:
        if head.proto != 47 or raw(head.payload)[:4] != b"\x00\x00\x88\x47":
            told["wrong"].append("GRE header")
            return
        body = raw(head.payload)[4:]
    entry = MPLS(body[:4])
    if entry.label != EXPECTED_LABEL[far] or entry.s != 1:
        told["wrong"].append(f"label {entry.label} s {entry.s}")
    inner = IP(body[4:])
    wanted = inner.chksum
    del inner.chksum
    if IP(raw(inner)).chksum != wanted:
        told["wrong"].append("inner checksum")
    if entry.ttl != inner.ttl:
        told["wrong"].append(f"TTL {entry.ttl} of the label, {inner.ttl} inside")
    if ICMP not in inner or inner.dst != TENANT[far]:
        told["wrong"].append(inner.summary())
        return
    if inner[ICMP].type == 8:
        told["requests"] += 1
        reply = IP(src=inner.dst, dst=inner.src, ttl=64) / ICMP(type=0, id=inner[ICMP].id, seq=inner[ICMP].seq)
        send(far, reply / raw(inner[ICMP].payload))
    elif inner[ICMP].type == 0:
        told["answers"] += 1


print("ready", flush=True)
asked, last = 0, 0.0
while not stopping:
    if select.select([socket], [], [], 0.005)[0]:
        frame = socket.recv()
        if frame is not None:
            take(frame)
    if asked < 20 and time.monotonic() - last > 0.05:
        last = time.monotonic()
        asked += 1
        for far in FAR:
            send(far, IP(src=TENANT[far], dst=pod, ttl=64) / ICMP(type=8, id=7, seq=asked) / (b"x" * 56))
print(json.dumps(seen), flush=True)
