"""Serves pages of records that differ in their first one only, so that the server takes next to nothing: pages.py RECORDS COLUMNS.

Prints its port. GET /records?page=N, from 1, answers {"data": [...], "total": RECORDS}, a page behind the last one 404.
"""
import re
import socketserver
import sys

records, columns = int(sys.argv[1]), int(sys.argv[2])
size = max(1, min(1000, 12_000 // columns))
CELLS = ['{n}', '{n}.25', '"name {n}"', '"2026-01-02T03:04:05.678Z"', 'true', 'null', '"user{n}@example.com"', '-{n}']


def record(n):
    cells = [f'"id":"{n:012}"'] + [f'"field_{c}":{CELLS[c % len(CELLS)].format(n=n * 31 + c)}' for c in range(1, columns)]
    return ("{" + ",".join(cells) + "}").encode()


rest = [b"," + record(n) for n in range(1, size)]
end = b'],"total":%d}' % records


class Pages(socketserver.BaseRequestHandler):
    def handle(self):
        while head := self.request.recv(65536):
            while b"\r\n\r\n" not in head:
                head += self.request.recv(65536)
            first = (int(re.search(rb"page=(\d+)", head)[1]) - 1) * size
            if first >= records:
                self.request.sendall(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
                continue
            body = b"".join([b'{"data":[', record(first), *rest[: min(size, records - first) - 1], end])
            self.request.sendall(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body
            )


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True


with Server(("127.0.0.1", 0), Pages) as server:
    print(server.server_address[1], flush=True)
    server.serve_forever()
