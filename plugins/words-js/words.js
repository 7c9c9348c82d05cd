// A component in JavaScript.

const words = (given) => given.split(/[ \t\n]+/).filter((word) => word !== "");

const before = (one, other) => (one < other ? -1 : one > other ? 1 : 0);

export const text = {
  count(given, order) {
    const times = new Map();
    for (const word of words(given)) times.set(word, (times.get(word) ?? 0) + 1);
    const entries = [...times].map(([word, times]) => ({ word, times }));
    const byWord = (one, other) => before(one.word, other.word);
    return entries.sort(
      order === "by-times" ? (one, other) => other.times - one.times || byWord(one, other) : byWord,
    );
  },

  longest(given) {
    let found;
    for (const word of words(given)) if (found === undefined || word.length > found.length) found = word;
    return found;
  },

  // What is thrown is the `err`.
  shout(given) {
    if (given === "") throw "it is empty";
    return given.toUpperCase();
  },
};
