// A component in JavaScript: the functions of plugins/words-c, whose WIT it has.

const words = (text) => text.split(/[ \t\n]+/).filter((word) => word !== "");
const compare = (one, other) => (one < other ? -1 : Number(one > other));

export const text = {
  count(text, order) {
    const times = new Map();
    for (const word of words(text)) times.set(word, (times.get(word) ?? 0) + 1);
    const entries = Array.from(times, ([word, times]) => ({ word, times }));
    const byWord = (one, other) => compare(one.word, other.word);
    const byTimes = (one, other) => other.times - one.times || byWord(one, other);
    return entries.sort(order === "by-times" ? byTimes : byWord);
  },
  longest(text) {
    return words(text).reduce((found, word) => (found && found.length >= word.length ? found : word), null);
  },
  shout(text) {
    if (text === "") throw "it is empty";
    return text.toUpperCase();
  },
};
