//! What a session has appended, read as a client would.

use walwriter::session::CommandTag;

/// What a statement gave.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Reply {
    pub(crate) rows: Vec<Vec<Option<String>>>,
    pub(crate) notices: Vec<String>,
    pub(crate) copied: String,
    pub(crate) tags: Vec<String>,
}

impl Reply {
    /// Rows as text, columns separated by `|`, NULL as `-`.
    pub(crate) fn text(&self) -> Vec<String> {
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        self.rows.iter().map(|row| row.iter().map(value).collect::<Vec<_>>().join("|")).collect()
    }
}

pub(crate) fn tag_text(tag: CommandTag) -> String {
    let mut out = Vec::new();
    tag.put(&mut out);
    String::from_utf8(out).unwrap()
}

/// Adds messages to a reply.
pub(crate) fn read_messages(mut bytes: &[u8], reply: &mut Reply) {
    while let [tag, a, b, c, d, rest @ ..] = bytes {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize - 4;
        let (body, after) = rest.split_at(length);
        match tag {
            b'D' => reply.rows.push(read_row(body)),
            b'd' => reply.copied.push_str(&String::from_utf8_lossy(body)),
            b'N' => reply.notices.push(read_field(body, b'M')),
            other => panic!("message {}", other.escape_ascii()),
        }
        bytes = after;
    }
    assert!(bytes.is_empty(), "half a message");
}

fn read_row(body: &[u8]) -> Vec<Option<String>> {
    let mut rest = &body[2..];
    let count = u16::from_be_bytes([body[0], body[1]]);
    let row = (0..count).map(|_| {
        let length = i32::from_be_bytes(rest[..4].try_into().unwrap());
        rest = &rest[4..];
        let (value, after) = rest.split_at_checked(usize::try_from(length).ok()?).unwrap();
        rest = after;
        Some(String::from_utf8(value.to_vec()).unwrap())
    });
    row.collect()
}

fn read_field(body: &[u8], letter: u8) -> String {
    let fields = body.split(|byte| *byte == 0);
    let mut found = fields.filter(|field| field.first() == Some(&letter));
    String::from_utf8(found.next().unwrap()[1..].to_vec()).unwrap()
}
