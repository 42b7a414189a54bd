//! Lists of objects, as both stores send them: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html>.

use roxmltree::{Document, Node};

/// A part of a list.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// The objects, without markers of folders.
    pub entries: Vec<Entry>,
    /// Where the next part begins; none of the last one.
    pub next: Option<String>,
}

/// An object in a list.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub key: String,
    pub length: u64,
    pub etag: Option<String>,
}

/// The text of a child; none where it is missing or empty.
fn text<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    let child = node.children().find(|child| child.has_tag_name_of(name))?;
    child.text().filter(|text| !text.is_empty())
}

trait HasTagName {
    /// Whether the name is this, whatever its namespace: Amazon's has one, others' have not.
    fn has_tag_name_of(&self, name: &str) -> bool;
}

impl HasTagName for Node<'_, '_> {
    fn has_tag_name_of(&self, name: &str) -> bool {
        self.tag_name().name() == name
    }
}

/// Reads a part of a list.
pub(crate) fn read(xml: &str) -> Result<Page, String> {
    let document = Document::parse(xml).map_err(|error| error.to_string())?;
    let root = document.root_element();
    if !root.has_tag_name_of("ListBucketResult") {
        return Err("it is no `ListBucketResult`".into());
    }
    let mut entries = Vec::new();
    for node in root
        .children()
        .filter(|node| node.has_tag_name_of("Contents"))
    {
        let key = text(node, "Key").ok_or("an object has no key")?;
        let length = text(node, "Size").and_then(|size| size.parse().ok());
        // Consoles make "folders" of empty objects.
        if key.ends_with('/') {
            continue;
        }
        entries.push(Entry {
            key: key.to_owned(),
            length: length.ok_or("an object has no length")?,
            etag: text(node, "ETag").map(str::to_owned),
        });
    }
    let next = match (
        text(root, "IsTruncated"),
        text(root, "NextContinuationToken"),
    ) {
        (Some("true"), Some(next)) => Some(next.to_owned()),
        (Some("true"), None) => return Err("it does not say where it goes on".into()),
        _ => None,
    };
    Ok(Page { entries, next })
}

/// Returns the store's word for an error: of its XML, `Code`.
pub(crate) fn error_code(body: &str) -> Option<String> {
    let document = Document::parse(body.trim_start_matches('\u{feff}').trim()).ok()?;
    let root = document.root_element();
    // Amazon's token service puts the error into an answer.
    let error = root
        .descendants()
        .find(|node| node.has_tag_name_of("Error"))?;
    let code = text(error, "Code")?;
    let is_word =
        |code: &str| code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_word(code).then(|| code.to_owned())
}

/// Returns the text of the first element of this name, wherever it is.
pub(crate) fn first(xml: &str, name: &str) -> Option<String> {
    let document = Document::parse(xml).ok()?;
    let found = document
        .descendants()
        .find(|node| node.has_tag_name_of(name))?;
    found.text().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_objects_and_where_it_goes_on() {
        let xml = r#"<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><IsTruncated>true</IsTruncated>
<Contents><Key>a&amp;b/</Key><Size>0</Size></Contents>
<Contents><Key>a&amp;b/1.tar</Key><ETag>&quot;abc&quot;</ETag><Size>1024</Size></Contents>
<NextContinuationToken>1/x=</NextContinuationToken></ListBucketResult>"#;
        let page = read(xml).unwrap();
        let expected = Entry {
            key: "a&b/1.tar".into(),
            length: 1024,
            etag: Some("\"abc\"".into()),
        };
        assert_eq!(page.entries, [expected]);
        assert_eq!(page.next.as_deref(), Some("1/x="));
        let last = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";
        assert_eq!(read(last).unwrap().next, None);
    }

    #[test]
    fn what_is_no_list_is_said() {
        for (xml, reason) in [
            ("<html></html>", "it is no `ListBucketResult`"),
            ("not XML", "unknown token"),
            (
                "<ListBucketResult><Contents><Size>1</Size></Contents></ListBucketResult>",
                "no key",
            ),
            (
                "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
                "where it goes on",
            ),
            // Entities that stand for one another are not expanded.
            (
                "<!DOCTYPE x [<!ENTITY a \"b\">]><ListBucketResult>&a;</ListBucketResult>",
                "DTD",
            ),
        ] {
            let found = read(xml).unwrap_err();
            assert!(found.contains(reason), "{xml}: {found}");
        }
    }

    #[test]
    fn errors_have_a_word() {
        let xml = "<?xml version=\"1.0\"?>\n<Error><Code>NoSuchKey</Code><AWSAccessKeyId>AKIA</AWSAccessKeyId></Error>";
        assert_eq!(error_code(xml).as_deref(), Some("NoSuchKey"));
        assert_eq!(error_code("<Error><Code>a b</Code></Error>"), None);
        assert_eq!(error_code("<html>no</html>"), None);
    }
}
