//! A message for tests of what is attached.

/// A message with a file of these bytes.
pub(super) fn with_file(id: &str, file: &str) -> Vec<u8> {
    format!(
        "From: bert@x.example\r\nSubject: {id}\r\nMessage-ID: <{id}@x.example>\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\ntext\r\n\
         --b\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename=f.pdf\r\n\r\n\
         {file}\r\n--b--\r\n"
    )
    .into_bytes()
}
