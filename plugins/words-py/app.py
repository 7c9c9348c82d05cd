"""A component in Python: the functions of plugins/words-c. `scripts/large-component` builds it."""

from wit_world import exports
from wit_world.exports.text import Entry, Order
from componentize_py_types import Err


class Text(exports.Text):
    def count(self, text, order):
        times = {}
        for word in text.split():
            times[word] = times.get(word, 0) + 1
        entries = [Entry(word, count) for word, count in times.items()]
        if order == Order.BY_TIMES:
            return sorted(entries, key=lambda entry: (-entry.times, entry.word))
        return sorted(entries, key=lambda entry: entry.word)

    def longest(self, text):
        return max(text.split(), key=len, default=None)

    def shout(self, text):
        if not text:
            raise Err("it is empty")
        return text.upper()
