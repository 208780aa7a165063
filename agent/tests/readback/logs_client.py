"""A client of the Logs API, written from its documentation alone: only the standard library, no code of the agent.

`logs_client.py BASE KEY SECRET DOMAIN FOREIGN START END FOLDER [small]`: lists a domain with signatures of both versions, downloads
all its files into FOLDER, tries what must be refused, and prints one line of JSON with what it found. `small`: no
file is so large that a download of it stays open.
"""
import gzip
import hashlib
import hmac
import http.client
import json
import os
import random
import sys
import time
import zlib
from datetime import datetime, timedelta, timezone
from urllib.parse import urlsplit

BASE, KEY, SECRET, DOMAIN, FOREIGN, START, END, FOLDER = sys.argv[1:9]
LIST = "/v1.1/log/list"


def connect(base=BASE):
    where = urlsplit(base)
    return http.client.HTTPConnection(where.hostname, where.port, timeout=20)


def signed(version, method, uri, body, date=None, nonce=None, secret=SECRET, host_line="host:{}"):
    date = date or datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    nonce = nonce or str(random.randrange(10**17, 10**18))
    headers = {"Content-Type": "application/json; charset=utf-8", "X-SFD-Date": date, "X-SFD-Nonce": nonce}
    if version == 1:
        text = "\n".join([method, uri, date, nonce, KEY, body])
    else:
        headers["X-SFD-Signature-Version"] = "2"
        own = sorted((name.lower(), value) for name, value in headers.items() if name.lower().startswith("x-sfd-"))
        lines = [host_line.format(urlsplit(BASE).netloc)] + [f"{name}:{value}" for name, value in own]
        text = method + "\n" + uri + "\n" + "".join(line + "\n" for line in lines) + "\n" + KEY + "\n" + body
    mac = hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
    return {**headers, "Authorization": f"HMAC-SHA256 {KEY}:{mac}"}


def ask(method, target, body=None, headers=None):
    """Status, headers and body; waits when it is told to."""
    while True:
        connection = connect()
        connection.request(method, target, body, headers or {})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        if answer.status != 429:
            return answer.status, answer.headers, content
        time.sleep(int(answer.headers["Retry-After"]))


def body_of(domain):
    return json.dumps({"domains": [domain], "startTime": START, "endTime": END})


def list_files(domain=DOMAIN, version=1, **how):
    body = body_of(domain)
    status, _, content = ask("POST", LIST, body, signed(version, "POST", LIST, body, **how))
    return status, json.loads(content)


def check(what, found, expected):
    if found != expected:
        sys.exit(f"{what}: {found!r}, not {expected!r}")


def target(url):
    parts = urlsplit(url)
    return parts.path + "?" + parts.query


def listings():
    status, listed = list_files()
    check("a list of version 1", status, 200)
    for host_line in ("host:{}", "{}"):
        status, other = list_files(version=2, host_line=host_line)
        check("a list of version 2", status, 200)
        names = [[value["name"] for slot in one[0]["logs"] for value in slot["values"]] for one in (listed, other)]
        check("both lists", names[0], names[1])
    check("its domain", listed[0]["domain"], DOMAIN)
    return [(slot["timestamp"], value) for slot in listed[0]["logs"] for value in slot["values"]]


def refusals(files):
    body = body_of(DOMAIN)
    check("a wrong signature", list_files(secret=SECRET + "x")[0], 401)
    for hours in (-2, 2):
        date = (datetime.now(timezone.utc) + timedelta(hours=hours)).strftime("%Y%m%dT%H%M%SZ")
        check("a wrong date", list_files(date=date)[0], 401)
    headers = signed(1, "POST", LIST, body)
    check("a request", ask("POST", LIST, body, headers)[0], 200)
    check("the same again", ask("POST", LIST, body, headers)[0], 401)
    status, said = list_files(FOREIGN)
    check("a foreign domain", (status, said["code"]), (404, "Domain.NotFound"))
    good = target(files[0][1]["url"])
    path, query = good.split("?")
    check("a file without a signature", ask("GET", path)[0], 403)
    last = good[-1]
    check("another signature", ask("GET", good[:-1] + ("0" if last != "0" else "1"))[0], 403)
    check("a foreign file", ask("GET", path.replace(DOMAIN, FOREIGN) + "?" + query)[0], 403)
    day = path.rsplit("/", 1)[0]
    for way in (
        f"/..{path}",
        f"{day}/../{path.rsplit('/', 2)[1]}/{path.rsplit('/', 1)[1]}",
        f"{day}/..%2f..%2f..%2fkeys.db",
        "/%2e%2e/keys.db",
        "/..%2fledger.db",
        "/%2e%2e%2fkeys.db",
        f"/{path}",
        path.replace("/", "%2f").replace("%2f", "/", 1),
        path.replace("/", "\\").replace("\\", "/", 1),
        path + "%00",
    ):
        check(way, ask("GET", way + "?" + query)[0], 404)
    for way in ("/metrics", "/status", "/healthz", "/client/v4/accounts/local/logpush/jobs"):
        check(way, ask("GET", way)[0], 404)


def third_download(files):
    """Two large downloads are open; the third is refused, until one has ended."""
    largest = target(max(files, key=lambda file: file[1]["size"])[1]["url"])
    time.sleep(1.1)
    opened = []
    for _ in range(2):
        connection = connect()
        connection.request("GET", largest)
        opened.append((connection, connection.getresponse()))
    check("two downloads", [answer.status for _, answer in opened], [200, 200])
    connection = connect()
    connection.request("GET", largest)
    answer = connection.getresponse()
    check("a third download", (answer.status, answer.headers["Retry-After"]), (429, "1"))
    answer.read()
    contents = [answer.read() for _, answer in opened]
    check("both", contents[0] == contents[1], True)
    for connection, _ in opened:
        connection.close()


def download(url, size):
    """In two parts, as after a break: the second by Range and If-Range."""
    half = size // 2
    status, headers, first = ask("GET", target(url), headers={"Range": f"bytes=0-{half - 1}"})
    check("a part", (status, len(first)), (206, half))
    status, again, rest = ask("GET", target(url), headers={"Range": f"bytes={half}-", "If-Range": headers["ETag"]})
    check("the rest", (status, again["ETag"]), (206, headers["ETag"]))
    status, head, nothing = ask("HEAD", target(url))
    check("its head", (status, head["Content-Length"], nothing), (200, str(size), b""))
    check("its type", (head["Content-Type"], head.get("Content-Encoding")), ("application/gzip", None))
    return first + rest


def main():
    files = listings()
    refusals(files)
    if sys.argv[9:] != ["small"]:
        third_download(files)
    found = []
    for timestamp, value in files:
        packed = download(value["url"], value["size"])
        check("its size", len(packed), value["size"])
        lines = gzip.decompress(packed).splitlines()
        stamp = timestamp.translate(str.maketrans("", "", "-:TZ"))
        check("its name", value["name"].split("-")[0], stamp)
        with open(os.path.join(FOLDER, value["name"]), "wb") as file:
            file.write(packed)
        found.append({"name": value["name"], "lines": len(lines), "crc32": zlib.crc32(packed)})
    print(json.dumps({"files": found, "lines": sum(file["lines"] for file in found)}))


main()
