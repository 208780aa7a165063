"""What the read-back scripts share: they store what a client gave them and count its lines with Python's own decoders."""
import gzip
import json
import os
import re


class Count:
    """Objects below a folder, and what their lines say."""

    def __init__(self, folder):
        self.folder = folder
        self.objects = self.lines = 0
        self.numbers = set()

    def take(self, name, stored, decoded=None):
        """One object as stored; `decoded`: its lines, when the name does not tell how to decode them."""
        path = os.path.join(self.folder, *[part for part in name.split("/") if part])
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(stored)
        self.objects += 1
        if decoded is None:
            decoded = self.decode(name, stored)
        for line in decoded.split(b"\n"):
            if line:
                self.lines += 1
                number = re.search(rb'"seq": ?(\d+)', line)
                if number:
                    self.numbers.add(int(number.group(1)))

    @staticmethod
    def decode(name, stored):
        return gzip.decompress(stored) if name.endswith(".gz") else stored

    def say(self, **more):
        numbers = self.numbers
        print(json.dumps({
            "objects": self.objects, "lines": self.lines, "numbers": len(numbers),
            "first": min(numbers, default=None), "last": max(numbers, default=None), **more,
        }))
