"""A page of a report, taken apart."""

from __future__ import annotations

from html.parser import HTMLParser


class Page(HTMLParser):
    """Text, attributes, and per table id the cells of each row: the exact <data> value, or the text."""

    VOID = ("meta", "br")

    def __init__(self, source):
        super().__init__()
        self.stack, self.tables, self.attributes, self.tags, self.words = [], {}, [], [], []
        self.table = None
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, key, value) for key, value in attrs]
        if tag not in self.VOID:
            self.stack.append(tag)
        if tag == "table":
            self.table = self.tables.setdefault(dict(attrs)["id"], [])
        elif tag == "tr":
            self.table.append([])
        elif tag in ("td", "th"):
            self.table[-1].append("")
        elif tag == "data":
            self.table is not None and self.table[-1].__setitem__(-1, dict(attrs)["value"])

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, key, value) for key, value in attrs]

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag
        if tag == "table":
            self.table = None

    def handle_data(self, data):
        self.words.append(data)
        if (
            self.table
            and self.table[-1]
            and ("td" in self.stack or "th" in self.stack)
            and "data" not in self.stack
        ):
            self.table[-1][-1] += data

    def metrics(self):
        """Target -> metric -> value, of the table of all metrics."""
        names, *rows = self.tables["metrics"]
        return {target: {row[0]: row[k] for row in rows if row[k]} for k, target in enumerate(names[1:], 1)}
