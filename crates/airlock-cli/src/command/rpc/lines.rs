//! Lines of standard input, none of which is held beyond a length.

use std::io::{self, BufRead};

/// What came on a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// All of it, without its end.
    Whole(Vec<u8>),
    /// More than is taken; it was passed over.
    TooLong,
}

/// The next line; none at the end of input. A last line may have no end.
///
/// # Errors
/// Where it cannot be read.
pub(super) fn next(input: &mut impl BufRead, longest: usize) -> io::Result<Option<Line>> {
    let mut line = Vec::new();
    let (mut begun, mut too_long) = (false, false);
    loop {
        let available = match input.fill_buf() {
            Ok(available) => available,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if available.is_empty() && !begun {
            return Ok(None);
        }
        let end = available.iter().position(|byte| *byte == b'\n');
        let piece = &available[..end.unwrap_or(available.len())];
        // A carriage return before the end is none of the line's, and may make it one byte longer.
        too_long |= line.len() + piece.len() > longest.saturating_add(1);
        match too_long {
            // What was held is not needed any more.
            true => line = Vec::new(),
            false => line.extend_from_slice(piece),
        }
        let (taken, ended) = (end.map_or(piece.len(), |end| end + 1), end.is_some() || available.is_empty());
        input.consume(taken);
        begun = true;
        if ended {
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            too_long |= line.len() > longest;
            return Ok(Some(if too_long { Line::TooLong } else { Line::Whole(line) }));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::{Line, next};

    fn all(text: &[u8], longest: usize, piece: usize) -> Vec<Line> {
        let mut input = BufReader::with_capacity(piece, text);
        std::iter::from_fn(|| next(&mut input, longest).expect("memory can be read")).collect()
    }

    #[test]
    fn lines_come_whole_or_not_at_all_wherever_what_is_read_ends() {
        let whole = |text: &str| Line::Whole(text.as_bytes().to_vec());
        for piece in 1..20 {
            let lines = all(b"one\r\n\ntwelve\ntwelve!\nlast\r", 6, piece);
            let expected = [whole("one"), whole(""), whole("twelve"), Line::TooLong, whole("last")];
            assert_eq!(lines, expected, "{piece}");
            assert_eq!(all(b"", 6, piece), [], "{piece}");
            assert_eq!(
                all(b"123456\r\n1234567\r\n\n", 6, piece),
                [whole("123456"), Line::TooLong, whole("")]
            );
            assert_eq!(all(b"much too long", 6, piece), [Line::TooLong], "{piece}");
        }
    }
}
