"""Copies what a container of Azurite holds below a prefix into a directory: azure.py SETTINGS-AS-JSON PREFIX DIRECTORY.

Not the daemon's client, so that a test judges by other eyes. What was begun and never committed is listed, too, as an empty file.
"""

import base64
import email.utils
import hashlib
import hmac
import json
import pathlib
import sys
import urllib.error
import urllib.parse
import urllib.request
import xml.etree.ElementTree


def ask(azure, path, query):
    """The body of a GET, signed with the account's key (Shared Key, service version 2021-08-06)."""
    date, version, account = email.utils.formatdate(usegmt=True), "2021-08-06", azure["account"]
    lines = "".join(f"\n{key}:{query[key]}" for key in sorted(query))
    place = urllib.parse.urlsplit(azure["endpoint"]).path + path
    text = "GET" + "\n" * 12 + f"x-ms-date:{date}\nx-ms-version:{version}\n/{account}{place}{lines}"
    key = base64.b64decode(azure["credentials"]["key"])
    sign = base64.b64encode(hmac.new(key, text.encode(), hashlib.sha256).digest()).decode()
    headers = {"x-ms-date": date, "x-ms-version": version, "Authorization": f"SharedKey {account}:{sign}"}
    url = f"{azure['endpoint']}{path}" + (f"?{urllib.parse.urlencode(query)}" if query else "")
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20) as answer:
        return answer.read()


def main():
    azure, prefix, to = json.loads(sys.argv[1])["azure"], sys.argv[2], pathlib.Path(sys.argv[3])
    query = {"restype": "container", "comp": "list", "prefix": f"{prefix}/", "include": "uncommittedblobs"}
    while True:
        page = xml.etree.ElementTree.fromstring(ask(azure, f"/{azure['container']}", query))
        for blob in page.iter("Blob"):
            name = blob.findtext("Name")
            file = to / name.removeprefix(f"{prefix}/")
            file.parent.mkdir(parents=True, exist_ok=True)
            try:
                file.write_bytes(ask(azure, f"/{azure['container']}/{urllib.parse.quote(name)}", {}))
            except urllib.error.HTTPError as error:
                if error.code != 404:
                    raise
                file.write_bytes(b"")
        marker = page.findtext("NextMarker")
        if not marker:
            return
        query["marker"] = marker


main()
