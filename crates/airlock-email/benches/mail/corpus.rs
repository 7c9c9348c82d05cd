//! Mail that nobody wrote: the same in each run.

use base64::Engine as _;

/// Numbers that are the same in each run.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Chance(seed)
    }

    pub(crate) fn next(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    fn unit(&mut self) -> f64 {
        self.next(1 << 30) as f64 / f64::from(1 << 30)
    }
}

/// Words as often as those of a language are: the second half as often as the first, the third a
/// third as often (Zipf's law).
pub(crate) struct Language {
    words: Vec<String>,
    /// For each word, how often it or one before it comes.
    sums: Vec<f64>,
}

impl Language {
    pub(crate) fn new(count: usize) -> Self {
        let mut sum = 0.0;
        let sums = (1..=count).map(|rank| {
            sum += 1.0 / rank as f64;
            sum
        });
        let sums = sums.collect();
        Language { words: (0..count).map(word).collect(), sums }
    }

    /// The word that is so common: 0 is the most common one.
    pub(crate) fn word(&self, rank: usize) -> &str {
        &self.words[rank]
    }

    pub(crate) fn any(&self, chance: &mut Chance) -> &str {
        let at = chance.unit() * self.sums.last().unwrap();
        &self.words[self.sums.partition_point(|sum| *sum < at).min(self.words.len() - 1)]
    }

    /// Lines of words, of about so many bytes.
    pub(crate) fn text(&self, bytes: usize, chance: &mut Chance) -> String {
        let mut text = String::with_capacity(bytes + 16);
        let mut line = 0;
        while text.len() < bytes {
            let word = self.any(chance);
            line += word.len() + 1;
            text.push_str(word);
            text.push_str(if line > 70 { "\r\n" } else { " " });
            line = if line > 70 { 0 } else { line };
        }
        text
    }
}

/// A word of two letters or more; the common ones are short.
fn word(rank: usize) -> String {
    const FIRST: [&str; 20] = [
        "t", "a", "s", "m", "b", "k", "r", "d", "l", "n", "p", "f", "g", "h", "st", "v", "w", "z", "tr", "pl",
    ];
    const SECOND: [&str; 10] = ["e", "o", "an", "i", "ar", "u", "in", "el", "or", "a"];
    let (mut rest, mut word) = (rank, String::new());
    loop {
        word.push_str(FIRST[rest % 20]);
        word.push_str(SECOND[rest / 20 % 10]);
        rest /= 200;
        if rest == 0 {
            // As long as those of English are: 4.7 letters.
            word.push_str(if rank < 30 { "" } else { ["re", "con", "un", "sub"][rank % 4] });
            return word;
        }
        rest -= 1;
    }
}

/// A message of about 20 KB as mail programs write them: a text, the same as HTML, often a file.
pub(crate) fn usual(number: usize, language: &Language, chance: &mut Chance) -> Vec<u8> {
    let text = language.text(3_000 + number % 2_000, chance);
    let html = format!(
        "<html><head><style>p {{ margin: 0 }}</style></head><body><p>{}</p></body></html>",
        text.replace("\r\n", "<br>\r\n")
    );
    let file = match number % 2 {
        0 => {
            let bytes: Vec<u8> = (0..15_000).map(|_| chance.next(256) as u8).collect();
            format!(
                "--b\r\nContent-Type: application/pdf; name=f{number}.pdf\r\nContent-Disposition: attachment\r\n\
                     Content-Transfer-Encoding: base64\r\n\r\n{}",
                lines(&bytes)
            )
        }
        _ => String::new(),
    };
    let head = head(number);
    format!(
        "{head}MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\
         Content-Type: multipart/alternative; boundary=c\r\n\r\n--c\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\
         {text}\r\n--c\r\nContent-Type: text/html; charset=utf-8\r\n\r\n{html}\r\n--c--\r\n{file}--b--\r\n"
    )
    .into_bytes()
}

/// One of 20 KB that is all text: the most to be found by.
pub(crate) fn wordy(number: usize, language: &Language, chance: &mut Chance) -> Vec<u8> {
    format!("{}\r\n{}", head(number), language.text(20_000, chance)).into_bytes()
}

/// One of so many bytes, nearly all of which are a file.
pub(crate) fn large(bytes: usize, chance: &mut Chance) -> Vec<u8> {
    let file: Vec<u8> = (0..bytes / 78 * 57).map(|_| chance.next(256) as u8).collect();
    format!(
        "{}Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nsee file\r\n--b\r\n\
         Content-Type: application/zip\r\nContent-Transfer-Encoding: base64\r\n\r\n{}--b--\r\n",
        head(0),
        lines(&file)
    )
    .into_bytes()
}

fn lines(bytes: &[u8]) -> String {
    let base64 = base64::engine::general_purpose::STANDARD.encode(bytes);
    let mut lines = String::with_capacity(base64.len() + base64.len() / 38 + 2);
    for line in base64.as_bytes().chunks(76) {
        lines.push_str(std::str::from_utf8(line).unwrap());
        lines.push_str("\r\n");
    }
    lines
}

fn head(number: usize) -> String {
    format!(
        "Received: from a.x.example by b.x.example with ESMTPS id {number}\r\nFrom: Bert <bert{}@x.example>\r\n\
         To: anna@x.example\r\nSubject: report {number} of the harbour\r\nMessage-ID: <{number}@bench.example>\r\n\
         Date: Sun, 2 Jun 2024 10:00:00 +0000\r\n",
        number % 50
    )
}
