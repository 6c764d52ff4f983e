"""Differential test of the HTTP codec: what we accept, python3-h11 accepts with the same meaning.

usage: http_peer.py PATH-OF-HTTP_PEER [requests] [seed]. Skipped, and said so, where h11 is not installed.
"""
import random
import struct
import subprocess
import sys

try:
    import h11
except ImportError:
    print("1..0 # SKIP python3-h11 is not installed")
    sys.exit(0)

HOST = b"Host: x\r\n"
SEEDS = [
    b"GET / HTTP/1.1\r\n" + HOST + b"\r\n",
    b"POST /a?b HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\nabc",
    b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nT: u\r\n\r\n",
    b"POST / HTTP/1.1\r\n" + HOST + b"Connection: close\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\na",
    b"GET / HTTP/1.0\r\nConnection: keep-alive\r\nA: b\r\n\r\n",
    b"GET /1 HTTP/1.1\r\n" + HOST + b"\r\nGET /2 HTTP/1.1\r\n" + HOST + b"\r\n",
]
BITS = [b"\r", b"\n", b"\r\n", b" ", b"\t", b":", b"\0", b"0", b"5", b",", b";", b"chunked", b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n", b"Host: y\r\n", b"x", b"+", b"0x", b"\x0b", b"\x80", b"HTTP/1.1", b"%", b'"']


def mutate(rng):
    b = bytearray(rng.choice(SEEDS))
    for _ in range(rng.randint(1, 3)):
        at, how = rng.randrange(len(b) + 1), rng.random()
        if how < 0.5:
            b[at:at] = rng.choice(BITS)
        elif how < 0.75:
            del b[at:at + rng.randint(1, 3)]
        else:
            b[at:at + 1] = bytes([rng.randrange(256)])
    return bytes(b)


def theirs(request):
    c = h11.Connection(h11.SERVER, max_incomplete_event_size=100000)
    c.receive_data(request)
    try:
        head = c.next_event()
        if not isinstance(head, h11.Request):
            return ("other",)
        body = b""
        while True:
            e = c.next_event()
            if isinstance(e, h11.Data):
                body += bytes(e.data)
            else:
                done = isinstance(e, h11.EndOfMessage)
                rest = len(c.trailing_data[0]) if done else 0
                return ("ok", head.method, head.target, len(head.headers), body, done, rest)
    except h11.RemoteProtocolError as e:
        return ("bad", str(e))


def ours(line):
    f = line.split()
    if f[0] != "ok":
        return (f[0],)
    raw = [b"" if x == "-" else bytes.fromhex(x) for x in (f[1], f[2], f[4])]
    return ("ok", raw[0], raw[1], int(f[3]), raw[2], f[5] == "1", int(f[6]))


def main():
    count, seed = int((sys.argv[2:3] or ["20000"])[0]), int((sys.argv[3:4] or ["1"])[0])
    rng = random.Random(seed)
    requests = [mutate(rng) for _ in range(count)]
    data = b"".join(struct.pack("<I", len(r)) + r for r in requests)
    out = subprocess.run([sys.argv[1]], input=data, stdout=subprocess.PIPE, check=True).stdout.decode()
    lines = out.splitlines()
    assert len(lines) == count, "%d answers to %d requests" % (len(lines), count)
    accepted = stricter = faults = 0
    for request, line in zip(requests, lines):
        a, b = ours(line), theirs(request)
        stricter += a[0] == "bad" and b[0] == "ok"
        if a[0] != "ok":
            continue
        accepted += 1
        # h11 also reads trailers as framing; here they are dropped unread, so they cannot mean anything.
        if a != b and not (b[0] == "bad" and "Transfer-Encoding" in b[1] and b"\r\n0\r\n" in request):
            faults += 1
            print("# %r\n#   ours   %r\n#   theirs %r" % (request, a, b))
    print("1..1\n%sok 1 - %d requests, %d accepted by both, %d refused by us alone"
          % ("not " if faults or not accepted else "", count, accepted, stricter))
    return 1 if faults or not accepted else 0


if __name__ == "__main__":
    sys.exit(main())
