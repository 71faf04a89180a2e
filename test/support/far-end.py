"""Far ends that speak MPLSoUDP and MPLSoGRE by scapy alone: another mind's reading of the RFCs.

far-end.py INTERFACE JSON, with {"mac", "node_mac", "rounds", "ends": [{"name", "encap": "udp" | "gre", "far", "node",
"tenant", "pod", "label", "far_label"}]}: each end has an outer address `far`, of either family, and a tenant behind it,
of either family. Answers echo requests that come in tunnels; asks the pod through each, by `label`, `rounds` times;
over UDP every second time with an outer checksum. Prints "ready", and one JSON line at SIGTERM: what each saw.
"""
import json
import select
import signal
import sys
import time

from scapy.all import GRE, ICMP, IP, UDP, Ether, ICMPv6EchoReply, ICMPv6EchoRequest, IPv6, conf, raw
from scapy.contrib.mpls import MPLS

interface, plan = sys.argv[1], json.loads(sys.argv[2])
ends = {end["far"]: end for end in plan["ends"]}
seen = {end["name"]: {"requests": 0, "answers": 0, "ports": [], "wrong": []} for end in plan["ends"]}
stopping = []
signal.signal(signal.SIGTERM, lambda *_: stopping.append(1))
socket = conf.L2socket(iface=interface, promisc=True)


def ip(source, destination, hops=64):
    if ":" in source:
        return IPv6(src=source, dst=destination, hlim=hops)
    return IP(src=source, dst=destination, ttl=hops)


def send(end, inner, with_checksum=False):
    frame = Ether(src=plan["mac"], dst=plan["node_mac"]) / ip(end["far"], end["node"])
    if end["encap"] == "udp":
        frame /= UDP(sport=50000, dport=6635, chksum=None if with_checksum else 0)
    else:
        frame /= GRE(proto=0x8847)
    # Whole here: scapy would count the checksum of a frame it then builds differently.
    body = raw(MPLS(label=end["label"], s=1, ttl=63) / inner)
    socket.send(Ether(raw(frame / body)))


def echo(end, request, number, identifier, data):
    to_pod = ip(end["tenant"], end["pod"])
    if ":" in end["tenant"]:
        kind = ICMPv6EchoRequest if request else ICMPv6EchoReply
        return to_pod / kind(id=identifier, seq=number, data=data)
    return to_pod / ICMP(type=8 if request else 0, id=identifier, seq=number) / data


def unwrap(end, head, told):
    """What is behind the label, after complaints about all before it; None: not ours to read."""
    body = raw(head.payload)
    if end["encap"] == "udp":
        if UDP not in head or head[UDP].dport != 6635:
            return None
        if not 49152 <= head[UDP].sport <= 65535:
            told["wrong"].append(f"source port {head[UDP].sport}")
        if head[UDP].sport not in told["ports"]:
            told["ports"].append(head[UDP].sport)
        if head[UDP].chksum != 0:
            told["wrong"].append(f"checksum {head[UDP].chksum}")
        if head[UDP].len != len(body):
            told["wrong"].append(f"UDP length {head[UDP].len} of {len(body)}")
        body = body[8:]
    else:
        protocol = head.nh if isinstance(head, IPv6) else head.proto
        if protocol != 47 or body[:4] != b"\x00\x00\x88\x47":
            told["wrong"].append("GRE header")
            return None
        body = body[4:]
    entry = MPLS(body[:4])
    if entry.label != end["far_label"] or entry.s != 1:
        told["wrong"].append(f"label {entry.label} s {entry.s}")
    six = ":" in end["tenant"]
    inner = IPv6(body[4:]) if six else IP(body[4:])
    if entry.ttl != (inner.hlim if six else inner.ttl):
        told["wrong"].append(f"TTL {entry.ttl} of the label, another inside")
    return inner


def checksums_hold(inner):
    """Made again by scapy, they are what they were."""
    again = inner.copy()
    for layer, field in ((IP, "chksum"), (ICMP, "chksum"), (ICMPv6EchoRequest, "cksum"), (ICMPv6EchoReply, "cksum")):
        if layer in again:
            delattr(again[layer], field)
    return raw(again) == raw(inner)


def take(frame):
    if Ether not in frame or frame[Ether].dst != plan["mac"] or frame[Ether].src != plan["node_mac"]:
        return
    head = frame[Ether].payload
    if not isinstance(head, (IP, IPv6)) or head.dst not in ends:
        return
    end = ends[head.dst]
    told = seen[end["name"]]
    inner = unwrap(end, head, told)
    if inner is None:
        return
    if not checksums_hold(inner):
        told["wrong"].append("checksum inside")
    if inner.dst != end["tenant"] or inner.src != end["pod"]:
        told["wrong"].append(inner.summary())
    elif ICMPv6EchoRequest in inner:
        asked = inner[ICMPv6EchoRequest]
        told["requests"] += 1
        send(end, echo(end, False, asked.seq, asked.id, asked.data))
    elif ICMP in inner and inner[ICMP].type == 8:
        told["requests"] += 1
        send(end, echo(end, False, inner[ICMP].seq, inner[ICMP].id, raw(inner[ICMP].payload)))
    elif ICMPv6EchoReply in inner or (ICMP in inner and inner[ICMP].type == 0):
        told["answers"] += 1
    else:
        told["wrong"].append(inner.summary())


print("ready", flush=True)
asked, last = 0, 0.0
while not stopping:
    if select.select([socket], [], [], 0.005)[0]:
        frame = socket.recv()
        if frame is not None:
            take(frame)
    if asked < plan["rounds"] and time.monotonic() - last > 0.05:
        last = time.monotonic()
        asked += 1
        for end in plan["ends"]:
            # One connection each: an identifier of its own.
            identifier = 100 + plan["ends"].index(end)
            send(end, echo(end, True, asked, identifier, b"x" * 56), with_checksum=asked % 2 == 0)
print(json.dumps(seen), flush=True)
